"""How a task's inputs and outputs are found in a file: rules on names, types and shapes, and what is tried."""

import numpy as np
import pytest

from quantbench.errors import ArmFailed
from quantbench.pipeline.wiring import Facts, Unfit, Wanted, wire
from quantbench.plugins.signature import KEY, Signature, Tensor
from quantbench.runtimes._wired import Wired, feeds, wired

IDS = np.array([[5, 6, 7, 8], [9, 10, 0, 0]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
BATCH = {"input_ids": IDS, "attention_mask": MASK}


def compute(ids, mask):
    """Logits of shape (batch, 3) that heed both."""
    weighted = (ids * mask).astype(np.float64)
    return np.stack([weighted.sum(1), (weighted**2).sum(1), mask.sum(1)], axis=1).astype(np.float32)


LOGITS = Wanted("logits", compute(IDS, MASK), long=False)


def taking(*names, kind="int64", shape=(None, None)):
    return tuple(Tensor(name=name, type=kind, shape=shape) for name in names)


def signature(inputs=("input_ids", "attention_mask"), outputs=("logits",), **about):
    return Signature(inputs=taking(*inputs, **about), outputs=taking(*outputs, kind="float32"))


class File:
    """A file whose inputs, in this order, are ids and mask."""

    def __init__(self, ids, mask, outputs=lambda logits: [logits], shape=None):
        self.ids, self.mask, self.outputs, self.shape, self.fed = ids, mask, outputs, shape, []

    def predict(self, feed):
        self.fed.append(feed)
        if self.shape and feed[self.ids].shape != self.shape:
            raise ArmFailed(f"wrong shape {feed[self.ids].shape}")
        return self.outputs(compute(feed[self.ids], feed[self.mask]))

    def prepare(self, feed):
        return lambda: self.predict(feed)


@pytest.mark.parametrize(
    "names",
    [
        ("input_ids", "attention_mask"),
        ("serving_default_input_ids:0", "serving_default_attention_mask:0"),
        ("ids", "input_mask"),
        ("input.1", "input.2"),
        ("x", "attention_mask"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_inputs_are_found_by_name_or_by_what_comes_nearest(names, turned):
    given = names[::-1] if turned else names
    file = File(*names)
    found = wire(signature(given), BATCH, [[LOGITS]], Facts(), file.predict)
    assert {item.name: item.source for item in found.inputs} == dict(zip(names, BATCH, strict=True))
    assert found.outputs == (0,)


def test_types_are_cast_and_outputs_are_float32():
    file = File("input_ids", "attention_mask", lambda logits: [logits.astype(np.float16)])
    found = wire(signature(kind="int32"), BATCH, [[LOGITS]], Facts(), file.predict)
    (made,) = Wired(file, found).predict(BATCH)
    assert {array.dtype for feed in file.fed for array in feed.values()} == {np.dtype("int32")}
    assert made.dtype == np.float32


@pytest.mark.parametrize("left", [False, True])
def test_a_fixed_shape_is_filled_up_and_cut_off_again(left):
    def states(logits):
        return [np.repeat(np.arange(6, dtype=np.float32)[None, :, None], len(logits), axis=0)]

    file = File("input_ids", "attention_mask", states, shape=(3, 6))
    expected = (np.arange(2, 6) if left else np.arange(4)).astype(np.float32)
    wanted = Wanted("states", np.repeat(expected[None, :, None], 2, axis=0), long=True)
    inputs = signature(outputs=("states",), shape=(3, 6))
    found = wire(inputs, BATCH, [[wanted]], Facts(padding_id=77, left=left), file.predict)
    (made,) = Wired(file, found).predict(BATCH)
    np.testing.assert_array_equal(made, wanted.values)
    fed = file.fed[-1]
    new = slice(0, 2) if left else slice(4, 6)
    assert (fed["input_ids"][:, new] == 77).all() and (fed["attention_mask"][:, new] == 0).all()
    np.testing.assert_array_equal(fed["input_ids"][2], fed["input_ids"][1])  # the last row once more
    with pytest.raises(ValueError, match="takes 6 tokens, a row has 8"):
        feeds({name: np.ones((1, 8), dtype=int) for name in BATCH}, found)


def test_a_batch_is_cut_where_a_file_takes_single_rows():
    file = File("input_ids", "attention_mask", shape=(1, 4))
    found = wire(signature(shape=(1, None)), BATCH, [[LOGITS]], Facts(), file.predict)
    np.testing.assert_array_equal(Wired(file, found).predict(BATCH)[0], LOGITS.values)
    file.fed.clear()
    Wired(file, found).prepare(BATCH)()
    assert [feed["input_ids"].shape for feed in file.fed] == [(1, 4), (1, 4)]


@pytest.mark.parametrize(("first", "expected"), [(0, [[0, 1, 2, 3], [0, 1, 2, 3]]), (2, [[2, 3, 4, 5], [2, 3, 1, 1]])])
def test_inputs_that_the_tokenizer_does_not_give_are_made(first, expected):
    file = File("input_ids", "attention_mask")
    names = ("input_ids", "attention_mask", "position_ids", "token_type_ids")
    found = wire(signature(names), BATCH, [[LOGITS]], Facts(first_position=first), file.predict)
    (fed,) = feeds(BATCH, found)
    assert fed["position_ids"].tolist() == expected
    assert not fed["token_type_ids"].any()
    alone = {"input_ids": IDS}
    assert feeds(alone, found)[0]["attention_mask"].all()


def test_outputs_are_found_by_name_then_by_shape_then_by_what_comes_nearest():
    starts, ends = compute(IDS, MASK), compute(IDS[::-1], MASK)
    wanted = [Wanted("start_logits", starts, long=False), Wanted("end_logits", ends, long=False)]
    file = File("input_ids", "attention_mask", lambda _: [np.zeros(3, dtype=np.float32), ends, starts])
    by_name = signature(outputs=("loss", "end_logits", "start_logits"))
    assert wire(by_name, BATCH, [wanted], Facts(), file.predict).outputs == (2, 1)
    unnamed = signature(outputs=("a", "b", "c"))
    assert wire(unnamed, BATCH, [wanted], Facts(), file.predict).outputs == (2, 1)
    half = signature(outputs=("a", "end_logits", "c"))
    assert wire(half, BATCH, [wanted], Facts(), file.predict).outputs == (2, 1)


def test_an_embedding_is_preferred_by_name_and_states_by_shape():
    vectors, states = np.ones((2, 8), dtype=np.float32), np.ones((2, 4, 8), dtype=np.float32)
    alternatives = [[Wanted("sentence_embedding", vectors, False)], [Wanted("last_hidden_state", states, True)]]
    file = File("input_ids", "attention_mask", lambda _: [states, vectors])
    for names, place in (
        (("last_hidden_state", "sentence_embedding"), 1),
        (("last_hidden_state", "pooler_output"), 0),
        (("a", "b"), 0),
    ):
        assert wire(signature(outputs=names), BATCH, alternatives, Facts(), file.predict).outputs == (place,)
    only = File("input_ids", "attention_mask", lambda _: [vectors])
    assert wire(signature(outputs=("a",)), BATCH, alternatives, Facts(), only.predict).long == (False,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (signature(("input_ids", "attention_mask", "text")), "takes text, which is no input of this task"),
        (signature(("attention_mask",)), "takes no input_ids: its inputs are attention_mask"),
        (signature(kind="string"), "takes input_ids as string"),
        (signature(("input_ids", "past_key_values.0.key")), "no encoder alone"),
        (signature(shape=(None, 1, None)), "with 3 axes, the task's inputs have 2"),
        (
            Signature(inputs=(*taking("input_ids", shape=(1, 8)), *taking("attention_mask", shape=(1, 9)))),
            "unlike numbers of tokens: 8, 9",
        ),
        (signature(shape=(None, 3)), "the file takes 3 tokens, a row has 4"),
        (signature(outputs=("values",), shape=None), r"gives values \[2 × 2\], and logits \[2 × 3\] is wanted"),
        (signature(shape=None), r"gives logits \[2 × 2\], the original \[2 × 3\]: it is no form of this model"),
    ],
)
def test_what_does_not_fit_is_said(given, message):
    file = File("input_ids", "attention_mask", lambda logits: [logits[:, :2]])
    with pytest.raises(Unfit, match=message):
        wire(given, BATCH, [[LOGITS]], Facts(), file.predict)


def test_a_file_that_fails_on_every_input_is_said_with_its_own_words():
    file = File("input_ids", "attention_mask", shape=(9, 9))
    with pytest.raises(Unfit, match=r"cannot be run: wrong shape \(2, 4\)"):
        wire(signature(), BATCH, [[LOGITS]], Facts(), file.predict)


def test_a_session_without_a_wiring_stays_itself():
    file = File("input_ids", "attention_mask")
    assert wired(file, {"optimization_level": 99}) is file
    found = wire(signature(), BATCH, [[LOGITS]], Facts(), file.predict)
    assert isinstance(wired(file, {KEY: found.model_dump(mode="json")}), Wired)
