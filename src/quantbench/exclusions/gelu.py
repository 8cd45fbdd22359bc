"""GELU (Hendrycks and Gimpel, 2016): exact, ``x * (1 + erf(x / sqrt 2)) / 2``, or with tanh.

Single node: Gelu (opset 20), FastGelu, BiasGelu, QuickGelu. Decomposed: Erf with the Div or Mul before it and the Add
and Muls behind it; Tanh with the cubic polynomial before it and the same behind it.
"""

from __future__ import annotations

from onnx import NodeProto

from quantbench.graph.view import Graph

SUMMARY = "GELU activations, whole"
SINGLE = ("Gelu", "FastGelu", "BiasGelu", "QuickGelu")
ELEMENTWISE = ("Mul", "Add", "Pow", "Div")


def select(graph: Graph) -> set[str]:
    """Names of all nodes of all GELUs."""
    found = {node.name for node in graph.of_type(*SINGLE)}
    for bend in graph.of_type("Erf", "Tanh"):
        before = _before(graph, bend)
        after = _after(graph, bend)
        if before and after:
            found |= {node.name for node in (bend, *before, *after)}
    return found


def _before(graph: Graph, bend: NodeProto) -> list[NodeProto]:
    scale = graph.producer(bend.input[0])
    if scale is None or scale.op_type not in ("Div", "Mul"):
        return []
    return [scale] if bend.op_type == "Erf" else _cubic(graph, scale)


def _cubic(graph: Graph, scale: NodeProto) -> list[NodeProto]:
    """The nodes of ``c * (x + d * x ** 3)``; empty if it is another term."""
    total = next((n for n in map(graph.producer, scale.input) if n is not None and n.op_type == "Add"), None)
    if total is None:
        return []
    found, waiting = [scale, total], list(total.input)
    while waiting:
        node = graph.producer(waiting.pop())
        if node is not None and node.op_type in ("Pow", "Mul") and _has_cube(graph, node):
            found.append(node)
            waiting += [name for name in node.input if name not in total.input]
    return found if len(found) > 2 else []


def _has_cube(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is a power, a product of equal tensors, or a product with one of these."""
    if node.op_type == "Pow" or len(set(node.input)) < len(node.input):
        return True
    producers = [graph.producer(name) for name in node.input]
    return any(p is not None and p.op_type in ("Pow", "Mul") and _has_cube(graph, p) for p in producers)


def _after(graph: Graph, bend: NodeProto) -> list[NodeProto]:
    """``1 +``, then the one or two products behind it; where ``x / 2`` is made apart, that too."""
    plus = next((n for n in graph.consumers(bend) if n.op_type == "Add" and 1.0 in map(graph.scalar, n.input)), None)
    if plus is None:
        return []
    found, node = [plus], plus
    for _ in range(2):
        product = next((n for n in graph.consumers(node) if n.op_type == "Mul" and _belongs(graph, n, node)), None)
        if product is None:
            break
        found.append(product)
        node = product
    halves = [graph.producer(name) for name in found[1].input] if len(found) == 2 else []
    found += [n for n in halves if n is not None and n.op_type == "Mul" and 0.5 in map(graph.scalar, n.input)]
    return found if len(found) > 1 else []


def _belongs(graph: Graph, product: NodeProto, before: NodeProto) -> bool:
    """The first product may be with anything (x, or 0.5), a second one with x or 0.5 only if the first was not both."""
    if before.op_type == "Add":
        return True
    return 0.5 in map(graph.scalar, product.input) or 0.5 in map(graph.scalar, before.input)
