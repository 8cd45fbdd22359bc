"""Models: their weights, what their outputs are, and what else their folders hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import ClassLabel, Features, Value
from safetensors.torch import load_file, save_file
from tests.cases.case import Answer, Case, Refused, Right, case
from tests.support.fitted import fit_labels, save, tiny_config, tiny_tokenizer, write_splits
from tests.support.planted import export
from tests.support.tiny_models import tiny_vocabulary
from tests.support.tiny_tasks import COLOURS, TOPICS, WORDS, write_images
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertForSequenceClassification,
    DistilBertModel,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
)

from quantbench.config.load import build_config
from quantbench.served.pytorch import read
from quantbench.tasks import feature_extraction
from quantbench.tasks._text import EmbeddingProcessor

TEXTS = (
    "the team won .",
    "rain fell",
    "a bank lost",
    "the match",
    "Oslo",
    "Anna won 1996",
    "the bank",
    "team over rain",
)
NUMBERS = (0, 2, 1, 0, 2, 0, 1, 2)
_SIZES_OF_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
NAMES = {"id2label": dict(enumerate(TOPICS)), "label2id": {name: number for number, name in enumerate(TOPICS)}}
SIZES = {
    "vocab_size": len(tiny_vocabulary(WORDS)),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
KEY = "model_name_or_path"


def classified(root: Path, texts: Sequence[str] = TEXTS, numbers: Sequence[int] = NUMBERS) -> dict[str, Any]:
    """Settings of the model in ``root / "model"`` on texts with a topic each."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(TOPICS))})
    rows = [{"text": text, "label": number} for text, number in zip(texts, numbers, strict=True)]
    write_splits(root / "data", rows, features)
    return {
        "task": "text-classification",
        KEY: str(root / "model"),
        "dataset": {"path": str(root / "data"), "data_keys": {"primary": "text"}, "ref_keys": ["label"]},
    }


def embedded(root: Path) -> dict[str, Any]:
    """Settings of the model in ``root / "model"`` as embeddings of texts without a score."""
    write_splits(root / "data", [{"text": text} for text in TEXTS])
    return {
        "task": "feature-extraction",
        KEY: str(root / "model"),
        "dataset": {"path": str(root / "data"), "data_keys": {"primary": "text"}, "ref_keys": []},
    }


def _fitted(root: Path) -> dict[str, Any]:
    """A DistilBERT that is right on all texts, and the settings to score it."""
    model, tokenizer = DistilBertForSequenceClassification(tiny_config(TOPICS)), tiny_tokenizer()
    fit_labels(model, tokenizer, TEXTS, NUMBERS)
    save(model, tokenizer, root / "model")
    return classified(root)


def drawn(model_class: Any, config: Any, root: Path, limit: int = 256) -> Any:
    """A random model whose outputs differ from text to text, saved with a tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = model_class(config)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
    save(model.eval(), tiny_tokenizer(limit), root / "model")
    return model


def _rename(folder: Path, renamed: Callable[[str], str]) -> None:
    file = folder / "model.safetensors"
    save_file({renamed(name): weight for name, weight in load_file(file).items()}, file, {"format": "pt"})


def edit(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file, which is made where it is not there."""
    content: Mapping[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))


# Weights


@case("a classifier's head saved under another name", "output_loading_info of transformers")
def head_renamed(folder: Path) -> Case:
    settings = _fitted(folder)
    _rename(folder / "model", lambda name: name if name.startswith("distilbert.") else f"head.{name}")
    lacking = ["classifier.bias, classifier.weight, pre_classifier.bias, pre_classifier.weight", "drawn at random"]
    return Case(settings, Refused(KEY, lacking))


@case("base weights whose config.json names a classifier", "output_loading_info of transformers")
def base_as_classifier(folder: Path) -> Case:
    drawn(DistilBertModel, tiny_config(TOPICS), folder)
    edit(folder / "model" / "config.json", architectures=["DistilBertForSequenceClassification"])
    return Case(classified(folder), Refused(KEY, ["classifier.weight", "DistilBertForSequenceClassification"]))


