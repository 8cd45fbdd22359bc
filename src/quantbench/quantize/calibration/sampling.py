"""Which examples of the calibration split set the ranges."""

from __future__ import annotations

import numpy as np

from quantbench.schema.settings import Calibration


def choose(available: int, calibration: Calibration) -> list[int]:
    """Indices of the calibration examples, ascending.

    ``first``: the first ones. ``random``: drawn without replacement with ``seed``. ``strided``: the last example of
    every ``stride``; ``stride: 4`` with 25 samples takes 3, 7, …, 99, which are the examples that really set the
    ranges in the reference system when it was asked for 100. Without a stride they spread over the whole split.

    Returns:
        ``num_calibration_samples`` indices, or all where the split has fewer.

    Raises:
        ValueError: if the split is too short for the stride.

    """
    wanted = min(calibration.num_calibration_samples, available)
    if calibration.sampling == "first":
        return list(range(wanted))
    if calibration.sampling == "random":
        generator = np.random.default_rng(calibration.seed)
        return sorted(int(index) for index in generator.choice(available, size=wanted, replace=False))
    stride = calibration.stride or available // wanted
    if wanted * stride > available:
        raise ValueError(
            f"{wanted} calibration samples with stride {stride} need {wanted * stride} examples, "
            f"the split has {available}"
        )
    return list(range(stride - 1, wanted * stride, stride))
