"""How many runs are timed together: as many as fit with all of their processes."""

from types import SimpleNamespace

from quantbench.pipeline.prepared import fitting, too_large
from quantbench.pipeline.room import PROCESS_BYTES
from quantbench.schema.results import ArmSpec

MEGABYTE = 10**6
EXPORT, INT8 = 400 * MEGABYTE, 100 * MEGABYTE
SHARED = 3 * (PROCESS_BYTES + 2 * EXPORT)
"""The original, the original again, and the float export."""
OWN = PROCESS_BYTES + 2 * INT8


def prepared(number):
    """A run that shares the original and the float export with the others."""
    return SimpleNamespace(
        arms={
            "pytorch": ArmSpec(runtime="pytorch", path="", sha256="the original"),
            "onnx-float": ArmSpec(runtime="onnxruntime", path="", sha256="the export"),
            "optimized": ArmSpec(runtime="onnxruntime", path="", sha256=f"int8 {number}"),
        },
        artifact=SimpleNamespace(bytes=INT8),
        float_artifact={"bytes": EXPORT},
    )


def sizes(runs, memory):
    return [len(together) for together in fitting(runs, memory)]


def test_the_original_its_twin_and_the_export_count_once_and_every_optimized_model_for_itself():
    runs = [prepared(number) for number in range(5)]
    assert sizes(runs, 2 * (SHARED + 5 * OWN)) == [5]
    assert sizes(runs, 2 * (SHARED + 5 * OWN) - 2) == [4, 1]
    assert sizes(runs, 2 * (SHARED + 2 * OWN)) == [2, 2, 1]


def test_a_run_that_cannot_fit_even_alone_has_its_reason():
    """Three processes hold the float model, one the int8 model, each at least once."""
    least = 3 * (PROCESS_BYTES + EXPORT) + PROCESS_BYTES + INT8
    assert too_large(prepared(0), least) is None
    assert too_large(prepared(0), least - 1).startswith("timing needs at least 2.3 GiB of memory for 4 processes")


def test_a_run_that_does_not_fit_is_timed_alone():
    assert sizes([prepared(number) for number in range(3)], 1) == [1, 1, 1]
