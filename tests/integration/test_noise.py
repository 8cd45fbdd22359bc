"""A model timed against itself in several starts: measured once, kept, and again when old, too wide or of another shape."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tests.support.example_results import arm
from tests.support.tiny_models import write_relu

from quantbench.schema.results import Noise
from quantbench.schema.settings import LEAST_COMPARED, TimeBenchmarkArgs
from quantbench.system import environment
from quantbench.system.progress import Silent
from quantbench.timing import self_comparison
from quantbench.timing.session import Shape, Timings

ARGS = TimeBenchmarkArgs(duration=LEAST_COMPARED, warmup_runs=1, launches=1, precision=0.9)


@pytest.fixture
def spec(tmp_path):
    return write_relu(tmp_path / "model.onnx")


@pytest.fixture
def ask(spec, tmp_path):
    """Ask for what the model differs from itself by; see ``self_comparison.between_launches``."""

    def between(length=8, args=ARGS, **machine):
        shape = Shape(1, length, [{"x": np.ones((1, length), dtype=np.float32)}])
        where = environment.detect().model_copy(update=machine)
        paths = self_comparison.paths(spec, [shape], args, 1, where, tmp_path / "cache")
        (found,) = self_comparison.between_launches(spec, [shape], args, 1, paths, Silent())
        return found

    return between


@pytest.fixture
def measured(monkeypatch):
    """How often it was measured, with figures of the test's own: what is asked here is when, not what."""
    calls = []

    def measure(spec, at, *_):
        calls.append(len(at))
        return [Noise(ratios=(0.01, -0.01), measured_at=datetime.now(UTC).isoformat()) for _ in at]

    monkeypatch.setattr(self_comparison, "measure", measure)
    return calls


@pytest.mark.slow
def test_every_launch_gives_a_ratio(spec, monkeypatch):
    monkeypatch.setattr(self_comparison, "LAUNCHES", 3)
    shapes = [Shape(1, length, [{"x": np.ones((1, length), dtype=np.float32)}]) for length in (4, 8)]
    found = self_comparison.measure(spec, shapes, ARGS.model_copy(update={"duration": 2.1}), 1, Silent())
    assert [len(one.ratios) for one in found] == [3] * 2
    assert len(set(found[0].ratios)) > 1
    assert 0 < found[0].fastest_ms < 100
    assert datetime.now(UTC) - datetime.fromisoformat(found[0].measured_at) < timedelta(minutes=5)


def test_it_is_measured_once_per_shape_and_machine(ask, measured):
    first = ask()
    assert ask() == first
    assert measured == [1]
    ask(length=16)
    ask(cpu_model="another")
    assert measured == [1, 1, 1]


def test_short_benchmarks_do_not_ask(ask, measured):
    assert ask(args=ARGS.model_copy(update={"duration": LEAST_COMPARED / 2})) is None
    assert not measured


def test_what_is_old_is_measured_again(ask, measured, tmp_path):
    ask()
    (path,) = (tmp_path / "cache" / self_comparison.FOLDER).iterdir()
    old = datetime.now(UTC) - self_comparison.LONGEST_AGE - timedelta(minutes=1)
    path.write_text(Noise(ratios=(0.01, 0.02), measured_at=old.isoformat()).model_dump_json())
    ask()
    assert measured == [1, 1]
    ask()
    assert measured == [1, 1]


def test_what_was_too_wide_is_measured_again_but_not_at_once(ask, measured, tmp_path):
    narrow = ARGS.model_copy(update={"precision": 0.02})
    ask(args=narrow)
    ask(args=narrow)
    assert measured == [1], "the machine is what it was a moment ago"
    (path,) = (tmp_path / "cache" / self_comparison.FOLDER).iterdir()
    earlier = datetime.now(UTC) - self_comparison.AS_NOW - timedelta(minutes=1)
    path.write_text(Noise(ratios=(0.01, -0.01), measured_at=earlier.isoformat()).model_dump_json())
    ask(args=narrow)
    assert measured == [1, 1], "two launches of one percent are a floor of four"
    path.write_text(Noise(ratios=(0.001, -0.001), measured_at=earlier.isoformat()).model_dump_json())
    ask(args=narrow)
    assert measured == [1, 1]


@pytest.mark.parametrize(("load_seconds", "launches"), [(0.0, 8), (0.05, 8), (0.1, 5), (60.0, 3)])
def test_a_model_that_loads_slowly_is_launched_less_often(spec, monkeypatch, load_seconds, launches):
    asked = []

    def time_arms(specs, baseline, at, args, *_):
        asked.append(args.launches)
        return Timings([], {baseline: "not timed here"})

    monkeypatch.setattr(self_comparison, "time_arms", time_arms)
    args = ARGS.model_copy(update={"duration": 0.5})
    self_comparison.measure(spec, [Shape(1, 8, [])], args, 1, Silent(), load_seconds)
    assert asked == [launches]


def test_an_arm_that_fails_leaves_it_unknown(spec, tmp_path):
    gone = spec.model_copy(update={"path": spec.path + ".missing"})
    shape = Shape(1, 8, [{"x": np.ones((1, 8), dtype=np.float32)}])
    paths = self_comparison.paths(gone, [shape], ARGS, 1, environment.detect(), tmp_path / "cache")
    found = self_comparison.between_launches(gone, [shape], ARGS, 1, paths, Silent())
    assert found == [None]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("session", "fastest"), [(4.0, 4.0), (8.0, 6.0)])
def test_the_cache_remembers_the_machine_at_its_fastest(ask, measured, tmp_path, session, fastest):
    (path,) = (ask(), *(tmp_path / "cache" / self_comparison.FOLDER).iterdir())[1:]
    path.write_text(ask().model_copy(update={"fastest_ms": 6.0}).model_dump_json())
    told = self_comparison.remember(ask(), arm(session), False, ARGS, path)
    assert (told.fastest_ms, told.session_ms) == (pytest.approx(fastest, rel=0.01), pytest.approx(session, rel=0.01))
    assert ask().fastest_ms == pytest.approx(fastest, rel=0.01)
    assert ask().session_ms is None, "which belongs to a result"
    assert measured == [1]


def test_what_an_earlier_version_kept_learns_of_the_machine_from_the_next_session(ask, measured, tmp_path):
    ask()
    (path,) = (tmp_path / "cache" / self_comparison.FOLDER).iterdir()
    assert self_comparison.remember(ask(), arm(5.0), False, ARGS, path).fastest_ms == pytest.approx(5.0, rel=0.01)
    assert ask().fastest_ms == pytest.approx(5.0, rel=0.01)


def test_where_launches_of_the_session_tell_the_machine_is_remembered_alone(measured, tmp_path):
    path = tmp_path / "noise.json"
    for took, fastest in ((5.0, 5.0), (4.0, 4.0), (6.0, 4.0)):
        told = self_comparison.remember(None, arm(took), False, ARGS, path)
        assert told.ratios == ()
        assert (told.fastest_ms, told.session_ms) == (pytest.approx(fastest, rel=0.01), pytest.approx(took, rel=0.01))
    short = ARGS.model_copy(update={"duration": LEAST_COMPARED / 2})
    assert self_comparison.remember(None, arm(3.0), False, short, path) is None
    assert not measured


def test_enough_launches_are_not_compared_with_themselves(ask, measured):
    assert ask(args=ARGS.model_copy(update={"launches": None})) is None
    assert ask(args=ARGS.model_copy(update={"launches": 3})) is None
    assert not measured
    assert ask(args=ARGS.model_copy(update={"launches": 2})) is not None
