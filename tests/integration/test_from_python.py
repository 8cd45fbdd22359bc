"""The public API at work: runs, searches and diagnoses from Python, the examples of its page and the notebook."""

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import quantbench as qb

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
NOTEBOOK = ROOT / "examples" / "quantbench.ipynb"


def blocks():
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)


def test_a_run_without_a_folder_has_one_as_long_as_its_results_live(write_config):
    bench = qb.run(qb.load_config(write_config()))
    folder = bench.folder
    assert (folder / "card.md").read_text() == bench.card
    assert not bench.failed
    assert bench["static"].folder == folder
    part = bench[:1]
    del bench
    gc.collect()
    assert folder.exists(), "a slice holds it as well"
    del part
    gc.collect()
    assert not folder.exists()


@pytest.mark.slow
def test_a_second_call_does_only_what_is_missing(write_config, tmp_path):
    config = qb.load_config(write_config(benchmarked={"per_channel": [False, True]}))
    first = qb.run(config, out=tmp_path / "out", only="1")
    assert [result.run.name for result in first] == ["per_channel-false"]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
    both = qb.run(config, out=tmp_path / "out")
    assert [result.run.name for result in both] == ["per_channel-false", "per_channel-true"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert str(both) == str(qb.load_results(tmp_path / "out"))


@pytest.mark.slow
def test_nothing_is_printed(write_config, tmp_path):
    code = (
        "import sys, quantbench as qb\n"
        "bench = qb.run(qb.load_config(sys.argv[1]), out=sys.argv[2])\n"
        "bench.to_dataframe(); bench.card; qb.diagnose(bench)\n"
    )
    command = [sys.executable, "-c", code, str(write_config()), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_a_result_knows_where_its_model_lies(write_config, tmp_path):
    qb.run(qb.load_config(write_config()), out=tmp_path / "out")
    bench = qb.load_results(tmp_path / "out")
    found = qb.diagnose(bench["static"])
    assert found.results == (bench["static"],)
    assert found.path.read_text() == str(found) == found._repr_markdown_()
    assert "`static`" in str(found)
    loose = bench["static"].model_copy()
    loose._folder = None
    for job in (qb.diagnose, qb.deploy):
        with pytest.raises(qb.BadInput, match="was read from no folder"):
            job(loose)
    folder = qb.deploy(bench["static"])
    assert folder == tmp_path / "out" / "models" / "best"
    assert {"infer.py", "serving.json", "model.onnx"} <= {path.name for path in folder.iterdir()}
    (tmp_path / "out" / bench["static"].artifact.path).write_bytes(b"")
    with pytest.raises(qb.BadInput, match="has changed since the run, or is gone"):
        qb.deploy(bench["static"])


def test_a_run_that_cannot_be_explained_says_why(write_config, tmp_path):
    approach = {"quantization_approach": "dynamic", "operators_to_quantize": ["MatMul"]}
    bench = qb.run(qb.load_config(write_config(**approach)), out=tmp_path / "out")
    with pytest.raises(qb.BadInput, match="there are no ranges to explain"):
        qb.diagnose(bench[0])


@pytest.mark.slow
def test_a_search_has_its_best_version_and_its_front(write_config, tmp_path):
    config = qb.load_config(write_config())
    found = qb.tune(config, out=tmp_path / "out", max_drop={"f1": "100%"}, only="onnxruntime-*", max_time=60)
    frame = found.to_dataframe()
    assert set(frame["run"]) == {result.run.name for result in found.results}
    assert {version.name for version in found.front} == set(frame[frame["on_front"]]["run"])
    assert [version.milliseconds for version in found.front] == sorted(v.milliseconds for v in found.front)
    for version in found.front:
        row = frame[frame["run"] == version.name].iloc[0]
        assert (row["f1_loss"], row["optimized_ms"]) == (pytest.approx(version.loss), version.milliseconds)
        assert version.path.is_dir()
    if found.best is not None:
        assert (found.best.path / "infer.py").exists()
    assert list(found.to_dataframe("tried")["version"]) == [item.name for item in found.state.tried]
    assert found._repr_markdown_().startswith("# Which version of")
    assert "front.svg" not in found._repr_markdown_()
    with pytest.raises(qb.BadInput, match=r"--max-drop f2=0\.1: unknown metric 'f2'"):
        qb.tune(config, max_drop={"f2": 0.1})


def test_every_example_of_the_page_is_of_names_that_there_are():
    assert len(blocks()) > 10
    for block in blocks():
        compile(block, str(PAGE), "exec")
    for name in re.findall(r"\bqb\.(\w+)", PAGE.read_text()):
        assert name in qb.__all__, name


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks():
        exec(compile(block, str(PAGE), "exec"), namespace)
    assert "did you mean 'per_channel'?" in capsys.readouterr().out
    assert not namespace["bench"].failed
    assert len(namespace["calls"]) > 0


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code"), "it is kept executed"
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
