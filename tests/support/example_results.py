"""Results with the reference card's own figures, so that the two cards can be laid side by side."""

from pathlib import Path

from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.schema.results import ArmLatency, Artifact, Environment, Failure, Latency, Result, Scores, Slot
from quantbench.tasks.token_classification import COLUMNS

REFERENCE_YAML = Path(__file__).parents[2] / "examples" / "reference.yaml"
ORIGINAL = {"precision": 0.936, "recall": 0.944, "f1": 0.940, "accuracy": 0.988}
OPTIMIZED = (
    {"precision": 0.065, "recall": 0.243, "f1": 0.103, "accuracy": 0.357},
    {"precision": 0.904, "recall": 0.921, "f1": 0.912, "accuracy": 0.984},
)
MILLISECONDS = ((90.67, 59.55), (114.51, 53.59))
ENVIRONMENT = Environment(
    cpu_model="Example CPU",
    architecture="x86_64",
    instruction_sets=("avx2", "avx512", "avx512_vnni"),
    cores=4,
    memory_bytes=16 * 2**30,
    system="Linux 6.0",
    versions={"quantbench": "0.1.0", "onnxruntime": "1.32.0"},
    load=(0.1, 0.2, 0.3),
)


def reference_config(*overrides):
    return load_config(REFERENCE_YAML, overrides)


def reference_results(config):
    """Both runs of the reference card, done."""
    return [done(run, number % 2) for number, run in enumerate(make_plan(config).runs)]


def done(run, column):
    excluded = {group: (f"{group}/Add",) for group in run.settings.node_exclusion}
    return Result(
        run=run,
        environment=ENVIRONMENT,
        sources={"model": "a" * 64},
        model_type="distilbert",
        artifact=Artifact(
            path=f"models/{run.name}/model.onnx",
            sha256=f"{column}" * 64,
            bytes=67_000_000 + column,
            recipe={"activation_type": "uint8", "weight_type": "int8"},
            excluded=excluded,
            operators={"Add": 74 - 43 * column, "MatMul": 49},
            executed={"QLinearAdd": 74 - 43 * column, "QLinearMatMul": 49, "Transpose": 24},
            graph=f"{column}" * 64,
        ),
        float_artifact={"bytes": 265_000_000, "sha256": "f" * 64, "graph": "f" * 64},
        scores={
            "original": scores(ORIGINAL),
            "onnx-float": scores(ORIGINAL),
            "optimized": scores(OPTIMIZED[column]),
        },
        latency=tuple(
            Latency(
                batch_size=batch_size,
                input_length=length,
                arms={
                    "pytorch": arm(MILLISECONDS[column][0]),
                    "onnx-float": arm(70.0),
                    "optimized": arm(MILLISECONDS[column][1]),
                    "null": arm(MILLISECONDS[column][0], shift=0.004),
                },
            )
            for batch_size in run.settings.batch_sizes
            for length in run.settings.input_lengths
        ),
        seconds={"evaluation": 20.0, "timing": 45.0},
    )


def failed(run, reason="RuntimeError: the quantizer gave up"):
    return Result(run=run, environment=ENVIRONMENT, failure=Failure(stage="preparation", reason=reason))


def scores(metrics):
    """Counts over ten examples that give the metrics to three digits."""
    correct = round(1000 * metrics["recall"])
    totals = (correct, round(correct / metrics["precision"]), 1000, round(10_000 * metrics["accuracy"]), 10_000)
    rows = [tuple(total // 10 + (number < total % 10) for total in totals) for number in range(10)]
    return Scores(metrics=metrics, examples=10, changed=2, columns=COLUMNS, outcomes=tuple(rows))


def arm(milliseconds, shift=0.0):
    """Ten slots around a mean, a thousandth to either side in turn."""
    nanoseconds = round(milliseconds * 1e6 * (1 + shift))
    steps = [round(nanoseconds / 1000) * step for step in (-1, 1, 0, 1, -1)] * 2
    return ArmLatency(
        slots=tuple(
            Slot(round=number, order=number, nanoseconds=(nanoseconds + step,)) for number, step in enumerate(steps)
        ),
        load_seconds=(1.0,),
        first_call_seconds=(0.2,),
        peak_memory_bytes=(400_000_000,),
    )
