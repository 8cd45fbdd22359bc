"""Which neurons stay, and how what stays makes up for the others."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.quantize.pruning import repair, scores
from quantbench.quantize.pruning.choose import MULTIPLE, staying


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    share=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_the_share_is_taken_to_within_the_rounding_of_layers(sizes, share, seed):
    found = {f"layer{number}": drawn([seed, number], MULTIPLE * size) ** 2 for number, size in enumerate(sizes)}
    stay = staying(found, dict.fromkeys(found, 8.0), share, MULTIPLE)
    left, whole = sum(map(len, stay.values())), sum(map(len, found.values()))
    assert abs(left - (1 - share) * whole) <= MULTIPLE * len(sizes)
    for name, numbers in stay.items():
        assert len(numbers) % MULTIPLE == 0
        assert len(numbers) >= MULTIPLE
        assert list(numbers) == sorted(set(numbers.tolist()))
        others = np.delete(found[name], numbers)
        assert not len(others) or others.max() <= found[name][numbers].min(), "the best stay"


def test_the_layer_that_is_worth_least_for_its_cost_gives_first():
    found = {"cheap": np.full(4 * MULTIPLE, 1.0), "dear": np.full(4 * MULTIPLE, 1.0)}
    stay = staying(found, {"cheap": 1.0, "dear": 4.0}, 0.4, MULTIPLE)
    assert {name: len(numbers) // MULTIPLE for name, numbers in stay.items()} == {"cheap": 4, "dear": 2}


def test_a_layer_of_another_width_is_never_made_wider():
    assert len(staying({"odd": np.ones(40)}, {"odd": 1.0}, 0.0, MULTIPLE)["odd"]) in (32, 40)


def halves_of(inner):
    return inner[::2].T @ inner[::2], inner[1::2].T @ inner[1::2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", repair.RIDGES)
def test_fitted_weights_are_those_of_least_squares(monkeypatch, seed, share):
    """Held against numpy's least squares of the stacked system."""
    monkeypatch.setattr(repair, "RIDGES", (share,))
    inner, weights = drawn(seed, 400, 12), drawn(seed + 50, 12, 5)
    inner[:, 1::2] += 2 * inner[:, ::2]  # what is taken goes together with what stays
    stay = np.arange(0, 12, 2)
    ridge = share * (inner[:, stay] ** 2).sum() / len(stay)
    system = np.vstack([inner[:, stay], np.sqrt(ridge) * np.eye(len(stay))])
    wanted = np.vstack([inner @ weights, np.sqrt(ridge) * weights[stay]])
    expected = np.linalg.lstsq(system, wanted, rcond=None)[0]
    found = repair.fitted(halves_of(inner), weights, stay)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    before = np.linalg.norm(inner[:, stay] @ weights[stay] - inner @ weights)
    assert np.linalg.norm(inner[:, stay] @ found - inner @ weights) < before


def test_what_is_missed_is_the_squared_distance():
    inner, weights, stay = drawn(1, 30, 8), drawn(2, 8, 3), np.array([1, 4, 5])
    other = drawn(3, 3, 3)
    expected = np.square(inner[:, stay] @ other - inner @ weights).sum()
    assert repair.missed(inner.T @ inner, weights, stay, other) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [6, 20, 60, 2000])
def test_few_samples_make_nothing_worse_where_they_say_nothing(rows):
    """Values that have nothing to do with each other cannot make up for each other, whatever chance says of a few rows."""
    inner, weights, stay = drawn(rows, rows, 40), drawn(9, 40, 5), np.arange(20)
    found = repair.fitted(halves_of(inner), weights, stay)
    fresh = drawn(7, 20_000, 40)
    before, after = (repair.missed(fresh.T @ fresh, weights, stay, one) for one in (weights[stay], found))
    assert after < 1.1 * before


