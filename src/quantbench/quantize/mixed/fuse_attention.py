"""Attention as one node: the many nodes of an export, replaced by the operator that ONNX Runtime has for it.

``softmax(q k^T * scale + mask) v`` over heads becomes ``MultiHeadAttention`` (ONNX Runtime's operators, domain
com.microsoft, version 1), which splits and joins the heads itself; with them go the nodes that compute their shapes.
The products inside stay in float: int8 products of two computed tensors have no fast kernel. A mask that only hides
padded keys is given as that, which saves computing it at its full size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import NodeProto, helper

from quantbench.graph.edit import remove_unread, set_nodes
from quantbench.graph.view import Graph
from quantbench.quantize.mixed.key_padding import INPUT, is_key_padding

DOMAIN = "com.microsoft"
KEEP = "attention_mask/keep"
HEADS_OUT = [0, 2, 1, 3]
HEADS_OUT_TRANSPOSED = [0, 2, 3, 1]


@dataclass(frozen=True)
class Attention:
    """The parts of one attention: tensors of shape (batch, tokens, width), and the nodes that they meet in."""

    query: str
    key: str
    value: str
    mask: str | None
    scale: float
    head_size: int
    last: NodeProto


def fuse(model: onnx.ModelProto) -> int:
    """Replace every attention that is recognized, in place; how many there were.

    Attentions with anything else between their parts, such as relative positions added per head, are left as they are
    unless it is a term of the mask.
    """
    graph = Graph(model)
    found = [attention for node in graph.of_type("Softmax") if (attention := _recognize(graph, node)) is not None]
    nodes = {id(attention.last): attention for attention in found}
    heads = {id(attention.last): _heads(graph, attention) for attention in found}
    masks = {attention.mask for attention in found if attention.mask is not None}
    padding = {mask for mask in sorted(masks) if is_key_padding(model, mask)}
    rewritten = []
    if padding:
        rewritten.append(helper.make_node("Cast", [INPUT], [KEEP], name=KEEP, to=onnx.TensorProto.INT32))
    for node in graph.nodes:
        count = heads.get(id(node))
        rewritten.append(node if count is None else _node(nodes[id(node)], count, padding))
    set_nodes(model, rewritten)
    done = sum(count is not None for count in heads.values())
    use_own_operators(model)
    remove_unread(model)
    return done


def use_own_operators(model: onnx.ModelProto) -> None:
    """Say in a model that it uses ONNX Runtime's own operators, if it does."""
    used = {node.domain for node in model.graph.node}
    if DOMAIN in used and DOMAIN not in {item.domain for item in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def _node(attention: Attention, heads: int, padding: set[str]) -> NodeProto:
    inputs = [attention.query, attention.key, attention.value]
    if attention.mask in padding:
        inputs += ["", KEEP]
    elif attention.mask is not None:
        inputs += ["", "", attention.mask]
    return helper.make_node(
        "MultiHeadAttention",
        inputs,
        list(attention.last.output),
        name=f"{attention.last.name}/attention",
        domain=DOMAIN,
        num_heads=heads,
        scale=attention.scale,
    )


def _heads(graph: Graph, attention: Attention) -> int | None:
    """Number of heads, from the width of the queries' projection."""
    node = graph.producer(attention.query)
    for name in node.input if node is not None else ():
        array = graph.array(name)
        if array is not None and array.ndim in (1, 2) and array.shape[-1] % attention.head_size == 0:
            return int(array.shape[-1] // attention.head_size)
    return None


def _recognize(graph: Graph, softmax: NodeProto) -> Attention | None:
    scores, mask = _masked(graph, softmax.input[0])
    product, scale = _unscaled(graph, scores)
    joined = _only_reader(graph, softmax, "MatMul")
    if product is None or joined is None or joined.input[0] != softmax.output[0]:
        return None
    query, query_scale = _unscaled(graph, product.input[0], "Transpose")
    key, key_scale = _unscaled(graph, product.input[1], "Transpose")
    value = graph.producer(joined.input[1])
    back = _only_reader(graph, joined, "Transpose")
    last = _only_reader(graph, back, "Reshape") if back is not None else None
    if last is None or back is None or _permutation(back) != HEADS_OUT:
        return None
    sources = [
        _split(graph, query, HEADS_OUT),
        _split_key(graph, key),
        _split(graph, value, HEADS_OUT),
    ]
    size = _head_size(graph, query)
    if None in sources or size is None:
        return None
    names = [str(source) for source in sources]
    return Attention(names[0], names[1], names[2], mask, scale * query_scale * key_scale, size, last)


def _masked(graph: Graph, tensor: str) -> tuple[str, str | None]:
    """The scores and the mask that is added to them; scores are a product, perhaps scaled."""
    node = graph.producer(tensor)
    if node is None or node.op_type != "Add":
        return tensor, None
    for scores, mask in (tuple(node.input), tuple(reversed(node.input))):
        if _unscaled(graph, scores)[0] is not None:
            return scores, mask
    return tensor, None


def _unscaled(graph: Graph, tensor: str, kind: str = "MatMul") -> tuple[NodeProto | None, float]:
    """The node of a kind that makes a tensor, looked for behind products with and quotients by constants."""
    scale = 1.0
    node = graph.producer(tensor)
    while node is not None and node.op_type in ("Mul", "Div"):
        factors = [(name, graph.scalar(name)) for name in node.input]
        constant = next((value for name, value in factors if value is not None), None)
        rest = [name for name, value in factors if value is None]
        if constant is None or len(rest) != 1 or (node.op_type == "Div" and rest[0] != node.input[0]):
            return None, 1.0
        scale *= constant if node.op_type == "Mul" else 1 / constant
        node = graph.producer(rest[0])
    if node is None or node.op_type != kind or not math.isfinite(scale):
        return None, 1.0
    return node, scale


def _split(graph: Graph, node: NodeProto | None, permutation: list[int]) -> str | None:
    """The tensor whose heads a Reshape and this Transpose split."""
    if node is None or node.op_type != "Transpose" or _permutation(node) != permutation:
        return None
    reshape = graph.producer(node.input[0])
    return reshape.input[0] if reshape is not None and reshape.op_type == "Reshape" else None


def _split_key(graph: Graph, node: NodeProto | None) -> str | None:
    """As :func:`_split`, for keys, which are transposed once more, in the same node or in one of its own."""
    found = _split(graph, node, HEADS_OUT_TRANSPOSED)
    if found is None and node is not None and _permutation(node) == [0, 1, 3, 2]:
        inner, scale = _unscaled(graph, node.input[0], "Transpose")
        return _split(graph, inner, HEADS_OUT) if scale == 1 else None
    return found


def _head_size(graph: Graph, transpose: NodeProto | None) -> int | None:
    """The last number of the shape that the queries are reshaped to."""
    reshape = graph.producer(transpose.input[0]) if transpose is not None else None
    if reshape is None:
        return None
    shape = graph.array(reshape.input[1])
    if shape is not None:
        return int(shape[-1]) if int(shape[-1]) > 0 else None
    concat = graph.producer(reshape.input[1])
    last = graph.scalar(concat.input[-1]) if concat is not None and concat.op_type == "Concat" else None
    return int(last) if last is not None and last > 0 else None


def _permutation(node: NodeProto) -> list[int]:
    return [int(i) for attribute in node.attribute if attribute.name == "perm" for i in attribute.ints]


def _only_reader(graph: Graph, node: NodeProto | None, kind: str) -> NodeProto | None:
    readers = graph.consumers(node) if node is not None else []
    return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None
