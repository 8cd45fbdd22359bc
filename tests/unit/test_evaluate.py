"""Batches hold every example once, under the budget; predictions come back in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.pipeline.predict import batches, groups, predict, scored_batch_size
from quantbench.schema.settings import Settings

lengths_strategy = st.lists(st.integers(1, 300), max_size=60)


@given(lengths_strategy, st.integers(1, 1000))
def test_every_example_is_in_one_batch_under_the_budget(lengths, budget):
    groups = batches(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= budget


@given(lengths_strategy)
def test_a_budget_of_one_token_gives_single_examples(lengths):
    assert all(len(group) == 1 for group in batches(lengths, 1))


class EchoSession:
    """Gives back the sum of each row's tokens, and remembers the batches it saw."""

    def __init__(self):
        self.shapes = []

    def predict(self, inputs):
        self.shapes.append(inputs["input_ids"].shape)
        return [inputs["input_ids"].sum(axis=1)]


class EchoTask:
    @staticmethod
    def decode(outputs, row, examples, index):
        return (int(outputs[0][row]), index)


class EchoExamples:
    def __init__(self, inputs):
        self.inputs = inputs
        self.costs = [len(row["input_ids"]) for row in inputs]


class ZeroPadding:
    @staticmethod
    def collate(inputs):
        width = max(len(row["input_ids"]) for row in inputs)
        return {"input_ids": np.array([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in inputs])}


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=20), min_size=1, max_size=30),
    st.none() | st.integers(1, 40),
)
def test_predictions_come_back_in_the_order_of_the_examples(rows, batch_size):
    told = []
    examples = EchoExamples([{"input_ids": row} for row in rows])
    found = predict(EchoSession(), EchoTask, examples, ZeroPadding, told.append, batch_size)
    assert found == [(sum(row), index) for index, row in enumerate(rows)]
    assert sum(told) == len(rows)


def test_padding_is_not_seen_as_a_token():
    session = EchoSession()
    examples = EchoExamples([{"input_ids": [1, 1]}, {"input_ids": [2, 2, 2]}])
    assert predict(session, EchoTask, examples, ZeroPadding, lambda n: None) == [(2, 0), (6, 1)]
    assert session.shapes == [(2, 3)]


@given(lengths_strategy, st.integers(1, 70))
def test_batches_of_a_size_hold_consecutive_examples(lengths, size):
    found = groups(lengths, size)
    assert [index for group in found for index in group] == list(range(len(lengths)))
    assert all(len(group) == size for group in found[:-1])


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"quantization_approach": "dynamic", "batch_sizes": (8, 2)}, 2),
        ({"quantization_approach": "dynamic", "batch_sizes": ()}, 1),
        ({"quantization_approach": "static"}, None),
        ({"quantization_approach": "none"}, None),
        ({"quantization_approach": "mixed", "placement": {"default": "dynamic"}}, 4),
        ({"quantization_approach": "mixed", "placement": {"default": "static", "matmuls": {"*": "dynamic"}}}, 4),
        ({"quantization_approach": "mixed", "placement": {"default": "static"}}, None),
    ],
)
def test_models_whose_answers_depend_on_their_batch_are_scored_at_a_size_that_is_timed(parameters, size):
    settings = Settings(task="token-classification", model_name_or_path="m", dataset={"path": "d"}, **parameters)
    assert scored_batch_size(settings) == size
