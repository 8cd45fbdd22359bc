"""Model files as people have them: good ones, silently broken ones, and some that do not load."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from datasets import Dataset
from onnx import TensorProto, helper, numpy_helper
from tests.support import tiny_tasks
from tests.support.fitted import fit_labels, save, tiny_config, tiny_tokenizer
from tests.support.sentence_models import texts, write_sentence_model
from tests.support.tiny_models import tiny_inputs, tiny_vocabulary
from tests.support.tiny_tasks import TOPICS, WORDS
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DistilBertForSequenceClassification,
)

from quantbench import embedded
from quantbench.graph.embedding import OUTPUT, with_embedding
from quantbench.quantize import with_nncf
from quantbench.runtimes.openvino import Args
from quantbench.schema.results import ArmSpec
from quantbench.served.modules import SENTENCE, TOKENS
from quantbench.sources.export import write_export

COUNT = 60
KEYS = ("match", "bank", "rain")
"""The word of a text that says its topic."""
CLASSIFIES = "AutoModelForSequenceClassification"
FREE = {"logits": {0: "batch_size"}}
Model = Any


def write_topics(root: Path) -> Path:
    """A classifier of texts that is right on all of them, and these as ``texts.csv``; its float export beside it."""
    generator = random.Random(0)
    others = [word for word in WORDS if word not in KEYS]
    labels = [generator.randrange(len(KEYS)) for _ in range(COUNT)]
    texts = []
    for label in labels:
        words = [generator.choice(others) for _ in range(generator.randint(2, 24))]
        words.insert(generator.randint(0, len(words)), KEYS[label])
        texts.append(" ".join(words))
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DistilBertForSequenceClassification(tiny_config(TOPICS))
    fit_labels(model, tokenizer, texts, labels)
    save(model, tokenizer, root / "model")
    named = [TOPICS[label] for label in labels]
    Dataset.from_dict({"text": texts, "label": named}).to_csv(root / "texts.csv")
    export(root / "model", root / "float.onnx")
    return root


def write_pairs(root: Path) -> Path:
    """A random BERT that heeds token types, and pairs of texts with what it says of them; its float export."""
    generator = random.Random(0)
    vocabulary = tiny_vocabulary(WORDS)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    names = {"id2label": dict(enumerate(TOPICS)), "label2id": {name: place for place, name in enumerate(TOPICS)}}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=128, **sizes, **names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
            model.bert.embeddings.token_type_embeddings.weight.mul_(4)
    tokenizer = BertTokenizerFast(vocab=vocabulary, do_lower_case=False, model_max_length=128)
    save(model, tokenizer, root / "model")
    texts = [[" ".join(generator.choices(WORDS, k=generator.randint(2, 9))) for _ in range(2)] for _ in range(COUNT)]
    encoded = tokenizer([pair[0] for pair in texts], [pair[1] for pair in texts], padding=True, return_tensors="pt")
    with torch.inference_mode():
        labels = model(**encoded).logits.argmax(-1).tolist()
    columns = {"premise": [pair[0] for pair in texts], "hypothesis": [pair[1] for pair in texts]}
    Dataset.from_dict({**columns, "label": [TOPICS[label] for label in labels]}).to_csv(root / "pairs.csv")
    spec = ArmSpec(runtime="pytorch", path=str(root / "model"), sha256="", options={"auto_class": CLASSIFIES})
    write_export(spec, 17, tiny_inputs(2, 8), FREE, root / "float.onnx")
    return root


def export(
    folder: Path, path: Path, opset: int = 17, auto_class: str = CLASSIFIES, outputs: Any = None, **inputs: Any
) -> Path:
    """The float export of a checkpoint that takes ids and mask."""
    spec = ArmSpec(runtime="pytorch", path=str(folder), sha256="", options={"auto_class": auto_class})
    given = inputs or {name: array for name, array in tiny_inputs(2, 8).items() if name != "token_type_ids"}
    write_export(spec, opset, given, outputs or FREE, path)
    return path


def changed(change: Callable[[Model], Any]) -> Callable[[Path, Path], None]:
    """What writes the float export with a change to its graph."""

    def write(root: Path, path: Path) -> None:
        model = onnx.load(str(root / "float.onnx"))
        model = change(model) or model
        onnx.save(model, str(path))

    return write


def weights(model: Model) -> list[Any]:
    """The matrices of products with constant weights, in the graph's order."""
    known = {item.name: item for item in model.graph.initializer}
    return [known[node.input[1]] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in known]


