"""Whether padding moves what a model says of a text."""

import numpy as np
import pytest

from quantbench.pipeline.heeding import Padding, moved

COSTS = (3, 5, 2)
WIDTH = 20


def texts(left):
    """Batches of ids and masks; ids of padding are 9."""
    rows = [np.random.default_rng(cost).integers(1, 8, cost) for cost in COSTS]

    def collate(chosen, width):
        ids, mask = np.full((len(chosen), width), 9), np.zeros((len(chosen), width), dtype=int)
        for place, row in enumerate(chosen):
            at = slice(width - len(row), width) if left else slice(len(row))
            ids[place, at], mask[place, at] = row, 1
        return {"input_ids": ids, "attention_mask": mask}

    return Padding([collate([row], len(row)) for row in rows], collate(rows, WIDTH), COSTS, WIDTH, left)


def states(batch, heeds):
    """Of every token its own number and the mean of all, padding left out or not; a vector and states of tokens."""
    ids, mask = batch["input_ids"], batch["attention_mask"] if heeds else np.ones_like(batch["attention_mask"])
    mean = (ids * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
    return [np.stack([ids, np.broadcast_to(mean, ids.shape)], axis=2), mean]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("long", [(True,), (True, False)])
def test_padding_moves_only_what_does_not_heed_it(left, long):
    assert moved(lambda batch: states(batch, heeds=True), texts(left), long) < 1e-12
    assert moved(lambda batch: states(batch, heeds=False), texts(left), long) > 0.5


def test_what_is_no_number_is_no_number():
    assert np.isnan(moved(lambda batch: [np.full(batch["input_ids"].shape, np.nan)], texts(left=False), (True,)))