def test_a_position_of_massive_activations_counts_as_any_other():
    inner, weights, stay = drawn(11, 300, 12), drawn(12, 12, 5), np.arange(0, 12, 2)
    inner[:, 1::2] += 2 * inner[:, ::2]
    inner[7] = 1e4 * drawn(13, 12)
    scaled = repair.alike(inner, weights)
    found = repair.fitted(halves_of(scaled), weights, stay)
    others = np.delete(inner, 7, axis=0)
    before, after = (repair.missed(others.T @ others, weights, stay, one) for one in (weights[stay], found))
    assert after < 0.5 * before
    assert repair.alike(np.zeros((3, 12)), weights).tolist() == np.zeros((3, 12)).tolist()


def test_neurons_that_never_say_anything_change_nothing():
    weights = drawn(1, 6, 3)
    np.testing.assert_array_equal(
        repair.fitted((np.zeros((6, 6)), np.zeros((6, 6))), weights, np.array([1, 3])), weights[[1, 3]]
    )


class Layer(torch.nn.Module):
    """A feed-forward layer and a head, as a transformers module answers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down, self.head = torch.nn.Linear(4, 6), torch.nn.Linear(6, 4), torch.nn.Linear(4, 3)

    def forward(self, x, attention_mask=None):
        return {"logits": self.head(x + self.down(torch.tanh(self.up(x))))}


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
def test_scores_are_squared_derivatives_by_a_mask_sentence_by_sentence(likelihood):
    """Held against derivatives by a mask that is really there, one sentence after another."""
    model = Layer()
    inputs = torch.from_numpy(drawn(2, 5, 7, 4).astype(np.float32))
    matrices = {"layer": scores.Read(model.down.weight.T.detach().numpy())}
    batches = [{"x": inputs.numpy()[index : index + 1]} for index in range(5)]
    found = scores.fisher(model, matrices, batches, ("logits",), likelihood, lambda _: None, seed=3)

    generator, expected = torch.Generator().manual_seed(3), torch.zeros(6, dtype=torch.float64)
    for sentence in inputs[:, None]:
        mask = torch.ones(6, requires_grad=True)
        logits = model.head(sentence + model.down(torch.tanh(model.up(sentence)) * mask))
        loss = scores.drawn_loss(likelihood, [logits], None, generator)
        expected += torch.autograd.grad(loss, mask)[0].double() ** 2
    np.testing.assert_allclose(found["layer"], expected.numpy() / 2 / 5, rtol=1e-4)


def test_a_batch_is_scored_sentence_by_sentence():
    model = Layer()
    inputs = drawn(4, 3, 7, 4).astype(np.float32)
    matrices = {"layer": scores.Read(model.down.weight.T.detach().numpy())}

    def found(batches):
        return scores.fisher(model, matrices, batches, ("logits",), "bernoulli", lambda _: None)["layer"]

    alone = found([{"x": inputs[index : index + 1]} for index in range(3)])
    np.testing.assert_allclose(found([{"x": inputs}]), alone, rtol=1e-4)


def test_a_head_is_worth_what_all_of_its_values_are_together():
    model = Layer()
    inputs = torch.from_numpy(drawn(5, 2, 7, 4).astype(np.float32))
    read = {"layer": scores.Read(model.down.weight.T.detach().numpy(), size=3)}
    found = scores.fisher(model, read, [{"x": inputs.numpy()}], ("logits",), "gaussian", lambda _: None, seed=1)

    generator, expected = torch.Generator().manual_seed(1), torch.zeros(2, dtype=torch.float64)
    masks = torch.ones(2, 1, 2, requires_grad=True)
    logits = model.head(inputs + model.down(torch.tanh(model.up(inputs)) * masks.repeat_interleave(3, dim=-1)))
    loss = scores.drawn_loss("gaussian", [logits], None, generator)
    expected = (torch.autograd.grad(loss, masks)[0].double() ** 2).sum(dim=(0, 1))
    np.testing.assert_allclose(found["layer"], expected.numpy() / 2 / 2, rtol=1e-4)


def test_layers_that_the_model_does_not_hold_have_no_scores():
    assert not scores.fisher(
        Layer(), {"other": scores.Read(np.ones((6, 4)))}, [], ("logits",), "gaussian", lambda _: None
    )