def set_to(tensor: Any, array: np.ndarray) -> None:
    """Give an initializer other numbers."""
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def rename(model: Model, names: dict[str, str]) -> Model:
    """Call inputs and outputs otherwise."""
    for item in [*model.graph.input, *model.graph.output]:
        item.name = names.get(item.name, item.name)
    for node in model.graph.node:
        for kind in (node.input, node.output):
            for place, name in enumerate(kind):
                kind[place] = names.get(name, name)
    return model


def in_front(model: Model, name: str, kind: str, inner: str, **attributes: Any) -> Model:
    """Put a node between an input and all that read it."""
    rename(model, {name: inner})
    given = next(item for item in model.graph.input if item.name == inner)
    given.name = name
    model.graph.node.insert(0, helper.make_node(kind, [name], [inner], f"{inner}/node", **attributes))
    return model


def int32(model: Model) -> Model:
    """Inputs are int32, cast inside."""
    for item in list(model.graph.input):
        in_front(model, item.name, "Cast", f"{item.name}_64", to=TensorProto.INT64)
        item.type.tensor_type.elem_type = TensorProto.INT32
    return model


def sized(*sizes: int | None) -> Callable[[Model], Model]:
    """Inputs have fixed axes."""

    def change(model: Model) -> None:
        for item in model.graph.input:
            for axis, size in zip(item.type.tensor_type.shape.dim, sizes, strict=True):
                if size is not None:
                    axis.Clear()
                    axis.dim_value = size

    return change


def behind(kind: str, *constants: np.ndarray, **attributes: Any) -> Callable[[Model], Model]:
    """Put a node with constants behind the logits."""

    def change(model: Model) -> Model:
        (output,) = model.graph.output
        name = output.name
        for node in model.graph.node:
            for place, made in enumerate(node.output):
                node.output[place] = "inner_logits" if made == name else made
        names = [f"constant_{place}" for place in range(len(constants))]
        for constant, item in zip(constants, names, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(constant, item))
        model.graph.node.append(helper.make_node(kind, ["inner_logits", *names], [name], "behind", **attributes))
        del model.graph.value_info[:]
        return model

    return change


def no_mask(made_inside: bool) -> Callable[[Model], Model]:
    """The input for the mask is gone: all ones, or made of the ids, of which 0 is padding."""

    def change(model: Model) -> Model:
        kept = [item for item in model.graph.input if item.name != "attention_mask"]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        zero = numpy_helper.from_array(np.int64(0), "nothing")
        model.graph.initializer.append(zero)
        there = helper.make_node("Equal", ["input_ids", "nothing"], ["is_padding"], "is_padding/node")
        if made_inside:
            turned = helper.make_node("Not", ["is_padding"], ["is_token"], "is_token/node")
            cast = helper.make_node("Cast", ["is_token"], ["attention_mask"], "mask/node", to=TensorProto.INT64)
            nodes = [there, turned, cast]
        else:
            shape = helper.make_node("Shape", ["input_ids"], ["ids_shape"], "ids_shape/node")
            one = numpy_helper.from_array(np.array([1], dtype=np.int64))
            full = helper.make_node("ConstantOfShape", ["ids_shape"], ["attention_mask"], "mask/node", value=one)
            nodes = [shape, full]
        for place, node in enumerate(nodes):
            model.graph.node.insert(place, node)
        return model

    return change


def mask_ignored(model: Model) -> Model:
    """The mask is taken and not heeded."""
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "all_ones" if name == "attention_mask" else name
    one = numpy_helper.from_array(np.array([1], dtype=np.int64))
    nodes = [
        helper.make_node("Shape", ["attention_mask"], ["mask_shape"], "mask_shape/node"),
        helper.make_node("ConstantOfShape", ["mask_shape"], ["all_ones"], "all_ones/node", value=one),
    ]
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    return model


def extra_input(name: str, kind: int, shape: Sequence[Any]) -> Callable[[Model], Model]:
    """One more input, which is given back as one more output."""

    def change(model: Model) -> None:
        model.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
        model.graph.node.append(helper.make_node("Identity", [name], [f"{name}_again"], f"{name}/node"))
        model.graph.output.append(helper.make_tensor_value_info(f"{name}_again", kind, shape))

    return change


