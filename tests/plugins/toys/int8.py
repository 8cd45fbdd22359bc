"""8-bit weights of products, one scale for each, which are made float again where they are read."""

from __future__ import annotations

from quantbench.plugins.protocols import Rule
from quantbench.plugins.quantizing import Candidate, Inspection, NoEmbedding
from quantbench.system.writing import write_atomically

SUMMARY = "8-bit weights, one scale each"
FILE = "toy.onnx"
DECIDES = {"weight_type": "auto"}
NOTE = "The toy rounds weights only."
LIBRARIES = ("toys", "onnx")
EXTRA = ""


def _one_scale(settings):
    return "the toy has one scale for all channels; set per_channel: false" if settings.per_channel else None


RULES = (Rule(("per_channel", "quantization_approach", "framework"), _one_scale),)


def files(path):
    return (path,)


def reads(settings):
    return "nothing"


def write(settings, inputs, path):
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(inputs.exported))
    weights = {item.name: item for item in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is not None and node.name not in inputs.keep:
            values = numpy_helper.to_array(weight)
            scale = np.float32(np.abs(values).max() / 127)
            rounded = np.round(values / scale).astype(np.int8)
            names = [f"{node.name}/weight", f"{node.name}/scale"]
            for name, array in zip(names, (rounded, scale), strict=True):
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
            cast, made = f"{node.name}/cast", f"{node.name}/float"
            nodes.append(helper.make_node("Cast", [names[0]], [cast], cast, to=onnx.TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [cast, names[1]], [made], made))
            node.input[1] = made
        nodes.append(node)
    read = {name for node in nodes for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in read]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    write_atomically(path, model.SerializeToString(deterministic=True))
    return {"activation_type": "float32", "weight_type": "int8"}


def inspect(path):
    import onnx

    from quantbench.graph.fingerprint import computation_hash

    model = onnx.load(str(path))
    count = sum(item.data_type == onnx.TensorProto.INT8 for item in model.graph.initializer)
    return Inspection({"MatMul": count}, computation_hash(model))


def write_embedding(path, head, prompt, folder):
    raise NoEmbedding("it is a toy")


def candidates(base):
    return [Candidate(f"{base.framework}-int8", base.model_copy(update={"per_channel": False}))]