@case("a head for another number of classes", "shapes in the file")
def head_of_other_shape(folder: Path) -> Case:
    settings = _fitted(folder)
    file = folder / "model" / "model.safetensors"
    weights = load_file(file)
    weights |= {"classifier.weight": torch.zeros(5, 32), "classifier.bias": torch.zeros(5)}
    save_file(weights, file, {"format": "pt"})
    return Case(settings, Refused(KEY, ["classifier.weight (the file has 5 x 32, the model 3 x 32)"]))


@case("a layer that is not in the file", "output_loading_info of transformers")
def layer_lost(folder: Path) -> Case:
    settings = _fitted(folder)
    _rename(folder / "model", lambda name: name.replace(".layer.1.", ".layer.7."))
    return Case(settings, Refused(KEY, ["distilbert.transformer.layer.1.", "and 12 more"]))


@case("DPR's context encoder, of which the base class makes a question encoder", "DPRContextEncoder of transformers")
def dpr(folder: Path) -> Answer:
    from transformers import DPRConfig, DPRContextEncoder

    model = drawn(DPRContextEncoder, DPRConfig(**SIZES), folder)
    encoded = tiny_tokenizer(256)(list(TEXTS[:3]), padding=True, return_tensors="pt")
    with torch.inference_mode():
        right = model(**encoded).pooler_output
        found = read(folder / "model", {"auto_class": "AutoModel"})[0](**encoded).last_hidden_state[:, 0]
    settings = embedded(folder)
    steps = feature_extraction.serving(
        build_config(settings, {}, "run.yaml").base.sources,
        EmbeddingProcessor(folder / "model"),
        model.config.to_dict(),
    )["steps"]
    told = "the vector of the first token is DPR's own, and it is what is pooled"
    return Answer([found.tolist(), steps[0]["modes"]], [right.tolist(), ["cls"]], told)


@case("DPR whose vectors are projected", "DPRConfig of transformers")
def dpr_projected(folder: Path) -> Case:
    from transformers import DPRConfig, DPRContextEncoder

    drawn(DPRContextEncoder, DPRConfig(**SIZES, projection_dim=8), folder)
    return Case(embedded(folder), Refused(KEY, ["projects its vectors (projection_dim: 8)"]))


@case("LayoutLM on texts alone", "its configuration")
def layoutlm(folder: Path) -> Case:
    from transformers import LayoutLMConfig, LayoutLMForSequenceClassification

    drawn(LayoutLMForSequenceClassification, LayoutLMConfig(**SIZES, **NAMES), folder)
    return Case(
        classified(folder), Right(notes=["made for words with their places on a page (bbox), which are not given"])
    )


@case("DeiT with the head of its teacher", "AutoModelForImageClassification of transformers")
def deit(folder: Path) -> Case:
    from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher

    settings = write_images(folder, count=8)
    names = {"id2label": dict(enumerate(COLOURS)), "label2id": {name: number for number, name in enumerate(COLOURS)}}
    config = DeiTConfig(**_SIZES_OF_VIT, image_size=32, patch_size=8, **names)
    DeiTForImageClassificationWithTeacher(config).save_pretrained(folder / "model")
    return Case({name: settings[name] for name in ("task", KEY, "dataset")}, Right())


@case("CLIP's text encoder as a classifier", "AutoModelForSequenceClassification of transformers")
def no_class(folder: Path) -> Case:
    from transformers import CLIPTextConfig, CLIPTextModel

    drawn(CLIPTextModel, CLIPTextConfig(**SIZES), folder)
    return Case(classified(folder), Refused(KEY, ["has no ForSequenceClassification of its type 'clip_text_model'"]))


@case("a tagger without pooler, for its embeddings", "planted: the pooler is read by no embedding")
def no_pooler(folder: Path) -> Case:
    drawn(BertForTokenClassification, BertConfig(**SIZES), folder)
    return Case(embedded(folder), Right({"cosine": 1.0}, arm="onnx-float", quiet=True, tolerance=1e-5))