def hidden_states(alone: bool) -> Callable[[Model], Model]:
    """The states of tokens are given too, or alone."""

    def change(model: Model) -> None:
        readers = [node for node in model.graph.node if node.op_type == "Gather"]
        state = readers[-1].input[0]  # of which the classifier takes the first token
        if alone:
            del model.graph.output[:]
        states = helper.make_tensor_value_info(state, TensorProto.FLOAT, ["batch_size", "sequence_length", 32])
        model.graph.output.insert(0, states)

    return change


def half(keep_io: bool) -> Callable[[Model], Model]:
    """float16, with or without float32 outputs."""

    def change(model: Model) -> Model:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        return convert_float_to_float16(model, keep_io_types=keep_io)

    return change


def bfloat16(model: Model) -> Model:
    """All weights, and what is computed of them, in bfloat16."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            bits = (array.view(np.uint32) >> 16).astype(np.uint16) if array.size else array.astype(np.uint16)
            tensor.CopyFrom(
                helper.make_tensor(tensor.name, TensorProto.BFLOAT16, array.shape, bits.tobytes(), raw=True)
            )
    for item in [*model.graph.output, *model.graph.value_info]:
        if item.type.tensor_type.elem_type == TensorProto.FLOAT:
            item.type.tensor_type.elem_type = TensorProto.BFLOAT16
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.BFLOAT16
    return model


def dynamic(**options: Any) -> Callable[[Path, Path], None]:
    """Dynamic int8 as ONNX Runtime makes it."""

    def write(root: Path, path: Path) -> None:
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(str(root / "float.onnx"), str(path), **options)

    return write


def of_topics(root: Path) -> list[dict[str, np.ndarray]]:
    """Inputs that set ranges."""
    texts = Dataset.from_csv(str(root / "texts.csv"), cache_dir=str(root / "cache"))["text"]
    return [dict(tiny_tokenizer()(text, return_tensors="np")) for text in texts[:32]]


def of_the_demo(root: Path) -> list[dict[str, np.ndarray]]:
    """Inputs of the embedded model's training split that set ranges."""
    tokenizer = AutoTokenizer.from_pretrained(embedded.MODEL)
    rows = Dataset.from_parquet(str(embedded.DATA / "train.parquet"), cache_dir=str(root / "cache"))
    made = [tokenizer(words, is_split_into_words=True, return_tensors="np") for words in rows["tokens"][:40]]
    return [{name: given[name] for name in ("input_ids", "attention_mask")} for given in made]


def static(
    form: str = "QDQ", samples: Callable[[Path], list[Any]] = of_topics, **options: Any
) -> Callable[[Path, Path], None]:
    """Static int8 as ONNX Runtime makes it, with ranges of some inputs."""

    def write(root: Path, path: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self._left = samples(root)

            def get_next(self) -> Any:
                return self._left.pop() if self._left else None

        quantize_static(
            str(root / "float.onnx"),
            str(path),
            Reader(),
            quant_format=QuantFormat[form],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            **options,
        )

    return write


def narrow(root: Path, path: Path, samples: Callable[[Path], list[Any]] = of_topics) -> None:
    """Static int8 whose ranges are far too narrow."""
    static(samples=samples)(root, path)
    model = onnx.load(str(path))
    known = {item.name: item for item in model.graph.initializer}
    weights = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"} & known.keys()
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in weights:
            scale = known[node.input[1]]
            set_to(scale, numpy_helper.to_array(scale) / np.float32(40))
    onnx.save(model, str(path))


def wrong_scale(root: Path, path: Path) -> None:
    """Static int8 in which the scales of weights are not those that they were rounded by."""
    static()(root, path)
    model = onnx.load(str(path))
    known = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in known:
            scale = known[node.input[1]]
            set_to(scale, numpy_helper.to_array(scale) * np.float32(8))
    onnx.save(model, str(path))


def q4(root: Path, path: Path) -> None:
    """Weights of four bits in blocks."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    made = MatMulNBitsQuantizer(onnx.load(str(root / "float.onnx")), block_size=16, is_symmetric=True)
    made.process()
    made.model.save_model_to_file(str(path))


def optimized(root: Path, path: Path) -> None:
    """The graph that ONNX Runtime makes, with operators of its own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(str(root / "float.onnx"), options, providers=["CPUExecutionProvider"])


def ir(root: Path, path: Path) -> None:
    """An IR of OpenVINO, with weights of float16."""
    import openvino

    openvino.save_model(openvino.Core().read_model(str(root / "float.onnx")), str(path), compress_to_fp16=True)


def int8_ir(root: Path, path: Path) -> None:
    """An IR in int8 as NNCF makes it."""
    samples = of_topics(root)
    with_nncf.write_int8(root / "float.onnx", Args(), len(samples), lambda index: samples[index], path)


def beside(root: Path, path: Path) -> None:
    """Weights lie in a file of their own."""
    model = onnx.load(str(root / "float.onnx"))
    onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}_data", size_threshold=64)


