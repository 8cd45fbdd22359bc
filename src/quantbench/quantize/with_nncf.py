"""Int8 by NNCF, which decides by itself what is quantized and how: a float ONNX file to an OpenVINO IR.

The IR is two files, ``<name>.xml`` with the graph and ``<name>.bin`` beside it with the weights.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quantbench.graph.embedding import MASK, OUTPUT, STATES, TOKENS, alone
from quantbench.plugins.quantizing import NoEmbedding
from quantbench.quantize.calibration.ranges import Sample
from quantbench.quantize.silence import silence
from quantbench.runtimes.openvino import Args
from quantbench.schema.base import digest
from quantbench.served.modules import Head
from quantbench.system.writing import write_atomically

SWITCHED_OFF = -1.0
"""What NNCF takes for no migration of scales; 0 is that in ``framework_args.smooth_quant_alpha``."""
NO_TELEMETRY = "NNCF_CI"
"""Environment variable that keeps NNCF from sending usage data to its makers."""
COMPUTING = ("Add", "Convolution", "Gather", "MatMul", "Multiply", "Subtract")
"""Operators that are counted as quantized if all that they read is."""
MOVING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "VariadicSplit", "Slice", "StridedSlice")
DEQUANTIZING = ("Convert", "Subtract", "Multiply", "Reshape")
NUMBER_TYPES = {"i8": "int8", "u8": "uint8"}


def write_int8(float_model: Path, args: Args, samples: int, sample: Sample, path: Path) -> None:
    """Write an int8 IR of a float model.

    Equal arguments write equal bytes. The ranges of activations are NNCF's: the mean over the samples of each sample's
    extremes; biases are corrected in its fast way.

    Args:
        float_model: float ONNX file.
        args: preset and SmoothQuant's strength.
        samples: number of calibration samples.
        sample: gives sample ``i`` as arrays of shape (1, length).
        path: the file with the graph, named ``.xml``.

    """
    os.environ.setdefault(NO_TELEMETRY, "1")
    with silence():
        import nncf
        import openvino
        from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters

        model = read(float_model)
        _name_by_place(model)
        names = {name for item in model.inputs for name in item.get_names()}
        advanced = nncf.AdvancedQuantizationParameters()
        if args.smooth_quant_alpha is not None:
            strength = args.smooth_quant_alpha or SWITCHED_OFF
            advanced.smooth_quant_alphas = AdvancedSmoothQuantParameters(matmul=strength)
        quantized = nncf.quantize(
            model,
            nncf.Dataset(range(samples), lambda index: {k: v for k, v in sample(index).items() if k in names}),
            preset=nncf.QuantizationPreset(args.preset),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=samples,
            advanced_parameters=advanced,
        )
        _name_by_place(quantized)
        with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
            openvino.save_model(quantized, str(Path(scratch) / path.name), compress_to_fp16=False)
            for file in reversed(files(path)):  # the graph last: where it is, its weights are
                write_atomically(file, (Path(scratch) / file.name).read_bytes())


def write_embedding(path: Path, head: Head, prompt: int, target: Path) -> None:
    """Write an IR with the modules behind it within: those of ``graph.embedding``, read and joined at states and mask.

    Raises:
        NoEmbedding: if the IR has no such input or output.

    """
    import openvino

    model = read(path)
    try:
        states, mask = model.output(STATES), model.input(MASK)
    except RuntimeError as error:
        raise NoEmbedding(f"the IR has no output {STATES!r} or no input {MASK!r}") from error
    width = states.get_partial_shape()[2].get_length()
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        modules = Path(scratch) / "modules.onnx"
        modules.write_bytes(alone(head.steps, head.weights, width, prompt).SerializeToString())
        behind = read(modules)
        joined = {TOKENS: states.get_node().input_value(0), MASK: mask}
        embedding = behind.output(OUTPUT).get_node()
        for name, source in joined.items():
            behind.input(name).replace(source)
        whole = openvino.Model([embedding, *model.get_results()], model.get_parameters(), model.get_name())
        openvino.save_model(whole, str(Path(scratch) / target.name), compress_to_fp16=False)
        for file in reversed(files(target)):
            write_atomically(file, (Path(scratch) / file.name).read_bytes())


def files(path: Path) -> tuple[Path, Path]:
    """Both files of an IR, the graph first."""
    return path, path.with_suffix(".bin")


def read(path: Path) -> Any:
    """The model of an IR or an ONNX file."""
    import openvino

    return openvino.Core().read_model(str(path))


def quantized_operators(model: Any) -> dict[str, int]:
    """Number of operators by type that read quantized values only, sorted by type."""
    counts: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        if node.get_type_name() not in COMPUTING or _is_weight(node):
            continue
        sources = [value.get_node() for value in node.input_values() if value.get_element_type().is_real()]
        if sources and all(map(_is_quantized, sources)):
            counts[node.get_type_name()] += 1
    return dict(sorted(counts.items()))


def chosen(model: Any) -> dict[str, JsonValue]:
    """What NNCF decided, as it is in a model, by the names of the settings; several values are joined by a stroke.

    A quantizer whose range is symmetric around zero (but for the one number that the negative side has more) stands
    for signed numbers.
    """
    activations, weights = set(), set()
    per_channel = False
    for node in model.get_ordered_ops():
        per_channel = per_channel or _is_scaled_per_channel(node)
        if node.get_type_name() == "FakeQuantize":
            low, high = (float(node.input_value(port).get_node().data.min()) for port in (1, 2))
            activations.add("int8" if low < 0 and abs(low + high) <= abs(low) / 100 else "uint8")
        elif _is_integer_constant(node):
            weights.add(NUMBER_TYPES[node.get_element_type().get_type_name()])
    return {
        "activation_type": "/".join(sorted(activations)) or "float32",
        "weight_type": "/".join(sorted(weights)) or "float32",
        "per_channel": per_channel,
        "operators_to_quantize": [str(name) for name in quantized_operators(model)],
    }


def computation_hash(model: Any) -> str:
    """Hash of what a model computes, whatever the names of its nodes; that of ONNX is in ``graph.fingerprint``."""
    hashes: dict[str, str] = {}
    for node in model.get_ordered_ops():
        hashes[node.get_name()] = digest(
            [
                node.get_type_name(),
                ",".join(sorted(f"{name}={value}" for name, value in node.get_attributes().items())),
                ",".join(str(output.get_element_type()) for output in node.outputs()),
                _content(node),
                *(f"{hashes[value.get_node().get_name()]}:{value.get_index()}" for value in node.input_values()),
            ]
        )
    return digest([hashes[node.get_name()] for node in model.get_results()])


def _content(node: Any) -> str:
    """What distinguishes a node beside its attributes: a constant's values, an input's name."""
    if node.get_type_name() == "Constant":
        return hashlib.sha256(node.data.tobytes()).hexdigest()
    return ",".join(sorted(node.output(0).get_names())) if node.get_type_name() == "Parameter" else ""


def _is_quantized(node: Any) -> bool:
    """Whether a tensor holds quantized values: made by a quantizer or from integer weights, and moved since."""
    kind = node.get_type_name()
    if kind in MOVING:
        return _is_quantized(node.input_value(0).get_node())
    return kind == "FakeQuantize" or _is_weight(node)


def _is_weight(node: Any) -> bool:
    """Whether a tensor is made from a constant of integers: converted, shifted, scaled."""
    if node.get_type_name() in DEQUANTIZING:
        return _is_weight(node.input_value(0).get_node())
    return _is_integer_constant(node)


def _is_scaled_per_channel(node: Any) -> bool:
    return node.get_type_name() == "Multiply" and _is_weight(node) and node.input_value(1).get_node().data.size > 1


def _is_integer_constant(node: Any) -> bool:
    return node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in NUMBER_TYPES


def _name_by_place(model: Any) -> None:
    """Number the nodes that have no name within the model; OpenVINO numbers them within the process."""
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
