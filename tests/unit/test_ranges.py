"""Ranges of activations, against plain numpy over all values at once."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from onnx import TensorProto, helper

from quantbench.quantize.calibration import ranges
from quantbench.quantize.calibration.ranges import (
    BINS,
    LEVELS,
    Collector,
    entropy_threshold,
    histogram,
    percentile_range,
)
from quantbench.schema.settings import Calibration

LIMIT = float(np.finfo(np.float32).max)
FLOATS = st.floats(-1e4, 1e4, width=32)
ARRAYS = npst.arrays(np.float32, st.integers(1, 300), elements=FLOATS)
SAMPLES = st.lists(npst.arrays(np.float32, st.integers(1, 40), elements=FLOATS), min_size=1, max_size=8)
COUNTS = npst.arrays(np.int64, BINS, elements=st.integers(0, 50), fill=st.just(0)).filter(lambda c: c.sum() > 0)
METHODS = ("minmax", "percentile", "entropy")


def expected_tensors(x: np.ndarray) -> dict[str, np.ndarray]:
    """What the model below makes of one sample."""
    return {
        "x": x,
        "scaled": x * np.float32(3),
        "zero": x * np.float32(0),
        "moved": x * np.float32(3) + np.float32(-2),
        "masked": np.where(x > 0, x, np.float32(-LIMIT)),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    nodes = [
        helper.make_node("Mul", ["x", "three"], ["scaled"]),
        helper.make_node("Mul", ["x", "nought"], ["zero"]),
        helper.make_node("Add", ["scaled", "two"], ["moved"]),
        helper.make_node("Greater", ["x", "nought"], ["positive"]),
        helper.make_node("Where", ["positive", "x", "lowest"], ["masked"]),
    ]
    constants = {"three": 3.0, "nought": 0.0, "two": -2.0, "lowest": -LIMIT}
    graph = helper.make_graph(
        nodes,
        "five_tensors",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("zero", "moved", "masked")],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    path = tmp_path_factory.mktemp("ranges") / "model.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    return path


def collect(model: Path, samples: list[np.ndarray], **calibration: object) -> ranges.Ranges:
    return Collector(model, len(samples), lambda i: {"x": samples[i].reshape(1, -1)}, 1).collect(
        Calibration(**calibration)
    )


def tensors_of(samples: list[np.ndarray]) -> dict[str, np.ndarray]:
    """All values of all samples, by tensor."""
    each = [expected_tensors(sample) for sample in samples]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


@settings(max_examples=25)
@given(samples=SAMPLES)
def test_minmax_is_numpys_over_all_samples(model, samples):
    found = collect(model, samples)
    assert found == {name: (float(v.min()), float(v.max())) for name, v in tensors_of(samples).items()}


@settings(max_examples=25)
@given(samples=SAMPLES, constant=st.floats(0.001, 1))
def test_moving_average_is_the_formula(model, samples, constant):
    found = collect(model, samples, moving_average=True, averaging_constant=constant)
    low, high = float(samples[0].min()), float(samples[0].max())
    for sample in samples[1:]:
        low = (1 - constant) * low + constant * float(sample.min())
        high = (1 - constant) * high + constant * float(sample.max())
    near = 1e-6 * (1 + max(float(np.abs(sample).max()) for sample in samples))  # what cancels was as large
    assert found["x"] == (pytest.approx(low, abs=near), pytest.approx(high, abs=near))
    assert found["zero"] == (0, 0)


@settings(max_examples=25)
@given(samples=SAMPLES, percentile=st.floats(50.5, 100))
def test_percentile_cuts_no_more_than_its_share_on_either_side(model, samples, percentile):
    found = collect(model, samples, method="percentile", percentile=percentile)
    for name, values in tensors_of(samples).items():
        low, high = found[name]
        check_share(values.astype(np.float64), low, high, float(np.abs(values).max()), percentile)


def check_share(values: np.ndarray, low: float, high: float, edge: float, percentile: float) -> None:
    """At most half of the rest lies beyond either end, and one bin further inside it would be more."""
    allowed = (100 - percentile) / 200 * values.size
    width, rounding = 2 * edge / BINS, 1e-6 * edge
    assert values.min() <= low <= high <= values.max()
    assert (values < low - rounding).sum() <= allowed + 1e-6
    assert (values > high + rounding).sum() <= allowed + 1e-6
    assert (values <= low + width + rounding).sum() >= allowed - 1e-6
    assert (values >= high - width - rounding).sum() >= allowed - 1e-6


def test_percentile_of_a_normal_distribution_is_numpys(model):
    samples = list(np.random.default_rng(0).standard_normal((20, 5000)).astype(np.float32))
    low, high = collect(model, samples, method="percentile", percentile=99.0)["x"]
    wanted = np.quantile(np.concatenate(samples), [0.005, 0.995])
    assert [low, high] == pytest.approx(list(wanted), abs=0.02)


@settings(max_examples=15)
@given(samples=SAMPLES, method=st.sampled_from(METHODS), data=st.data())
def test_the_order_of_samples_does_not_matter(model, samples, method, data):
    shuffled = data.draw(st.permutations(samples))
    assert collect(model, samples, method=method) == collect(model, shuffled, method=method)


@settings(max_examples=15)
@given(samples=SAMPLES, method=st.sampled_from(METHODS[1:]), held=st.integers(1, 100))
def test_splitting_the_tensors_does_not_matter(model, samples, method, held):
    whole = collect(model, samples, method=method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "MAX_HELD", held)
        assert collect(model, samples, method=method) == whole


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("held", [1, 60, 10**6])
def test_progress_adds_up_to_the_passes(model, monkeypatch, method, held):
    monkeypatch.setattr(ranges, "MAX_HELD", held)
    steps: list[int] = []
    collector = Collector(model, 5, lambda i: {"x": np.ones((1, 4 + i), np.float32)}, 1, steps.append)
    calibration = Calibration(method=method)
    collector.collect(calibration)
    assert sum(steps) == 5 * collector.passes(calibration)
    assert min(steps) >= 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, LIMIT, -LIMIT])
def test_infinities_and_masks_give_finite_ranges_and_scales(model, method, value):
    x = np.array([0.5, -1, value, 2], np.float32)
    for low, high in collect(model, [x], method=method).values():
        assert np.isfinite([low, high]).all() and low <= high
        assert np.isfinite(np.float32((high - low) / 255))


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_the_range_zero(model, method):
    assert collect(model, [np.float32([1, -5, 3])], method=method)["zero"] == (0, 0)
    assert set(collect(model, [np.zeros(4, np.float32)], method=method)["scaled"]) == {0}


@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_floats_can_be_counted(model, method):
    tiny = np.float32([1e-40, -1e-45, 3e-39])
    low, high = collect(model, [tiny], method=method)["x"]
    assert -2e-45 <= low <= high <= 3.1e-39


@given(ARRAYS)
def test_a_histogram_counts_every_value_in_its_bin(values):
    edge = float(np.abs(values).max())
    counts = histogram(values, edge)
    assert counts.sum() == values.size and counts.min() >= 0
    if edge > 0:
        wanted, _ = np.histogram(values.astype(np.float64), BINS, (-edge, edge))
        # A value next to an edge may be rounded into the neighbouring bin.
        assert np.abs(np.cumsum(counts - wanted)).max() <= near_an_edge(values, edge)


def near_an_edge(values: np.ndarray, edge: float) -> int:
    places = (values.astype(np.float64) / edge + 1) * BINS / 2
    return int((np.abs(places - np.round(places)) < 1e-3).sum())


@given(ARRAYS, ARRAYS)
def test_histograms_add_up(one, other):
    edge = float(max(np.abs(one).max(), np.abs(other).max()))
    assert (histogram(np.concatenate([one, other]), edge) == histogram(one, edge) + histogram(other, edge)).all()


@pytest.mark.parametrize("size", [1, ranges.CHUNK - 1, ranges.CHUNK, ranges.CHUNK + 1, 3 * ranges.CHUNK])
def test_a_histogram_of_many_values_leaves_none_out(size):
    values = np.random.default_rng(size).uniform(-1, 1, (1, size)).astype(np.float32)
    assert histogram(values, 1.0).sum() == size


def test_what_lies_outside_counts_at_the_ends():
    counts = histogram(np.float32([-np.inf, -9, 0.5, 9, np.inf]), 1.0)
    assert {int(i): int(counts[i]) for i in np.flatnonzero(counts)} == {0: 2, BINS * 3 // 4: 1, BINS - 1: 2}


def test_what_is_not_a_number_counts_as_zero():
    assert list(np.flatnonzero(histogram(np.float32([np.nan, 0]), 1.0))) == [BINS // 2]


@given(COUNTS, st.floats(50.5, 100), st.floats(50.5, 100), st.floats(0.001, 1e6))
def test_a_higher_percentile_never_narrows_the_range(counts, one, other, edge):
    narrow = percentile_range(counts, edge, min(one, other))
    wide = percentile_range(counts, edge, max(one, other))
    assert -edge <= wide[0] <= narrow[0] < narrow[1] <= wide[1] <= edge


@given(COUNTS)
def test_percentile_100_keeps_every_occupied_bin(counts):
    low, high = percentile_range(counts, BINS / 2, 100)
    occupied = np.flatnonzero(counts)
    assert (low + BINS / 2, high + BINS / 2) == (occupied[0], occupied[-1] + 1)


def outlier_counts() -> np.ndarray:
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    return histogram(np.append(values, np.float32(100)), 100.0)


def test_percentile_and_entropy_clip_an_outlier():
    counts = outlier_counts()
    assert max(map(abs, percentile_range(counts, 100.0, 99.99))) < 6
    assert entropy_threshold(counts, 100.0) < 15


def reference_threshold(counts: np.ndarray, edge: float) -> float:
    """Migacz 2017, step by step: the last best of the candidates, of magnitudes in ``BINS / 2`` bins."""
    magnitudes = np.array([counts[BINS // 2 + i] + counts[BINS // 2 - 1 - i] for i in range(BINS // 2)], np.float64)
    best, best_size = float("inf"), len(magnitudes)
    for size in range(LEVELS, len(magnitudes) + 1, LEVELS // 16):
        p, q = magnitudes[:size].copy(), np.zeros(size)
        for level in range(LEVELS):
            bins = slice(-(-level * size // LEVELS), -(-(level + 1) * size // LEVELS))
            occupied = magnitudes[bins] > 0
            if occupied.any():
                q[bins] = np.where(occupied, magnitudes[bins].sum() / occupied.sum(), 0)
        if not q.any():
            continue
        p[-1] += magnitudes[size:].sum()
        p, q = (p + 1e-4) / (p + 1e-4).sum(), (q + 1e-4) / (q + 1e-4).sum()
        divergence = float(np.sum(p * np.log(p / q)))
        if divergence <= best:
            best, best_size = divergence, size
    return edge * best_size / len(magnitudes)


@pytest.mark.parametrize("shape", ["normal", "outlier", "exponential", "one_sided", "sparse"])
def test_entropy_is_the_papers(shape):
    generator = np.random.default_rng(1)
    values = {
        "normal": generator.standard_normal(20_000),
        "outlier": np.append(generator.standard_normal(20_000), 50),
        "exponential": generator.exponential(size=20_000) * generator.choice([-1, 1], 20_000),
        "one_sided": generator.exponential(size=20_000) + 1,
        "sparse": np.repeat(generator.standard_normal(5), 100),
    }[shape].astype(np.float32)
    edge = float(np.abs(values).max())
    counts = histogram(values, edge)
    assert entropy_threshold(counts, edge) == reference_threshold(counts, edge)


@settings(max_examples=50)
@given(COUNTS, st.floats(0.001, 1e6))
def test_the_entropy_threshold_lies_between_the_levels_and_the_edge(counts, edge):
    threshold = entropy_threshold(counts, edge)
    assert edge * LEVELS / (BINS // 2) <= threshold <= edge
    inside = round(threshold / edge * BINS / 2)
    assert counts[BINS // 2 - inside : BINS // 2 + inside].any()


@settings(max_examples=15)
@given(samples=SAMPLES)
def test_entropy_ranges_lie_within_the_data_and_the_threshold(model, samples):
    found = collect(model, samples, method="entropy")
    for name, values in tensors_of(samples).items():
        low, high = found[name]
        edge = float(np.abs(values).max())
        threshold = entropy_threshold(histogram(values, edge), edge)
        assert values.min() <= low <= high <= values.max()
        assert low >= -threshold or low == values.max()
        assert high <= threshold or high == values.min()


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(1, 200))
def test_parts_hold_every_tensor_once_within_the_bound(sizes, held):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "MAX_HELD", held)
        parts = list(ranges._parts(sizes))
    assert [index for part in parts for index in part] == list(range(len(sizes)))
    assert all(part and (len(part) == 1 or sum(sizes[i] for i in part) <= held) for part in parts)
    for part, following in pairwise(parts):
        assert sum(sizes[i] for i in (*part, following[0])) > held


PEAK = """
import resource, sys
import numpy as np, onnx
from pathlib import Path
from onnx import TensorProto, helper
from quantbench.quantize.calibration import ranges
from quantbench.schema.settings import Calibration

