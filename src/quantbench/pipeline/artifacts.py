"""What runs share, each made once: model, data, exports, ranges, predictions.

Work is keyed by content (the model's and the data's hashes, the settings that matter and the versions of the libraries
that did it) and kept in the machine's cache, so that no run, no later call and no other benchmark here repeats it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from quantbench.errors import RunFailed
from quantbench.graph.fingerprint import computation_hash
from quantbench.graph.view import Graph
from quantbench.pipeline import agreement, predict
from quantbench.pipeline.drawn import drawn
from quantbench.pipeline.model import Model, open_model
from quantbench.pipeline.rows import Split, counted, key_of, overlap, read_split
from quantbench.plugins import registry
from quantbench.plugins.protocols import Examples, Input, Inputs, Prediction
from quantbench.plugins.quantizing import Samples
from quantbench.quantize.calibration import activations
from quantbench.quantize.calibration.ranges import Collector, Ranges
from quantbench.quantize.calibration.sampling import choose
from quantbench.quantize.mixed.products import find_products, grouped
from quantbench.schema.base import digest
from quantbench.schema.reporter import Advance, Reporter
from quantbench.schema.results import ArmSpec, Environment, Scores
from quantbench.schema.settings import Dataset, Settings
from quantbench.sources import labels as names_of_labels
from quantbench.sources.checkpoints import load_checkpoint, problems
from quantbench.sources.export import FILE, export, exported_sha256
from quantbench.sources.hub import mistake
from quantbench.system import code
from quantbench.system.writing import write_atomically

EXPORT_SHAPE = (2, 8)


@dataclass
class Workbench:
    """Shared work of all runs of one benchmark.

    Attributes:
        cache: folder of the results of shared work.
        environment: where the work is done.
        reporter: told of long work.
        seconds: time spent per phase since :meth:`take_seconds` was last called.
        made: how often predictions were made rather than found.
        places: where models and data lie that the settings name by another path; see ``results.Job``.

    """

    cache: Path
    environment: Environment
    reporter: Reporter
    seconds: dict[str, float] = field(default_factory=dict)
    made: int = 0
    places: Mapping[str, str] = field(default_factory=dict)
    _memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def threads(self) -> int:
        """Threads of work that is not timed, and of what is timed where none are set: one per physical core."""
        return self.environment.threads

    def take_seconds(self) -> dict[str, float]:
        """Seconds per phase since the last call."""
        taken, self.seconds = self.seconds, {}
        return taken

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, or the error that it raised: what failed once is not tried again for another run."""
        if key not in self._memory:
            try:
                self._memory[key] = make()
            except Exception as error:
                self._memory[key] = error
        found = self._memory[key]
        if isinstance(found, Exception):
            raise found
        return found

    def _stored(self, kind: str, content: dict[str, Any], make: Callable[[], Any]) -> Any:
        """A JSON value from memory or the cache folder, made and kept there if it is new."""
        key = digest({**content, "versions": self.environment.versions, "code": code.fingerprint()})
        path = self.cache / kind / f"{key}.json"

        def load() -> Any:
            with suppress(FileNotFoundError, ValueError):  # a damaged file is made anew
                return json.loads(path.read_bytes())
            value = make()
            write_atomically(path, json.dumps(value).encode())
            return value

        return self._once(f"{kind}/{key}", load)

    def model(self, settings: Settings) -> Model:
        """The model of a run.

        Raises:
            BadInput: if it cannot be found or must not be loaded.

        """
        name = settings.model_name_or_path

        def load() -> Model:
            model = open_model(name, self.places.get(name, name), settings)
            for problem in self._problems(model, settings):
                raise mistake("model_name_or_path", f"model {name!r} cannot be used: {problem}")
            return model

        permissions = (settings.task, settings.allow_pickled_weights, settings.trust_remote_code)
        model: Model = self._once(f"model/{name}/{permissions}", load)
        return model

    def _problems(self, model: Model, settings: Settings) -> list[str]:
        """What is wrong with a model's weights for the task, looked at once on this machine."""
        outputs = tuple(registry.task(settings.task).OUTPUTS)
        options = registry.runtime("pytorch").options(_in_float32(settings))

        def look() -> list[str]:
            return problems(load_checkpoint(model.folder, options), model.tried(EXPORT_SHAPE), outputs)

        content = {"model": model.fingerprint, "options": options, "outputs": outputs}
        found: list[str] = self._stored("checkpoints", content, look)
        return found

    def split(self, dataset: Dataset, which: str) -> Split:
        """``eval`` or ``calibration`` split of a data set.

        Raises:
            BadInput: if it cannot be loaded.

        """
        split: Split = self._once(key_of(dataset, which), lambda: read_split(dataset, which, self.places))
        return split

    def rows(self, settings: Settings, which: str) -> Split:
        """The rows of a split that count, with their references; see :func:`quantbench.pipeline.rows.counted`."""
        model, split = self.model(settings), self.split(settings.dataset, which)
        content = {"data": split.fingerprint, "model": model.fingerprint, "task": settings.task, "which": which}
        key = digest({**content, **settings.model_dump(mode="json", include={"task_args", "dataset"})})
        found: Split = self._once(f"rows/{key}", lambda: counted(settings, which, split, model))
        return found

    def _overlap(self, settings: Settings) -> tuple[str, ...]:
        """The note on rows of the evaluation split that the versions were calibrated or chosen on."""
        loaded = settings.dataset.calibration_split and key_of(settings.dataset, "calibration") in self._memory
        if not (settings.calibrated or loaded):
            return ()
        return overlap(settings.dataset, self.rows(settings, "eval"), self.rows(settings, "calibration"))

    def examples(self, settings: Settings) -> Any:
        """The evaluation examples, prepared once."""
        model, split = self.model(settings), self.rows(settings, "eval")
        wanted = settings.max_eval_samples
        key = digest(
            {
                "model": model.fingerprint,
                "data": split.fingerprint,
                "samples": wanted,
                "task": settings.task,
                "task_args": settings.task_args.model_dump(mode="json"),
                "dataset": settings.dataset.model_dump(mode="json"),
            }
        )

        def prepare() -> Any:
            data = split.data.select(range(self.evaluated(settings)))
            with self.phase("evaluation"):
                examples = self.prepared(settings, data)
                notes = (*split.notes, *self._overlap(settings), *examples.notes)
                return replace(examples, notes=notes)

        return self._once(f"examples/{key}", prepare)

    def evaluated(self, settings: Settings) -> int:
        """Number of examples of the evaluation split that count."""
        available = len(self.rows(settings, "eval").data)
        return min(settings.max_eval_samples or available, available)

    def prepared(self, settings: Settings, data: Any) -> Any:
        """Examples of a part of a split, as the task and the model need them."""
        model = self.model(settings)
        return registry.task(settings.task).prepare(settings, data, model.processor, model.config)

    def arm(self, runtime: str, path: Path, sha256: str, settings: Settings) -> ArmSpec:
        """The arm of a file, with the options that it is both scored and timed with."""
        options = registry.runtime(runtime).options(settings)
        return ArmSpec(runtime=runtime, path=str(path), sha256=sha256, options=options)

    def batches(self, settings: Settings, inputs: Sequence[Input], costs: Sequence[int]) -> list[Inputs]:
        """Inputs as padded arrays, in batches of similar cost."""
        processor = self.model(settings).processor
        return [processor.collate([inputs[index] for index in group]) for group in predict.batches(costs)]

    def original(self, settings: Settings) -> ArmSpec:
        """The arm of the model as it was given, in float32."""
        model = self.model(settings)
        return self.arm("pytorch", model.folder, model.fingerprint, _in_float32(settings))

    def float_model(self, settings: Settings) -> ArmSpec:
        """The arm of the float ONNX export, once per model and opset: in float32, by the run's ``FLOAT_RUNTIME``."""
        model, opset = self.model(settings), settings.framework_args.opset
        versions = {name: self.environment.versions.get(name) for name in ("torch", "transformers", "onnx")}
        content = {"model": model.fingerprint, "opset": opset, "task": settings.task, "code": code.fingerprint()}
        key = digest({**content, "versions": versions})
        path = self.cache / "float" / key / FILE

        def make() -> str:
            if exported_sha256(path) is None:
                with self.phase("export"), self.reporter.stage(f"Exporting to ONNX, opset {opset}", 1) as advance:
                    inputs = model.processor.exact_inputs(*EXPORT_SHAPE, seed=0)
                    export(self.original(settings), opset, inputs, registry.task(settings.task).OUTPUTS, path)
                    advance(1)
            return str(exported_sha256(path))

        sha256 = self._once(f"float/{key}", make)
        compared = self.arm(registry.float_runtime("pytorch"), path, sha256, _in_float32(settings))
        problem = self._disagreement(compared, settings)
        if problem is not None:
            raise RunFailed(problem)
        return self.arm(registry.float_runtime(settings.framework), path, sha256, _in_float32(settings))

    def _disagreement(self, exported: ArmSpec, settings: Settings) -> str | None:
        """Where the float export differs from PyTorch, once: on examples, or on drawn inputs if none are read."""
        processor = self.model(settings).processor
        read = predict.needs_examples(settings)
        examples: Examples = self.examples(settings) if read else drawn(processor, settings)
        lengths = settings.input_lengths if settings.batch_sizes else ()
        timed = max((length for length in lengths if isinstance(length, int)), default=None)
        outputs = registry.task(settings.task).OUTPUTS
        original = self.original(settings)
        arms = [arm.model_dump(mode="json", exclude={"path"}) for arm in (exported, original)]
        content = {"arms": arms, "data": examples.fingerprint, "timed": timed}

        def look() -> str | None:
            with self.phase("export"), self.reporter.stage("Comparing the export with PyTorch", 1) as advance:
                found = agreement.look(exported, original, examples, processor, timed, outputs, self.threads)
                advance(1)
            return found

        problem: str | None = self._stored("agreements", content, look)
        return problem

    def float_graph(self, spec: ArmSpec) -> str:
        """Hash of the computation of a float export."""
        import onnx

        return str(self._once(f"graph/{spec.sha256}", lambda: computation_hash(onnx.load(spec.path))))

    def ranges(self, settings: Settings) -> Ranges:
        """Ranges of the float model's tensors, collected once per calibration setting."""
        calibration = settings.calibration
        passes = Collector.passes(calibration)

        def collect(samples: Samples, advance: Advance) -> Any:
            model = Path(self.float_model(settings).path)
            return Collector(model, samples.count, samples.sample, self.threads, advance).collect(calibration)

        what = f"Collecting ranges, {calibration.method}"
        found = self._calibrated("ranges", settings, calibration.model_dump(mode="json"), what, passes, collect)
        return {name: (low, high) for name, (low, high) in found.items()}

    def statistics(self, settings: Settings) -> activations.Statistics:
        """Statistics of all tensors that products with constant weights read, whatever the calibration's method."""
        model = Path(self.float_model(settings).path)

        def collect(samples: Samples, advance: Advance) -> Any:
            tensors = list(grouped(find_products(Graph.read(model))))
            found = activations.collect(model, tensors, samples.count, samples.sample, self.threads, advance)
            return {name: figures.dump() for name, figures in found.items()}

        kept = {"padding": settings.calibration.padding}
        found = self._calibrated("statistics", settings, kept, "Observing activations", 1, collect)
        return {name: activations.TensorStatistics.load(data) for name, data in found.items()}

    def _calibrated(
        self,
        kind: str,
        settings: Settings,
        content: dict[str, Any],
        what: str,
        passes: int,
        collect: Callable[[Samples, Advance], Any],
    ) -> Any:
        """What is collected from the calibration samples, once per model, samples and ``content``."""
        split = self.rows(settings, "calibration")
        chosen = choose(len(split.data), settings.calibration)
        key = {
            "model": self.float_model(settings).sha256,
            "data": split.fingerprint,
            "chosen": chosen,
            "calibration": content,
        }

        def make() -> Any:
            samples = self.samples(settings)
            total = samples.count * passes
            with (
                self.phase("calibration"),
                self.reporter.stage(f"{what} over {samples.count} samples", total) as advance,
            ):
                return collect(samples, advance)

        return self._stored(kind, key, make)

    def samples(self, settings: Settings) -> Samples:
        """The calibration samples of a run, chosen, tokenized and padded as it says."""
        split = self.rows(settings, "calibration")
        data = split.data.select(choose(len(split.data), settings.calibration))
        model = self.model(settings)
        padded = settings.calibration.padding == "max_length"
        width = model.processor.max_length(model.config) if padded else None
        inputs = self.prepared(settings, data).inputs
        return Samples(len(inputs), lambda index: model.processor.collate([inputs[index]], width))

    def predictions(
        self, spec: ArmSpec, settings: Settings, label: str, batch_size: int | None = None
    ) -> list[Prediction]:
        """Predictions of an arm over the evaluation examples, from the cache where they were made before."""
        return self.predictions_of(spec, settings, self.examples(settings), label, batch_size)

    def predictions_of(
        self, spec: ArmSpec, settings: Settings, examples: Any, label: str, batch_size: int | None = None
    ) -> list[Prediction]:
        """Predictions of an arm over any prepared examples; ``made`` counts those that were in no cache.

        ``batch_size`` is that of :func:`quantbench.pipeline.predict.scored_batch_size`.
        """
        model = self.model(settings)
        content = {
            "model": spec.sha256,
            "runtime": spec.runtime,
            "options": spec.options,
            "examples": examples.fingerprint,
            "batches": {"token_budget": predict.TOKEN_BUDGET} if batch_size is None else {"examples": batch_size},
            "threads": self.threads,
            "cap": self.environment.cap,
            "cpu": self.environment.cpu_model,
        }

        def make() -> list[Prediction]:
            self.made += 1
            count = len(examples.inputs)
            with (
                self.phase("evaluation"),
                self.reporter.stage(f"Evaluating {label} on {count} examples", count) as advance,
            ):
                session = registry.runtime(spec.runtime).load(spec, self.threads)
                task = registry.task(settings.task)
                return predict.predict(session, task, examples, model.processor, advance, batch_size)

        return [tuple(row) for row in self._stored("predictions", content, make)]

    def scores(self, spec: ArmSpec, settings: Settings, label: str, batch_size: int | None = None) -> Scores:
        """Metric values of an arm; only those of the metrics that were asked for.

        ``batch_size`` is that of :func:`quantbench.pipeline.predict.scored_batch_size`.
        """
        task = registry.task(settings.task)
        predictions = self.predictions(spec, settings, label, batch_size)
        original = self.predictions(self.original(settings), settings, "the original")
        scores = task.score(self.examples(settings), predictions, original)
        labels = names_of_labels.of_model(self.model(settings).config)
        asked = settings.metrics or task.default_metrics(settings, labels)
        wanted = [value for name in asked for value in task.METRICS[name]]
        metrics = {name: scores.metrics[name] for name in dict.fromkeys(wanted)}
        return scores.model_copy(update={"metrics": metrics, "batch_size": batch_size})


def _in_float32(settings: Settings) -> Settings:
    """The settings of an arm that is there for comparison, whatever precision the optimized model has."""
    args = settings.framework_args.model_copy(update={"precision": "float32"})
    return settings.model_copy(update={"framework_args": args})
