"""What a version may take up: sizes as people write them, tables that have to shrink, and who keeps within."""

import pytest
from tests.support.example_results import reference_config, reference_results
from tests.unit.test_tables import WIDTH, WORDS, model

from quantbench.api.limits import bytes_of
from quantbench.errors import BadInput
from quantbench.graph.view import Graph
from quantbench.reports import _tune
from quantbench.tune import finals
from quantbench.tune.candidates import needs_small_tables
from quantbench.tune.search import UNLIMITED, Footprint, Limit
from quantbench.tune.state import Tuned, question

LIMITS = (Limit(metric="f1", drop=1.0),)


@pytest.mark.parametrize(
    ("given", "found"),
    [("24MB", 24_000_000), ("24MiB", 24 * 2**20), (24, 24), ("1.5 GB", 1_500_000_000), ("700", 700), (None, None)],
)
def test_sizes_are_read_with_their_units(given, found):
    assert bytes_of("--max-size", given) == found


@pytest.mark.parametrize("given", ["small", "", "-3MB", 0, "24XB"])
def test_what_is_no_size_is_told(given):
    with pytest.raises(BadInput, match=r"--max-size .*must be a number of bytes, such as 24MB"):
        bytes_of("--max-size", given)


def test_tables_shrink_only_where_products_in_int8_do_not_suffice():
    graph, tables = Graph(model()), WORDS * WIDTH * 4
    size = tables + 4_000
    assert not needs_small_tables(graph, size, round(1.2 * (tables + 1_000)) + 1)
    assert needs_small_tables(graph, size, round(1.2 * (tables + 1_000)) - 1)
    assert not needs_small_tables(Graph(model(reader="MatMul")), size, 1), "there is nothing to shrink"


@pytest.fixture
def results():
    return reference_results(reference_config())


def with_peak(result, peak):
    arms = {
        name: arm.model_copy(update={"peak_memory_bytes": (peak if name == "optimized" else 9 * peak, 1)})
        for name, arm in result.latency[0].arms.items()
    }
    return result.model_copy(update={"latency": (result.latency[0].model_copy(update={"arms": arms}),)})


def test_size_memory_and_loss_are_each_held_to_their_limit(results):
    result = with_peak(results[0], 500)
    size = result.artifact.bytes
    assert finals.peak_memory(result) == 500
    assert finals.peak_memory(result, "pytorch") == 4500
    assert finals.keeps_within(result, LIMITS, Footprint(size=size, memory=500))
    assert not finals.keeps_within(result, LIMITS, Footprint(size=size - 1))
    assert not finals.keeps_within(result, LIMITS, Footprint(memory=499))
    lost = finals.loss_of(result, "f1")
    assert lost == result.scores["original"].metrics["f1"] - result.scores["optimized"].metrics["f1"]
    assert not finals.keeps_within(result, (Limit(metric="f1", drop=lost - 0.001),), UNLIMITED)


def test_memory_that_the_system_does_not_tell_is_not_held_against_a_version(results):
    assert finals.keeps_within(results[0], LIMITS, Footprint(memory=1)) is (finals.peak_memory(results[0]) <= 1)


def test_a_report_says_what_was_asked_and_what_is_taken_up(results):
    config, result = reference_config(), with_peak(results[0], 345_600_000)
    name, asked = result.run.name, Footprint(size=24_000_000, memory=500_000_000)
    tuned = Tuned(question="?", limits=LIMITS, most=asked, fastest=name, best=name, front=(name,))
    text = _tune.render(config, tuned, [result], 1.0)
    assert "loses at most f1 by 1 and is at most 24 MB large and takes at most 500 MB of memory." in text
    row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
    assert [cell.strip() for cell in row.split("|")[4:6]] == [f"{result.artifact.bytes / 1e6:.1f}", "345.6"]
    assert _tune.data(tuned, 1.0)["max_size"] == 24_000_000
    assert "max_memory" not in _tune.data(tuned.model_copy(update={"most": UNLIMITED}), 1.0)


def test_another_limit_is_another_question():
    base = reference_config().base
    asked = {
        question(base, LIMITS, "*", most)
        for most in (UNLIMITED, Footprint(size=1), Footprint(size=2), Footprint(memory=1))
    }
    assert len(asked) == 4
    assert question(base, LIMITS, "*", UNLIMITED) == question(base, LIMITS, "*")