@case("a classifier whose pooler is lost", "output_loading_info of transformers")
def pooler_lost(folder: Path) -> Case:
    drawn(BertForSequenceClassification, BertConfig(**SIZES, **NAMES), folder)
    _rename(folder / "model", lambda name: name.replace("pooler", "no_pooler"))
    return Case(classified(folder), Refused(KEY, ["bert.pooler.dense.bias, bert.pooler.dense.weight"]))


@case("weights under the names of an old format (gamma, beta)", "planted: the model was fitted until it is right")
def old_names(folder: Path) -> Case:
    model = BertForSequenceClassification(BertConfig(**SIZES, **NAMES))
    fit_labels(model, tiny_tokenizer(), TEXTS, NUMBERS)
    save(model, tiny_tokenizer(), folder / "model")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    _rename(folder / "model", lambda name: next((name.replace(n, o) for n, o in old.items() if n in name), name))
    return Case(classified(folder), Right({"accuracy": 1.0}, quiet=True))


@case("weights in several files", "planted: the model was fitted until it is right")
def sharded(folder: Path) -> Case:
    settings = _fitted(folder)
    model = DistilBertForSequenceClassification.from_pretrained(folder / "model")
    (folder / "model" / "model.safetensors").unlink()
    model.save_pretrained(folder / "model", max_shard_size="20KB")
    assert (folder / "model" / "model.safetensors.index.json").exists()
    return Case(settings, Right({"accuracy": 1.0}, quiet=True))


@case("weights in several files, one of which lacks some", "output_loading_info of transformers")
def sharded_incomplete(folder: Path) -> Case:
    settings = _fitted(folder)
    model = DistilBertForSequenceClassification.from_pretrained(folder / "model")
    (folder / "model" / "model.safetensors").unlink()
    model.save_pretrained(folder / "model", max_shard_size="20KB")
    index = json.loads((folder / "model" / "model.safetensors.index.json").read_text())
    file = folder / "model" / index["weight_map"]["classifier.weight"]
    save_file({n: w for n, w in load_file(file).items() if n != "classifier.weight"}, file, {"format": "pt"})
    return Case(settings, Refused(KEY, ["classifier.weight"]))


@case("weights in half precision", "planted: the model was fitted until it is right")
def half_precision(folder: Path) -> Case:
    settings = _fitted(folder)
    DistilBertForSequenceClassification.from_pretrained(folder / "model").half().save_pretrained(folder / "model")
    return Case(settings, Right({"accuracy": 1.0}, arm="onnx-float", quiet=True))


@case("more weights than memory holds, in half precision", "10**12 weights of 4 bytes are 3,725 GiB")
def too_large(folder: Path) -> Case:
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    sizes = {**SIZES, "hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 1, "vocab_size": 976_562_500}
    with torch.device("meta"):
        model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**sizes, **NAMES))
    model.config.architectures = ["XLMRobertaForSequenceClassification"]
    model.config.save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    _write_hollow(folder / "model" / "model.safetensors", {n: list(w.shape) for n, w in model.named_parameters()})
    count = sum(weight.numel() for weight in model.parameters())
    return Case(
        classified(folder),
        Refused(KEY, [f"it has {count / 1e6:,.0f} million weights, {4 * count / 2**30:.1f} GiB", "needs at least"]),
    )


def _write_hollow(file: Path, shapes: Mapping[str, list[int]]) -> None:
    """A safetensors file in half precision that takes no room on the disk: all of its values are a hole."""
    end, header = 0, {}
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)


# Outputs


