"""The public names: what is imported when, and results as objects, whose figures are those of the summary and the card."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.example_results import REFERENCE_YAML, done, failed, reference_config, reference_results

import quantbench as qb
from quantbench.config.load import load_config
from quantbench.config.plan import make_plan
from quantbench.results.store import Store
from quantbench.schema.results import Result

HEAVY = {"torch", "pandas", "matplotlib", "transformers", "onnxruntime", "numpy", "pydantic"}
OTHER = "node_exclusion-layernorm+gelu+residual+gather+softmax"


def stored(folder, results, config=None):
    config = config or reference_config()
    store = Store(folder)
    store.open(config)
    for result in results:
        store.save(result)
    return folder


@pytest.fixture
def bench(tmp_path):
    config = reference_config("batch_sizes=[1, 4]")
    return qb.load_results(stored(tmp_path / "out", reference_results(config), config))


def printed(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_the_package_imports_nothing_that_is_heavy():
    assert printed(f"import sys, quantbench; print({HEAVY} & set(sys.modules))").stdout.strip() == "set()"


def test_every_public_name_is_there_and_none_is_missing_from_the_list():
    assert sorted(qb.__all__) == sorted([*qb._MODULES, "__version__"])
    for name in qb.__all__:
        thing = getattr(qb, name)
        assert name == "__version__" or thing.__doc__, f"{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'trim'"):
        qb.trim  # noqa: B018


def test_what_editors_see_is_what_there_is():
    """The imports that only type checkers read name the modules that names are really imported from."""
    tree = ast.parse(Path(qb.__file__).read_text())
    seen = {
        alias.name: node.module.removeprefix("quantbench.")
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == qb._MODULES


@pytest.mark.parametrize("name", ["config", "tune", "diagnose", "tasks", "runtimes"])
def test_a_folder_of_the_same_name_does_not_hide_a_function(name):
    code = (
        f"import quantbench.{name}, quantbench as qb; from quantbench.{name} import __doc__; print(callable(qb.{name}))"
    )
    assert printed(code).stdout.strip() == "True"


@pytest.mark.parametrize("file", ["cli.py", "cli_check.py", "cli_options.py"])
def test_the_command_line_imports_only_what_is_public(file):
    tree = ast.parse((Path(qb.__file__).parent / file).read_text())
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name for name in imported if name.startswith("quantbench")} <= {"quantbench", "quantbench.errors"}
    taken = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert "api" not in taken
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name for name in named if name.startswith("quantbench")} == {"quantbench"}


def test_a_benchmark_is_a_sequence(bench):
    first, second = bench
    assert len(bench) == 2
    assert (bench[0], bench[-1], bench["node_exclusion-none"]) == (first, second, first)
    assert isinstance(first, Result)
    assert "node_exclusion-none" in bench
    assert first in bench
    assert "other" not in bench
    assert isinstance(bench[:1], qb.Benchmark)
    assert list(bench[:1]) == [first]
    assert first.folder == bench.folder
    with pytest.raises(IndexError):
        bench[2]


def test_a_name_that_is_not_there_says_which_was_meant(bench):
    with pytest.raises(KeyError) as missing:
        bench["node_exclusion-non"]
    assert isinstance(missing.value, qb.BadInput)
    assert str(missing.value).startswith(
        "node_exclusion-non: no run has this name; did you mean 'node_exclusion-none'?"
    )


def test_a_frame_has_the_figures_of_the_summary(bench):
    bench.write()
    rows = bench.to_dataframe().to_dict("records")
    summary = json.loads((bench.folder / "summary.json").read_text())["runs"]
    expected = [(run, latency) for run in summary for latency in run["latency"]]
    assert len(rows) == len(expected) > len(summary)
    for row, (run, latency) in zip(rows, expected, strict=True):
        assert (row["run"], row["batch_size"], row["input_length"]) == (
            run["name"],
            latency["batch_size"],
            latency["input_length"],
        )
        for metric, values in run["metrics"].items():
            difference = run["difference"][metric]
            assert row[f"{metric}_original"] == values["original"]
            assert row[f"{metric}_optimized"] == values["optimized"]
            assert row[f"{metric}_loss"] == -difference["value"]
            assert (row[f"{metric}_loss_low"], row[f"{metric}_loss_high"]) == (-difference["high"], -difference["low"])
        for arm, name in (("pytorch", "pytorch"), ("onnx-float", "onnx_float")):
            (speedup,) = (s for s in latency["speedup"] if (s["arm"], s["against"]) == ("optimized", arm))
            column = f"speedup_over_{name}"
            assert row[column] == speedup["ratio"]
            assert [row[f"{column}_{part}"] for part in ("low", "high", "verdict")] == [
                speedup[part] for part in ("low", "high", "verdict")
            ]
            assert row[f"{name}_ms"] == latency["arms"][arm]["mean_ms"]
        assert row["optimized_ms"] == latency["arms"]["optimized"]["mean_ms"]


def test_a_frame_has_the_figures_of_the_card(bench):
    for row in bench.to_dataframe().to_dict("records"):
        name = "speedup_over_pytorch"
        low, high, verdict = (row[f"{name}_{part}"] for part in ("low", "high", "verdict"))
        assert f"{row[name]:.3f} ({low:.3f} to {high:.3f}) {verdict}" in bench.card
        assert f"{-row['f1_loss']:+.4f} ({-row['f1_loss_high']:+.4f} to {-row['f1_loss_low']:+.4f})" in bench.card
        assert f"{row['pytorch_ms']:.2f}" in bench.card


def test_benchmarked_parameters_are_columns_that_can_be_grouped_by(bench):
    frame = bench.to_dataframe()
    assert list(frame["node_exclusion"].unique()) == ["[]", str(list(bench[1].run.benchmarked["node_exclusion"]))]
    assert len(frame.groupby("node_exclusion")) == 2


def test_a_failed_run_is_a_row_with_its_reason_and_one_of_the_failed(tmp_path):
    config = reference_config()
    one, other = make_plan(config).runs
    bench = qb.load_results(stored(tmp_path, [done(one, 0), failed(other)], config))
    assert [result.run.name for result in bench.failed] == [OTHER]
    row = bench.to_dataframe().set_index("run").loc[OTHER]
    assert (row["status"], row["reason"]) == ("failed", "RuntimeError: the quantizer gave up")
    assert "1 failed" in repr(bench)


def test_raw_samples_are_all_there_in_their_slots(bench):
    frame = bench.to_dataframe("calls")
    arms = [arm for result in bench for latency in result.latency for arm in latency.arms.values()]
    assert len(frame) == sum(len(slot.nanoseconds) for arm in arms for slot in arm.slots)
    latency = bench[1].latency[0]
    shape = (frame["batch_size"] == latency.batch_size) & (frame["input_length"] == latency.input_length)
    found = frame[shape & (frame["run"] == OTHER) & (frame["arm"] == "optimized")]
    wanted = [value / 1e6 for slot in latency.arms["optimized"].slots for value in slot.nanoseconds]
    assert list(found["milliseconds"]) == wanted
    with pytest.raises(qb.BadInput, match="there is 'runs' and 'calls'"):
        bench.to_dataframe("rows")


def test_a_folder_without_results_has_a_frame_without_rows(tmp_path):
    bench = qb.load_results(stored(tmp_path, []))
    assert bench.to_dataframe().empty
    assert "milliseconds" in bench.to_dataframe("calls")
    assert len(bench) == 0


def test_a_notebook_shows_the_card_and_a_terminal_the_table(bench):
    assert bench._repr_markdown_() == bench.card.split("\n---\n", 1)[1].lstrip()
    assert not bench._repr_markdown_().startswith("---")
    assert str(bench).startswith("elastic/") or "node_exclusion-none" in str(bench)
    assert repr(bench) == f"<Benchmark of 2 runs, in {str(bench.folder)!r}>"


def test_the_table_is_a_text_in_a_notebook_too(bench, monkeypatch):
    table = str(bench)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as its kernel does
    assert str(bench) == table != ""


def test_pictures_show_the_figures_of_the_frame(bench):
    frame = bench.to_dataframe().set_index("run")
    shape = (int(frame["batch_size"].iloc[-1]), int(frame["input_length"].iloc[-1]))
    axes = bench.plot.tradeoff(shape=shape)
    drawn = {container.get_label(): container.lines[0].get_xydata()[0] for container in axes.containers}
    at = frame[(frame["batch_size"] == shape[0]) & (frame["input_length"] == shape[1])]
    for name, (milliseconds, loss) in drawn.items():
        assert milliseconds == at.loc[name, "optimized_ms"]
        assert loss == pytest.approx(at.loc[name, "f1_loss"])
    assert axes.get_ylabel() == "f1 lost"
    boxes = bench.plot.latency(shape=shape)
    assert [text.get_text().replace("\n", "") for text in boxes.get_yticklabels()] == [
        "pytorch",
        "onnx-float",
        "node_exclusion-none",
        OTHER,
    ]
    assert bench.plot.latency(shape, ax=axes) is axes


def test_pictures_without_their_library_or_their_data_say_what_to_do(bench, monkeypatch):
    assert set(bench.to_dataframe()["batch_size"]) == {1, 4}
    with pytest.raises(qb.BadInput, match="was not timed by node_exclusion-none; there is:"):
        bench.plot.latency(shape=(3, 5))
    with pytest.raises(qb.BadInput, match="metric f2: is not among those that were scored: precision"):
        bench.plot.tradeoff(metric="f2")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(qb.BadInput, match=r"pip install 'quantbench\[plots\]'"):
        bench.plot.tradeoff()


def test_overrides_in_python_are_those_of_the_command_line():
    values = {"time_benchmark_args.duration": 1e-5, "dataset.revision": "1", "benchmarked.max_eval_samples": [5, None]}
    made = qb.load_config(REFERENCE_YAML, set=values, batch_sizes=(1, 2), metrics=["seqeval"])
    texts = ["time_benchmark_args.duration=1.0e-05", "dataset.revision='1'", "benchmarked.max_eval_samples=[5, null]"]
    told = load_config(REFERENCE_YAML, [*texts, "batch_sizes=[1,2]", "metrics=[seqeval]"])
    assert qb.load_config("demo", set="batch_sizes=[2]").base.batch_sizes == (2,)
    same = qb.load_config(REFERENCE_YAML, set=texts, batch_sizes=[1, 2], metrics=["seqeval"])
    assert made.model_dump() == same.model_dump() == told.model_dump()
    assert made.base.dataset.revision == "1"


def test_a_mistake_in_an_override_is_named_by_its_parameter():
    with pytest.raises(qb.BadInput) as refused:
        qb.load_config("demo", per_channel="maybe", set={"batch_size": 1, "metrics": object()})
    (mistake,) = refused.value.mistakes
    assert str(mistake).startswith("metrics: is a object")
    with pytest.raises(qb.BadInput) as refused:
        qb.load_config("demo", per_channel="maybe", set={"batch_size": 1})
    assert [str(mistake).split(":")[0] for mistake in refused.value.mistakes] == ["batch_size=1", "per_channel=maybe"]
    assert "did you mean 'batch_sizes'?" in str(refused.value)


def test_a_configuration_from_python_is_that_of_the_same_file(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    values = {"task": "token-classification", "dataset": "demo", "batch_sizes": (1,)}
    made = qb.config(model_name_or_path=Path("model"), benchmarked={"per_channel": (True, False)}, **values)
    (tmp_path / "same.yaml").write_text(
        "task: token-classification\nmodel_name_or_path: model\ndataset: demo\nbatch_sizes: [1]\n"
        "benchmarked: {per_channel: [true, false]}\n"
    )
    assert made.model_dump() == qb.load_config("same.yaml").model_dump()
    assert made.places == {"model": str(tmp_path / "model")}


def test_all_mistakes_of_a_configuration_from_python_come_at_once():
    with pytest.raises(qb.BadInput) as refused:
        qb.config(task="token-classificatoin", dataset="demo", per_channel=3)
    told = [str(mistake) for mistake in refused.value.mistakes]
    assert len(told) == 3
    assert any("did you mean 'token-classification'" in text for text in told)
    assert any(text.startswith("qb.config(per_channel): per_channel is 3") for text in told)
    assert any("model_name_or_path is missing" in text for text in told)


def test_a_plan_says_what_is_done_and_what_is_skipped(tmp_path):
    config = reference_config("benchmarked.calibration.percentile=[99.9, 99.99]")
    one, other = make_plan(config).runs
    stored(tmp_path / "out", [done(one, 0)], config)
    made = qb.plan(config, out=tmp_path / "out")
    assert [(row.number, row.state, row.name) for row in made.rows[:2]] == [
        (1, "done", one.name),
        (2, "run", other.name),
    ]
    assert {row.state for row in made.rows[2:]} == {"skipped"}
    assert list(made.to_dataframe()["state"]) == [row.state for row in made.rows]
    assert repr(made) == "<Plan: 1 to run, 1 done, 2 skipped>"
    assert made.cost.shapes == len(config.base.batch_sizes) * len(config.base.input_lengths)
    assert "1 runs to do" in made._repr_markdown_()
    assert [row.state for row in qb.plan(config).rows[:2]] == ["run", "run"], "without a folder nothing is done"


def test_two_benchmarks_are_compared_in_a_frame_as_in_the_text(tmp_path, bench):
    other = stored(tmp_path / "other", list(bench), bench.config)
    found = qb.compare(bench, other)
    text = found._repr_markdown_()
    speed, quality = found.to_dataframe(), found.to_dataframe("quality")
    assert len(speed) == sum(len(result.latency) for result in bench)
    for row in speed.to_dict("records"):
        assert f"{row['ratio']:.3f} ({row['ratio_low']:.3f} to {row['ratio_high']:.3f})" in text
        assert f"{100 * row['noise_floor']:.1f} %" in text
        assert row["verdict"] == "inconclusive", "both are the same"
    assert set(quality["metric"]) == {"precision", "recall", "f1", "accuracy"}
    assert (quality["difference"] == 0).all()
    with pytest.raises(qb.BadInput, match="there is 'speed' and 'quality'"):
        found.to_dataframe("all")


def test_what_there_is_to_choose_from():
    assert "token-classification" in qb.tasks()
    assert set(qb.runtimes()) >= {"onnxruntime", "openvino", "pytorch"}
    assert set(qb.metrics()) == set(qb.tasks())
    assert "gelu" in qb.exclusions()