def then(write: Callable[[Path, Path], None], spoil: Callable[[Path], Any]) -> Callable[[Path, Path], None]:
    """Write a file and spoil it."""

    def made(root: Path, path: Path) -> None:
        write(root, path)
        spoil(path)

    return made


def copied(root: Path, path: Path) -> None:
    """The float export as it is."""
    shutil.copy(root / "float.onnx", path)


def of_bytes(content: bytes) -> Callable[[Path, Path], None]:
    """A file of some bytes."""
    return lambda root, path: path.write_bytes(content)


def write_embedder(root: Path) -> Path:
    """A folder of sentence-transformers (the mean, normalized) and texts; its float export gives states of tokens."""
    write_sentence_model(root / "model")
    Dataset.from_dict({"text": texts((3, 20), COUNT)}).to_csv(root / "texts.csv")
    outputs = {"last_hidden_state": {0: "batch_size", 1: "sequence_length"}}
    export(root / "model", root / "float.onnx", auto_class="AutoModel", outputs=outputs)
    return root


def pooled(mode: str, normalized: bool = True, alone: bool = False, called: str = OUTPUT) -> Callable[[Model], Model]:
    """The embedding of a text is given too, or alone."""

    def change(model: Model) -> Model:
        steps = [{"kind": "Pooling", "reads": TOKENS, "writes": SENTENCE, "modes": [mode], "include_prompt": True}]
        steps += [{"kind": "Normalize", "reads": SENTENCE, "writes": SENTENCE}] if normalized else []
        made = with_embedding(model, steps, {})
        if alone:
            del made.graph.output[0]
        return rename(made, {OUTPUT: called})

    return change


def plain_mean(model: Model) -> Model:
    """The mean of all tokens, padding among them."""
    model.graph.node.append(
        helper.make_node("ReduceMean", ["last_hidden_state"], [OUTPUT], "mean/node", axes=[1], keepdims=0)
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch_size", 32]))
    return model


def without_token_types(model: Model) -> Model:
    """The input for token types is gone: all are of the first."""
    kept = [item for item in model.graph.input if item.name != "token_type_ids"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    zero = numpy_helper.from_array(np.array([0], dtype=np.int64))
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["types_shape"], "types_shape/node"),
        helper.make_node("ConstantOfShape", ["types_shape"], ["token_type_ids"], "types/node", value=zero),
    ]
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    return model


def only_output(place: int) -> Callable[[Model], Model]:
    """One output is left."""

    def change(model: Model) -> None:
        kept = model.graph.output[place]
        name, shape = kept.name, [axis.dim_param for axis in kept.type.tensor_type.shape.dim]
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    return change


def other_order(model: Model) -> None:
    """Outputs stand in the other order."""
    outputs = [item.SerializeToString() for item in model.graph.output]
    del model.graph.output[:]
    for text in reversed(outputs):
        model.graph.output.append(onnx.ValueInfoProto.FromString(text))


def other_model(root: Path, path: Path) -> None:
    """A model of the same form with other weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = DistilBertForSequenceClassification(tiny_config(TOPICS))
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
    folder = save(model, tiny_tokenizer(), path.parent / "other")
    export(folder, path)


def other_words_known(root: Path, path: Path) -> None:
    """A model of another vocabulary, which lacks some of the tokens."""
    tiny_tasks.write_texts(path.parent / "strange")
    export(path.parent / "strange" / "model", path)
