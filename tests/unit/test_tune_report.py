"""What a search's report says first: whether anything was tried, and nothing that was not measured."""

import pytest
from tests.support.example_results import reference_config, reference_results

from quantbench.config.plan import run_of
from quantbench.reports import _sections, _tune
from quantbench.tune.search import Limit
from quantbench.tune.state import Tried, Tuned

LIMITS = (Limit(metric="f1", drop=0.05),)


@pytest.fixture
def config():
    return reference_config()


def state(config, results, **updates):
    best = results[1].run.name
    return Tuned(
        question="?", limits=LIMITS, fastest=best, best=best, front=(best,), stopped="The time was over.", **updates
    )


def short(result):
    """The same with too few slots for an interval."""
    shapes = []
    for shape in result.latency:
        arms = {name: arm.model_copy(update={"slots": arm.slots[:3]}) for name, arm in shape.arms.items()}
        shapes.append(shape.model_copy(update={"arms": arms}))
    return result.model_copy(update={"latency": tuple(shapes)})


def answer(config, tuned, results):
    return _tune.render(config, tuned, results, 1.0).split("## Loss against latency")[0]


def test_no_ratio_is_told_without_its_interval(config):
    results = list(map(short, reference_results(config)))
    text = answer(config, state(config, results), results)
    assert "how fast against pytorch at 4 × 64 is not known (too few slots" in text
    assert "times as fast" not in text
    assert "**Nothing is known to be faster yet**" in text
    assert "Deploy" not in text
    assert "2.1" not in text
    full = reference_results(config)
    assert " times as fast as pytorch at 4 × 64" in answer(config, state(config, full), full)


def test_a_search_that_did_not_happen_is_told_first(config):
    results = reference_results(config)
    text = answer(config, state(config, results), results)
    assert text.split("\n\n")[1].startswith("**No version in int8 was tried: The time was over.**")
    tried = Tried(
        name="a",
        candidate="b",
        step=0,
        fallback=(),
        settings=config.base,
        seconds=1.0,
        losses={"f1": (0.0, 0.0, 0.0)},
        excess=0.0,
        examples=1,
        verdict="passes",
    )
    text = answer(config, state(config, results, tried=(tried,)), results)
    assert text.split("\n\n")[1].startswith("**The search was cut short: The time was over.**")


def test_versions_that_a_search_tries_have_names_to_read(config):
    assert run_of(config.base).name == f"onnxruntime-static-{run_of(config.base).key[:8]}"


def test_what_a_training_came_to_is_told_among_the_notes(config):
    result = reference_results(config)[0]
    told = {"steps": 312, "before": 0.00413, "after": 0.00356}
    artifact = result.artifact.model_copy(update={"recipe": {**result.artifact.recipe, "training": told}})
    (note,) = [
        item for item in _sections.notes([result.model_copy(update={"artifact": artifact})]) if "trained" in item
    ]
    assert note.endswith("(312 steps); on examples kept apart what outputs miss went from 0.0041 to 0.0036")
