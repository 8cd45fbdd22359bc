"""Which candidates are in question: the rule, what is timed for it, and what is told of it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_results import reference_config

from quantbench.analysis import undisturbed
from quantbench.analysis.intervals import Interval
from quantbench.config.load import build_config
from quantbench.pipeline import optimize
from quantbench.reports import _screening, _tune
from quantbench.schema.results import ArmLatency, Slot
from quantbench.schema.settings import TimeBenchmarkArgs
from quantbench.timing.looks import USUAL, Sieve, fastest
from quantbench.tune import screening
from quantbench.tune.candidates import candidates_for
from quantbench.tune.screener import timed_settings
from quantbench.tune.search import Limit
from quantbench.tune.state import SCHEMA_VERSION, Family, Screening, Tuned, question

LIMITS = (Limit(metric="f1", drop=0.005),)
BASE = build_config(
    {
        "task": "token-classification",
        "model_name_or_path": "m",
        "dataset": {"path": "p", "calibration_split": "train"},
        "calibration": {"num_calibration_samples": 100},
    },
    {},
    "x.yaml",
).base

logs = st.floats(-3, 3)


@given(logs, st.floats(0, 2), st.floats(0, 2))
def test_only_what_is_certainly_not_worth_it_is_out(value, below, above):
    speed = Interval(value, value - below, value + above).exp()
    standing, why = screening.by_speed(speed, "openvino-float32")
    assert (standing == "out") == (speed.high < screening.WORTH)
    assert bool(why) == (standing == "out")


@given(logs, st.floats(0, 2), st.floats(0, 2), st.floats(0, 2))
def test_a_wider_interval_never_puts_a_candidate_out(value, below, above, more):
    narrow = screening.by_speed(Interval(value, value - below, value + above).exp(), "a")[0]
    wide = screening.by_speed(Interval(value, value - below - more, value + above + more).exp(), "a")[0]
    assert narrow == "out" or wide == "in question"


@pytest.mark.parametrize(
    ("verdict", "mends", "standing"),
    [
        ("fails", False, "out"),
        ("fails", True, "in question"),
        ("open", False, "in question"),
        ("passes", False, "in question"),
    ],
)
def test_a_loss_puts_out_only_what_cannot_be_mended(verdict, mends, standing):
    assert screening.by_loss(verdict, mends)[0] == standing


@given(st.randoms(use_true_random=False))
def test_what_is_held_against_comes_first_and_then_the_cheapest(random):
    candidates = candidates_for(BASE, ("avx2", "amx_bf16"))
    random.shuffle(candidates)
    reads = {candidate.name: optimize.reads(candidate.settings) for candidate in candidates}
    found = screening.in_order(candidates, reads)
    assert sorted(x.name for x in found) == sorted(x.name for x in candidates)
    plain = [candidate.plain for candidate in found]
    assert plain == sorted(plain, reverse=True)
    costs = [screening.DEAREST.index(reads[candidate.name]) for candidate in found if not candidate.plain]
    assert costs == sorted(costs)


def test_only_a_quantizer_that_looks_at_samples_is_timed_with_few():
    for candidate in candidates_for(BASE, ("avx2",)):
        timed = timed_settings(candidate)
        if "nncf" in candidate.name:
            assert timed.calibration.num_calibration_samples == screening.ROUGH_SAMPLES
            assert timed.model_copy(update={"calibration": candidate.settings.calibration}) == candidate.settings
        else:
            assert timed == candidate.settings


def arms(rounds, noise=0.001, **ratios):
    """Arms by name that are so many times as fast as ``float``."""
    generator = np.random.default_rng(4)
    return {
        name: ArmLatency(
            slots=tuple(
                Slot(round=number, order=number, nanoseconds=(int(1e7 / ratio * np.exp(noise * generator.normal())),))
                for number in range(rounds)
            ),
            load_seconds=(1.0,),
            first_call_seconds=(1.0,),
        )
        for name, ratio in {"float": 1.0, **ratios}.items()
    }


def unsettled(found, against=("float",), until=float("inf")):
    sieve = Sieve(against, screening.WORTH, 24, USUAL, until)
    return set(sieve.unsettled(found, "float", False, TimeBenchmarkArgs(), False))


def test_an_arm_is_let_go_as_soon_as_its_interval_decides():
    assert unsettled(arms(12, fast=1.5, slow=0.8)) == set()
    assert unsettled(arms(12, fast=1.5, near=1.03, slow=0.8)) == {"near", "float"}
    assert unsettled(arms(12, noise=0.3, fast=1.1, slow=0.8)) == {"fast", "slow", "float"}
    assert unsettled(arms(5, fast=1.5)) == {"fast", "float"}, "five rounds are too few for an interval"
    assert unsettled(arms(5, fast=1.5), until=0.0) == set(), "but the time was over"


def test_the_others_are_held_against_the_fastest_that_was_timed_longest():
    found = arms(20, bfloat16=1.6, int8=1.3)
    assert fastest(found, ("float", "bfloat16"), False) == "bfloat16"
    assert unsettled(found, ("float", "bfloat16")) == set()
    assert fastest({**found, **arms(30)}, ("float", "bfloat16"), False) == "float"
    assert fastest(found, ("elsewhere",), False) is None


@given(st.floats(0.001, 5))
def test_looks_are_after_half_of_the_rounds_and_later(slot):
    assert Sieve((), 1.03, 24, USUAL).looks(1.0, slot) == pytest.approx([12 * slot, 18 * slot, 24 * slot])


def test_the_mean_over_shapes_is_that_of_the_logarithms_and_as_wide_as_it_should_be():
    """Means of two independent normal samples have a variance of the half of theirs."""
    first, second = arms(40, noise=0.02, fast=1.2), arms(40, noise=0.02, fast=1.8)
    ratios = [undisturbed.session(found, False).ratio("fast", "float") for found in (first, second)]
    found = undisturbed.mean(ratios)
    assert found.value == pytest.approx((ratios[0].value + ratios[1].value) / 2)
    widths = [ratio.interval.half_width for ratio in ratios]
    assert found.interval.half_width == pytest.approx(np.hypot(*widths) / 2, rel=0.15)
    assert undisturbed.mean(ratios[:1]) is ratios[0]


def screened(**changes):
    families = (
        Family(candidate="onnxruntime-float32", standing="without int8", speed=(0.8, 0.79, 0.81)),
        Family(candidate="onnxruntime-static", standing="in question", speed=(1.4, 1.35, 1.44)),
        Family(candidate="openvino-static", standing="out", why="at most 0.91 times as fast", speed=(0.9, 0.88, 0.91)),
        Family(candidate="openvino-nncf", standing="not looked at", why="there was no time to make it"),
        Family(candidate="openvino-float32", standing="without int8"),
    )
    found = Screening(against="openvino-float32", shapes=("4 × 64",), families=families, seconds=41.4)
    return Tuned(question="?", limits=LIMITS, screening=found, **changes)


def test_every_candidate_is_told_of_the_fastest_first_and_none_is_left_out():
    text = _screening.text(screened())
    assert text.startswith("**In question on this machine: `onnxruntime-static`.** Out is what is not 3 % faster than")
    assert "Not looked at: `openvino-nncf`." in text
    rows = [line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("|")][2:]
    assert rows == ["onnxruntime-static", "openvino-float32", "openvino-static", "onnxruntime-float32", "openvino-nncf"]
    assert "out: at most 0.91 times as fast" in text
    assert "1.40 (1.35 to 1.44)" in text


def test_a_report_that_ends_with_the_screening_says_how_to_go_on():
    text = _tune.render(reference_config(), screened(seconds={"screening": 41.4}), [], 0.3)
    assert "Which candidates for" in text
    assert "without `--screen-only`" in text
    assert "Deploy" not in text


def test_what_is_out_is_searched_by_a_thorough_search_alone():
    state = screened(fastest="a", best="a", front=("a",), stopped="early")
    assert state.searched("onnxruntime-static")
    assert state.searched("openvino-nncf")
    assert not state.searched("openvino-static")
    again = state.made_thorough()
    assert again.searched("openvino-static")
    assert (again.fastest, again.best, again.front, again.stopped) == (None, None, (), "")
    finished = again.model_copy(update={"best": "b"})
    assert finished.made_thorough() == finished


def test_states_of_searches_that_did_not_screen_are_read(tmp_path):
    old = {
        "schema_version": SCHEMA_VERSION,
        "question": question(BASE, LIMITS, "*"),
        "limits": [limit.model_dump() for limit in LIMITS],
        "probes": {"onnx-float": 0.01, "onnxruntime-static": 0.005},
        "failures": {},
        "groups": [],
        "tried": [],
        "finalists": [],
        "fastest": None,
        "best": None,
        "front": [],
        "stopped": "",
        "tokens": 3.0,
        "seconds": {"probes": 4.0},
    }
    (tmp_path / "tuning.json").write_text(json.dumps(old))
    state = Tuned.read(tmp_path, BASE, LIMITS, "*")
    assert state.screening is None
    assert state.searched("onnxruntime-static")
