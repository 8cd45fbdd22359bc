"""An export held against PyTorch: which examples, what counts as rounding, and what is said of more."""

import numpy as np
import pytest
import torch

from quantbench.pipeline.agreement import difference, probes

OUTPUTS = {"logits": {0: "batch_size"}}
COSTS = [3, 9, 20, 5, 14, 7, 11]


class Summing(torch.nn.Module):
    """Two outputs per row from the sum of its real values; ``frozen`` changes long inputs, ``leaky`` padded ones."""

    def __init__(self, frozen=False, leaky=False):
        super().__init__()
        self.frozen, self.leaky = frozen, leaky

    def forward(self, values, mask):
        total = (values * mask).sum(1) + (values.shape[1] if self.leaky else 0)
        if self.frozen and values.shape[1] > 16:
            total = total * 2
        return {"logits": torch.stack([total, -total / 3], dim=1).float()}


def collate(group):
    width = max(COSTS[index] for index in group)
    values = np.zeros((len(group), width), dtype=np.int64)
    for row, index in enumerate(group):
        values[row, : COSTS[index]] = np.arange(COSTS[index]) + index
    mask = np.array([[int(place < COSTS[index]) for place in range(width)] for index in group])
    return {"values": values, "mask": mask}


def compared(exported, original):
    def run(inputs):
        return [exported(**{name: torch.from_numpy(array) for name, array in inputs.items()})["logits"].numpy()]

    return difference(probes(COSTS, collate), run, {"default": lambda: original}, OUTPUTS, "tokens")


def test_the_longest_comes_first_and_padded_batches_are_among_them():
    found = probes(COSTS, collate)
    assert found[0].width == max(COSTS)
    assert [probe.width for probe in found] == sorted((probe.width for probe in found), reverse=True)
    assert {probe.lengths for probe in found} >= {(20,), (3,), (3, 20)}
    assert [probe.lengths for probe in probes([4], lambda group: {})] == [(4,)]


def test_equal_models_agree():
    assert compared(Summing(), Summing()) is None


def test_what_changes_with_the_length_is_found_and_named():
    said = compared(Summing(), Summing(frozen=True))
    assert "differs from PyTorch by" in said and "at 20 tokens" in said and "froze" in said


def test_padding_counts_only_where_pytorch_itself_is_independent_of_it():
    assert compared(Summing(leaky=True), Summing(leaky=True)) is None
    assert "at 20 tokens" in compared(Summing(leaky=True), Summing())

    class LeakyWhenPadded(Summing):
        def forward(self, values, mask):
            self.leaky = bool((mask == 0).any())
            return super().forward(values, mask)

    assert "in a batch of 2 padded to 20 tokens" in compared(LeakyWhenPadded(), Summing())
    assert compared(Summing(), LeakyWhenPadded()) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_a_difference(value):
    class Broken(Summing):
        def forward(self, values, mask):
            return {"logits": super().forward(values, mask)["logits"] * value}

    assert "differs from PyTorch by inf" in compared(Broken(), Summing())


def test_an_export_that_cannot_be_run_says_at_which_length():
    class Stuck(Summing):
        def forward(self, values, mask):
            raise ValueError("ScatterND: invalid shapes\nand a page of text")

    assert "cannot be run at 20 tokens: ScatterND: invalid shapes; " in compared(Stuck(), Summing())
