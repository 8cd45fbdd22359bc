"""Timing that is stopped half-way: what is kept, what the next call still measures, what the message says."""

import pytest

import quantbench as qb
from quantbench.cli_options import interrupted
from quantbench.config.load import load_config
from quantbench.errors import BadInput, Interrupted
from quantbench.pipeline import measure
from quantbench.results.store import Store
from quantbench.timing import self_comparison
from quantbench.timing import session as timing
from quantbench.tune.search import Limit
from quantbench.tune.state import FILE, Tuned


@pytest.fixture
def measured(monkeypatch):
    """Places of the shapes that are measured; ``stop`` holds the place at which the user presses Ctrl-C."""
    places, stop, shape = [], set(), timing._Session._shape

    def measure(session, index, launch):
        if index in stop:
            raise KeyboardInterrupt
        places.append((index, launch))
        shape(session, index, launch)

    monkeypatch.setattr(timing._Session, "_shape", measure)
    return places, stop


@pytest.mark.slow
def test_the_next_call_goes_on_at_the_shape_where_timing_was_stopped(write_config, tmp_path, measured, own_cache):
    places, stop = measured
    config, out = load_config(write_config(batch_sizes=[1, 2])), tmp_path / "out"
    stop.add(1)
    with pytest.raises(Interrupted) as caught:
        qb.run(config, out=out)
    told = interrupted(out, str(caught.value))
    assert told.startswith("interrupted: 0 run(s) are finished and kept, 1 more are prepared and scored")
    assert "timing goes on after 1 of 2 shape(s)" in told
    assert places == [(0, 0)]
    (kept,) = (out / "timing").rglob("*.json")
    stop.clear()
    before = kept.read_bytes()
    assert not qb.run(config, out=out).failed
    assert places == [(0, 0), (1, 0)], "only what was missing"
    (result,) = Store(out).results()
    assert [shape.batch_size for shape in result.latency] == [1, 2]
    slots = result.latency[0].arms["pytorch"].slots
    assert slots[0].model_dump_json().encode()[:60] in before
    assert "evaluation" not in result.seconds or result.seconds["evaluation"] < 1, "predictions were kept as well"
    assert not (out / "timing").exists()


@pytest.mark.slow
def test_what_was_not_scored_is_not_said_to_be(write_config, tmp_path, measured):
    measured[1].add(0)
    config = load_config(write_config(max_eval_samples=0))
    with pytest.raises(Interrupted, match="1 more are prepared; timing goes on after 0 of 1"):
        qb.run(config, out=tmp_path / "out")


@pytest.mark.slow
def test_launches_go_on_where_they_were_stopped_and_damaged_files_are_measured_again(
    write_config, tmp_path, measured, own_cache
):
    places, stop = measured
    args = {"duration": 0.2, "warmup_runs": 1, "precision": 0.9, "launches": 2}
    config, out = load_config(write_config(batch_sizes=[1, 2], time_benchmark_args=args)), tmp_path / "out"
    stop.add(1)
    with pytest.raises(Interrupted):
        qb.run(config, out=out)
    stop.clear()
    next((out / "timing").rglob("*.json")).write_text("{")
    assert not qb.run(config, out=out).failed
    assert places == [(0, 0), (0, 0), (1, 0), (0, 1), (1, 1)]


def test_what_fails_before_timing_fails_the_rows_and_not_the_command(write_config, tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("no such machine")

    monkeypatch.setattr(measure.self_comparison, "paths", broken)
    finished = qb.run(load_config(write_config()), out=tmp_path / "out")
    (result,) = Store(tmp_path / "out").results()
    assert [item.failure for item in finished.failed] == [result.failure]
    assert (result.failure.stage, result.failure.reason) == ("timing", "ValueError: no such machine")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ratios": [0.1]}', '{"ratios": [0.1], "measured": "now"}'])
def test_a_noise_file_that_cannot_be_read_is_made_anew(tmp_path, text):
    path = tmp_path / "noise.json"
    path.write_text(text)
    assert self_comparison._kept(path, 0.02) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is damaged"), ('{"colour": 1}', "another version"), ("", "is damaged")],
)
def test_the_state_of_a_search_that_cannot_be_read_is_one_message(write_config, tmp_path, text, words):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadInput, match=words) as caught:
        Tuned.read(tmp_path, load_config(write_config()).base, [Limit(metric="f1", drop=0.1)], "*")
    assert caught.value.mistakes[0].where == str(tmp_path / FILE)


def test_the_state_of_a_search_by_a_later_version_is_named(write_config, tmp_path):
    settings, limits = load_config(write_config()).base, [Limit(metric="f1", drop=0.1)]
    Tuned.start(settings, limits, "*").model_copy(update={"schema_version": 9}).write(tmp_path)
    with pytest.raises(BadInput, match="has schema version 9, this quantbench reads 2"):
        Tuned.read(tmp_path, settings, limits, "*")
