"""The page of architectures says what comes of each."""

from importlib.util import find_spec

import pytest
from tests.architectures.__main__ import PAGE, line_of, start
from tests.architectures.listed import ARCHITECTURES
from tests.architectures.made import write
from tests.architectures.rows import COLUMNS, NEWEST, cells, settings_of

import quantbench as qb
from quantbench.sources.export import NEWER_LIBRARY

SAMPLE = ("DPR context encoder", "Llama padded on the left", "DeiT with a teacher's head", "Swin", "ResNet")
WITHOUT_TUNE = COLUMNS[:-1]


def row_of(architecture):
    """The architecture's line on the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(start(architecture))), "")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.name)
def test_every_row_is_what_comes_out(architecture):
    row = row_of(architecture)
    if NEWEST in row and find_spec(NEWER_LIBRARY) is None:
        pytest.skip(f"{NEWER_LIBRARY} is not installed")
    assert row == line_of(architecture), "python -m tests.architectures > docs/architectures.md"


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_of_rows_without_tune(name, tmp_path):
    architecture = next(one for one in ARCHITECTURES if one.name == name)
    found = cells(architecture, tmp_path, WITHOUT_TUNE)
    assert row_of(architecture).startswith(
        f"{start(architecture)} {' | '.join(found[column] for column in WITHOUT_TUNE)} |"
    )


def test_the_page_has_all_architectures_and_no_others():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(ARCHITECTURES)
    assert all(row_of(architecture) for architecture in ARCHITECTURES)
    assert len({architecture.name for architecture in ARCHITECTURES}) == len(ARCHITECTURES) >= 30


@pytest.mark.slow
def test_a_whole_search_of_a_convolutional_model(tmp_path):
    """The candidate with convolutions is made, tried, evaluated and timed against the original."""
    architecture = next(one for one in ARCHITECTURES if one.name == "ResNet")
    quick = {"duration": 0.2, "warmup_runs": 1, "precision": 0.9}
    config = settings_of(write(architecture, tmp_path), 17, batch_sizes=[1], time_benchmark_args=quick)
    found = qb.tune(config, out=tmp_path / "out", only="onnxruntime-static-conv", max_drop={"accuracy": 1.0})
    assert not found.state.failures
    assert [tried.candidate for tried in found.state.tried] == ["onnxruntime-static-conv"]
    [result] = found.results
    assert result.artifact.operators["Conv"] >= 6
    assert result.latency