LAYERS, LENGTH = 80, 500_000
ranges.MAX_HELD = 2 * LENGTH
nodes = [helper.make_node("Mul", [f"t{i}", "c"], [f"t{i + 1}"]) for i in range(LAYERS)]
graph = helper.make_graph(
    nodes,
    "chain",
    [helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["batch", "length"])],
    [helper.make_tensor_value_info(f"t{LAYERS}", TensorProto.FLOAT, None)],
    [helper.make_tensor("c", TensorProto.FLOAT, [], [1.01])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
path = Path(sys.argv[1])
onnx.save(onnx.shape_inference.infer_shapes(model), path)

def collect(method, samples, length):
    data = np.ones((1, length), np.float32)
    ranges.Collector(path, samples, lambda i: {"t0": data}, 1).collect(Calibration(method=method))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

before = collect("percentile", 1, 10)
for method, samples in (("minmax", 2), ("percentile", 2), ("percentile", 4)):
    print(collect(method, samples, LENGTH) - before)
"""


def test_memory_grows_neither_with_samples_nor_with_tensors(tmp_path):
    run = [sys.executable, "-c", PEAK, str(tmp_path / "chain.onnx")]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    minmax, few, many = map(float, lines)
    held_at_once = 80 * 500_000 * 4 / 1e6
    assert minmax < held_at_once / 4
    assert few < held_at_once / 4
    assert many - few < 10