@case("one output, labels yes and no", "one class is no classification")
def one_output(folder: Path) -> Case:
    names = {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    drawn(DistilBertForSequenceClassification, tiny_config(**names), folder)
    settings = classified(folder)
    rows = [{"text": text, "label": ("yes", "no")[number % 2]} for number, text in enumerate(TEXTS)]
    write_splits(folder / "data", rows)
    dataset = {**settings["dataset"], "label_map": {"yes": "LABEL_0", "no": "LABEL_0"}}
    return Case({**settings, "task_args": {}, "dataset": dataset}, Refused("task_args", ["is_regression: true"]))


@case("problem_type says several labels, task_args do not", "config.json")
def problem_type(folder: Path) -> Case:
    settings = {**_fitted(folder), "task_args": {}}
    edit(folder / "model" / "config.json", problem_type="multi_label_classification")
    return Case(settings, Refused("task_args", ["set task_args.is_multi_label: true"]))


# Folders that are something else


@case("an adapter that puts tokens before texts", "peft_type of peft")
def adapter(folder: Path) -> Case:
    settings = _fitted(folder)
    (folder / "model" / "model.safetensors").rename(folder / "model" / "adapter_model.safetensors")
    (folder / "model" / "config.json").unlink()
    about = {"peft_type": "PROMPT_TUNING", "base_model_name_or_path": "acme/base", "task_type": "SEQ_CLS"}
    edit(folder / "model" / "adapter_config.json", **about)
    says = ["is an adapter (PROMPT_TUNING) for acme/base", "kinds that can be merged are LORA"]
    return Case(settings, Refused(KEY, says))


@case("a LoRA adapter beside base weights", "adapter_config.json of peft")
def adapter_beside(folder: Path) -> Case:
    settings = _fitted(folder)
    about = {"peft_type": "LORA", "base_model_name_or_path": "acme/base", "task_type": "SEQ_CLS"}
    edit(folder / "model" / "adapter_config.json", **about)
    says = ["is an adapter (LORA) for acme/base", "with other weights beside it", "remove adapter_config.json or these"]
    return Case(settings, Refused(KEY, says))


@case("a SetFit model", "config_setfit.json of setfit")
def setfit(folder: Path) -> Case:
    drawn(DistilBertModel, tiny_config(), folder)
    edit(folder / "model" / "config_setfit.json", labels=list(TOPICS))
    return Case(classified(folder), Refused(KEY, ["SetFit", "task: feature-extraction"]))


@case("a folder with an ONNX file only", "planted: the model was fitted until it is right")
def onnx_only(folder: Path) -> Case:
    settings = _fitted(folder)
    (folder / "model" / "onnx").mkdir()
    export(folder / "model", folder / "model" / "onnx" / "model.onnx")
    (folder / "model" / "model.safetensors").unlink()
    return Case(settings, Right({"accuracy": 1.0}, notes=["The original is the ONNX file model.onnx"]))


@case("an ONNX file with its tokenizer one folder up", "planted: the model was fitted until it is right")
def onnx_file(folder: Path) -> Case:
    settings = _fitted(folder)
    file = export(folder / "model", folder / "model" / "onnx" / "model_float.onnx")
    return Case({**settings, KEY: str(file)}, Right({"accuracy": 1.0}, notes=["The original is the ONNX file"]))


@case("an ONNX file without a configuration", "planted")
def onnx_file_alone(folder: Path) -> Case:
    settings = _fitted(folder)
    file = export(folder / "model", folder / "model.onnx")
    return Case({**settings, KEY: str(file)}, Refused(KEY, ["has no config.json beside it or one folder up"]))


# Convolutions


def _convolutional(root: Path, **changes: Any) -> dict[str, Any]:
    """A random ResNet, and the settings of pictures for it."""
    settings = write_images(root, count=8)
    names = {"id2label": dict(enumerate(COLOURS)), "label2id": {name: number for number, name in enumerate(COLOURS)}}
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ResNetForImageClassification(ResNetConfig(**sizes, **names)).save_pretrained(root / "model")
    kept = {name: settings[name] for name in ("task", KEY, "dataset")}
    return {**kept, "quantization_approach": "static", "calibration": {"num_calibration_samples": 4}, **changes}


@case("a ResNet with the default operators", "layers of the PyTorch module: 6 convolutions, one linear")
def resnet(folder: Path) -> Case:
    settings = _convolutional(folder)
    return Case(settings, Right(notes=["none of the model's 6 convolutions is quantized", "add Conv"]))


@case("a ResNet with its convolutions", "layers of the PyTorch module: 6 convolutions, one linear")
def resnet_quantized(folder: Path) -> Case:
    return Case(_convolutional(folder, operators_to_quantize=["Conv", "MatMul"]), Right())
