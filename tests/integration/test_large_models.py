"""Models whose weights have a file of their own: the same benchmark with a low limit ends with the same numbers."""

import os

import pytest

import quantbench as qb
from quantbench import embedded
from quantbench.graph import external
from quantbench.system import onnx_files

SET = {
    "max_eval_samples": 24,
    "batch_sizes": [],
    "operators_to_quantize": ["MatMul"],
    "node_exclusion": [],
    "calibration": {"num_calibration_samples": 4},
    "per_channel": False,
    "framework_args": {"opset": 17},
}
GRID = {"benchmarked.quantization_approach": ["static", "dynamic", "mixed", "none"]}
LIMIT = 100_000


def bench(folder, limit=None, **settings):
    """The embedded model's grid in a folder with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "QUANTBENCH_CACHE", str(folder / "cache"))
        if limit:
            patch.setattr(onnx_files, "LARGEST", limit)
        values = {**GRID, **SET, **settings}
        return qb.run(qb.load_config(embedded.CONFIG, set=values), out=folder / "out", progress=False)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same grid with weights within and apart."""
    folder = tmp_path_factory.mktemp("large")
    return bench(folder / "within"), bench(folder / "apart", LIMIT)


def test_every_form_of_int8_ends_with_the_same_numbers(both):
    within, apart = both
    assert not within.failed and not apart.failed
    for plain, large in zip(within, apart, strict=True):
        assert plain.run.name == large.run.name
        for arm in ("original", "onnx-float", "optimized"):
            assert plain.scores[arm].outcomes == large.scores[arm].outcomes
        assert plain.artifact.graph == large.artifact.graph
        assert plain.artifact.operators == large.artifact.operators
        assert plain.artifact.executed == large.artifact.executed


def test_both_files_are_kept_hashed_and_counted(both):
    within, apart = both
    for plain, large in zip(within, apart, strict=True):
        path = apart.folder / large.artifact.path
        files = onnx_files.files(path)
        assert [file.name for file in files] == ["model.onnx", "model.onnx_data"]
        assert large.artifact.bytes == sum(file.stat().st_size for file in files) >= plain.artifact.bytes
        assert large.artifact.sha256 != plain.artifact.sha256
        assert external.outside(external.read(path))
        assert large.float_artifact["bytes"] >= plain.float_artifact["bytes"]


@pytest.mark.slow
def test_arms_are_timed_from_both_files(tmp_path):
    timed = {"batch_sizes": [1], "input_lengths": [8], "time_benchmark_args": {"duration": 0.1, "warmup_runs": 1}}
    assert all(result.latency[0].arms["optimized"].slots for result in bench(tmp_path, LIMIT, **timed))


@pytest.mark.slow
def test_openvino_and_nncf_read_both_files(tmp_path):
    pytest.importorskip("nncf")
    choice = {"benchmarked.quantization_approach": ["static", "none"], "framework": "openvino", "node_exclusion": []}
    within, apart = (bench(tmp_path / str(limit), limit, **choice) for limit in (None, LIMIT))
    assert not apart.failed, apart.failed
    for plain, large in zip(within, apart, strict=True):
        assert plain.scores["optimized"].outcomes == large.scores["optimized"].outcomes


@pytest.mark.slow
def test_why_reads_a_model_in_two_files(both):
    _, apart = both
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "QUANTBENCH_CACHE", str(apart.folder.parent / "cache"))
        found = qb.diagnose(apart.folder, progress=False)
    assert str(found)
