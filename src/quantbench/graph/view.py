"""Reading an ONNX graph: who makes and who reads a tensor, and what is constant.

Look-ups on protobuf rather than on a model of onnx-ir, whose values are objects of their own: what is found here is
edited in place and written without conversion.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from quantbench.graph import external


class Graph:
    """An ONNX graph with look-ups by tensor.

    Attributes:
        nodes: the nodes in topological order, as stored.

    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self._named = {node.name: node for node in self.nodes}
        self._initializers = {item.name: item for item in model.graph.initializer}
        self._producer = {name: node for node in self.nodes for name in node.output if name}
        self._consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in filter(None, node.input):  # the empty name stands for an input that is left out
                self._consumers[name].append(node)
        self._types = {
            item.name: item.type.tensor_type.elem_type
            for item in [*model.graph.value_info, *model.graph.input, *model.graph.output]
        }

    @classmethod
    def read(cls, path: Path) -> Graph:
        """The graph of an ONNX file."""
        return cls(external.read(path))

    def node(self, name: str) -> NodeProto:
        """The node of a name.

        Raises:
            KeyError: if there is none.

        """
        return self._named[name]

    def producer(self, tensor: str) -> NodeProto | None:
        """The node that makes a tensor; None for inputs and initializers."""
        return self._producer.get(tensor)

    def consumers(self, node: NodeProto) -> list[NodeProto]:
        """The nodes that read any output of a node."""
        return [reader for name in node.output for reader in self._consumers.get(name, ())]

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is an initializer or the output of a Constant node."""
        node = self.producer(tensor)
        return tensor in self._initializers or (node is not None and node.op_type == "Constant")

    def scalar(self, tensor: str) -> float | None:
        """The value of a constant of one number, else None."""
        array = self.array(tensor)
        if array is None or array.size != 1 or array.dtype.kind not in "fiub":
            return None
        return float(array.reshape(-1)[0])

    def is_float(self, tensor: str) -> bool:
        """Whether shape inference or an initializer says that a tensor is float32."""
        if tensor in self._initializers:
            return bool(self._initializers[tensor].data_type == onnx.TensorProto.FLOAT)
        return bool(self._types.get(tensor) == onnx.TensorProto.FLOAT)

    def variable_inputs(self, node: NodeProto) -> list[str]:
        """Inputs of a node that are computed, not constant."""
        return [name for name in node.input if name and not self.is_constant(name)]

    def of_type(self, *types: str) -> Iterable[NodeProto]:
        """The nodes of the given operator types."""
        return (node for node in self.nodes if node.op_type in types)

    def array(self, tensor: str) -> Any:
        """The values of a constant; None of what is computed."""
        if tensor in self._initializers:
            return external.values(self._initializers[tensor])
        node = self.producer(tensor)
        if node is not None and node.op_type == "Constant" and node.attribute:
            value = onnx.helper.get_attribute_value(node.attribute[0])
            return external.values(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
        return None
