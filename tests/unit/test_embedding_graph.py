"""The modules behind a transformer as nodes of a graph give what they give in NumPy, on padding of both sides.

That those in NumPy give what sentence-transformers gives is held in ``tests/integration/test_sentence_transformers.py``.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from quantbench.graph import edit
from quantbench.graph.embedding import PROMPT as PROMPT_LENGTH
from quantbench.graph.embedding import with_embedding
from quantbench.graph.fingerprint import computation_hash
from quantbench.served.modules import ACTIVATIONS, MODES, SENTENCE, TOKENS, Head

WIDTH, WIDER = 16, 40
LENGTHS = (5, 9, 4, 12)
PROMPT = 3
NORMALIZE = {"kind": "Normalize", "reads": SENTENCE, "writes": SENTENCE}


def pooling(*modes, include_prompt=True):
    step = {"kind": "Pooling", "reads": TOKENS, "writes": SENTENCE}
    return {**step, "modes": list(modes), "include_prompt": include_prompt}


def dense(given, made, activation="Tanh", residual=False, bias=True, at=SENTENCE):
    """A step and its weights."""
    generator = np.random.default_rng(given + made)
    shapes = {"linear.weight": (made, given), **({"linear.bias": (made,)} if bias else {})}
    shapes |= {"residual.weight": (made, given)} if residual and given != made else {}
    name = f"{given}-{made}"
    weights = {key: generator.normal(size=shape).astype(np.float32) / 4 for key, shape in shapes.items()}
    step = {"kind": "Dense", "reads": at, "writes": at, "activation": activation, "residual": residual, "weights": name}
    return step, {name: weights}


def layer_norm(size):
    generator = np.random.default_rng(size)
    weights = {name: generator.normal(size=size).astype(np.float32) for name in ("norm.weight", "norm.bias")}
    return {"kind": "LayerNorm", "reads": SENTENCE, "writes": SENTENCE, "weights": "norm"}, {"norm": weights}


CASES = {
    **{mode: [pooling(mode)] for mode in MODES},
    **{f"{mode} without the prompt": [pooling(mode, include_prompt=False)] for mode in MODES},
    "all": [pooling(*MODES), NORMALIZE],
    **{name: [pooling("mean"), dense(WIDTH, WIDER, name)] for name in ACTIVATIONS},
    "several Dense": [
        pooling("mean", "max", include_prompt=False),
        dense(2 * WIDTH, 2 * WIDTH, "GELU", residual=True),
        dense(2 * WIDTH, 8, "Identity", residual=True, bias=False),
        NORMALIZE,
    ],
    "tokens": [dense(WIDTH, 8, at=TOKENS), {**NORMALIZE, "reads": TOKENS, "writes": TOKENS}, pooling("weightedmean")],
    "LayerNorm": [pooling("cls"), layer_norm(WIDTH)],
}


def passing_on(opset):
    """A graph whose states are its input."""
    states = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "t", WIDTH])
        for name in ("in", "last_hidden_state")
    ]
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["b", "t"])
    node = helper.make_node("Identity", ["in"], ["last_hidden_state"])
    graph = helper.make_graph([node], "g", [states[0], mask], [states[1]])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
@pytest.mark.parametrize("name", CASES)
def test_the_graph_gives_what_the_modules_give(name, opset):
    entries = [entry if isinstance(entry, tuple) else (entry, {}) for entry in CASES[name]]
    steps = [step for step, _ in entries]
    weights = {key: value for _, own in entries for key, value in own.items()}
    model = with_embedding(passing_on(opset), steps, weights, PROMPT)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_outputs()] == ["sentence_embedding", "last_hidden_state"]
    states = np.random.default_rng(0).normal(size=(len(LENGTHS), max(LENGTHS), WIDTH)).astype(np.float32)
    counted = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    head = Head(steps, weights)
    for mask in (counted, counted[:, ::-1]):
        given = {"in": states, "attention_mask": mask.astype(np.int64)}
        found, _ = session.run(None, given)
        right = np.stack([head.embedding(row[there], PROMPT) for row, there in zip(states, mask, strict=True)])
        np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-6)


def test_the_length_of_another_prompt_can_be_given():
    steps = [pooling(*MODES, include_prompt=False), NORMALIZE]
    model = with_embedding(passing_on(17), steps, {}, PROMPT)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    states = np.random.default_rng(0).normal(size=(2, 9, WIDTH)).astype(np.float32)
    given = {"in": states, "attention_mask": np.ones((2, 9), dtype=np.int64)}
    assert [item.name for item in session.get_inputs()] == list(given), "nobody needs to know of it"
    for prompt in (0, 1, 4):
        found, _ = session.run(None, {**given, PROMPT_LENGTH: np.array(prompt)})
        right = np.stack([Head(steps, {}).embedding(row, prompt) for row in states])
        np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-6)


def test_the_nodes_that_were_there_stay_as_they_are():
    before = passing_on(17)
    after = with_embedding(before, [pooling("mean")], {})
    assert list(after.graph.node)[: len(before.graph.node)] == list(before.graph.node)
    assert computation_hash(edit.with_outputs(after, ["last_hidden_state"])) == computation_hash(before)


def test_a_model_without_a_mask_is_refused():
    with pytest.raises(ValueError, match="no input 'mask'"):
        with_embedding(passing_on(17), [pooling("mean")], {}, mask="mask")
