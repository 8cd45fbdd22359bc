"""Whether the export of a model computes what PyTorch computes, text by text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.cases.case import Case, Failed, Refused, Right, case
from tests.cases.models import KEY, NAMES, SIZES, TEXTS, classified, drawn, edit, embedded
from tests.support.fitted import tiny_tokenizer, write_splits
from tests.support.tiny_tasks import TOPICS, WORDS
from transformers import (
    EuroBertConfig,
    EuroBertModel,
    FNetConfig,
    FNetModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    NomicBertConfig,
    NomicBertModel,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)
from transformers.dynamic_module_utils import get_class_from_dynamic_module


def _long_texts(shortest: int, longest: int, count: int = 12) -> list[str]:
    generator = random.Random(0)
    lengths = [shortest, longest, *(generator.randint(shortest, longest) for _ in range(count - 2))]
    return [" ".join(generator.choice(WORDS) for _ in range(length - 2)) for length in lengths]


def _as_pytorch_has_it(root: Path, model: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Settings with the labels that PyTorch gives each text alone, so that the right accuracy is 1."""
    tokenizer = tiny_tokenizer(256)
    with torch.inference_mode():
        numbers = [int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) for text in texts]
    return {**classified(root, texts, numbers), "quantization_approach": "none"}


@case("BigBird with block-sparse attention, texts of 62 to 202 tokens", "PyTorch, text by text")
def big_bird(folder: Path) -> Case:
    from transformers import BigBirdConfig, BigBirdForSequenceClassification

    sparse = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1}
    model = drawn(BigBirdForSequenceClassification, BigBirdConfig(**SIZES, **NAMES, **sparse), folder)
    settings = _as_pytorch_has_it(folder, model, _long_texts(62, 202))
    return Case(settings, Failed(["differs from PyTorch by", "at 202 tokens", "froze", "62 to 202 tokens"]))


@case("BigBird with block-sparse attention, texts that are too short for it", "PyTorch, text by text")
def big_bird_short(folder: Path) -> Case:
    from transformers import BigBirdConfig, BigBirdForSequenceClassification

    sparse = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1}
    model = drawn(BigBirdForSequenceClassification, BigBirdConfig(**SIZES, **NAMES, **sparse), folder)
    settings = _as_pytorch_has_it(folder, model, _long_texts(5, 26))
    return Case(settings, Right({"accuracy": 1.0}, arm="onnx-float", quiet=True))


@case("Longformer, texts of 22 to 122 tokens", "PyTorch, text by text")
def longformer(folder: Path) -> Case:
    from transformers import LongformerConfig, LongformerForSequenceClassification

    config = LongformerConfig(**SIZES, **NAMES, attention_window=[8, 8], sep_token_id=3, bos_token_id=2)
    model = drawn(LongformerForSequenceClassification, config, folder, limit=200)
    settings = _as_pytorch_has_it(folder, model, _long_texts(22, 122))
    return Case(settings, Failed(["the export cannot be run at 122 tokens", "froze"]))


@case("a module of its own that decides by the length", "PyTorch, text by text")
def own_code_by_length(folder: Path) -> Case:
    settings = _own_code(folder, "x = x * 2 if x.shape[1] > 16 else x", _long_texts(5, 60))
    return Case(settings, Failed(["differs from PyTorch by", "at 60 tokens", "froze"]))


@case("a model with code of its own", "PyTorch, text by text")
def own_code(folder: Path) -> Case:
    settings = {**_own_code(folder, "pass", _long_texts(5, 60)), "quantization_approach": "dynamic"}
    return Case(settings, Right({"accuracy": 1.0}, arm="onnx-float", quiet=True))


@case("a model with code of its own, without permission", "planted")
def own_code_forbidden(folder: Path) -> Case:
    settings = {**_own_code(folder, "pass", TEXTS), "trust_remote_code": False}
    return Case(settings, Refused(KEY, ["trust_remote_code: true"]))


OWN_MODEL = """
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from .configuration_own import OwnConfig

class OwnForSequenceClassification(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(config.vocab_size, 32)
        self.classifier = torch.nn.Linear(32, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask):
        x = self.table(input_ids) * attention_mask[..., None]
        DECISION
        return SequenceClassifierOutput(logits=self.classifier(x.sum(1)))
"""
OWN_CONFIG = """
from transformers import PretrainedConfig

class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, vocab_size=1000, **options):
        self.vocab_size = vocab_size
        super().__init__(**options)
"""


def write_own(folder: Path, decision: str) -> Any:
    """A classifier whose architecture lies in its folder; the loaded module."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "modeling_own.py").write_text(OWN_MODEL.replace("DECISION", decision))
    (model / "configuration_own.py").write_text(OWN_CONFIG)
    names = {"id2label": {str(n): name for n, name in enumerate(TOPICS)}, "label2id": NAMES["label2id"]}
    code = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForSequenceClassification": "modeling_own.OwnForSequenceClassification",
    }
    edit(
        model / "config.json",
        model_type="own",
        architectures=["OwnForSequenceClassification"],
        auto_map=code,
        vocab_size=SIZES["vocab_size"],
        **names,
    )
    tiny_tokenizer(200).save_pretrained(model)
    generator = torch.Generator().manual_seed(0)
    shapes = {"table.weight": (SIZES["vocab_size"], 32), "classifier.weight": (3, 32), "classifier.bias": (3,)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    class_name = code["AutoModelForSequenceClassification"]
    return get_class_from_dynamic_module(class_name, str(model)).from_pretrained(model).eval()


def _own_code(root: Path, decision: str, texts: Sequence[str]) -> dict[str, Any]:
    """Settings of a classifier with code of its own, with the labels that PyTorch gives each text alone."""
    model = write_own(root, decision)
    return {**_as_pytorch_has_it(root, model, texts), "trust_remote_code": True}


@case("a T5 encoder as sentence-transformers saves it", "T5EncoderModel of transformers")
def t5_encoder(folder: Path) -> Case:
    config = T5Config(vocab_size=SIZES["vocab_size"], d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    drawn(T5EncoderModel, config, folder)
    return Case(embedded(folder), Right({"cosine": 1.0}, arm="onnx-float", tolerance=1e-5))


@case("FNet, whose Fourier transform ONNX's exporter does not know", "torch.onnx")
def fnet(folder: Path) -> Case:
    sizes = {name: value for name, value in SIZES.items() if name != "num_attention_heads"}
    drawn(FNetModel, FNetConfig(**sizes), folder)
    told = ["computes with complex numbers (fft_fftn), which only the newer exporter", "set framework_args.opset to 18"]
    return Case(embedded(folder), Refused("framework_args.opset", told))


def _encoder(name: str, make: Callable[[], Any]) -> None:
    @case(f"{name}, embeddings of texts of 4 to 60 tokens", f"{name} of transformers, text by text")
    def encoder(folder: Path) -> Case:
        drawn(type(make()), make().config, folder)
        settings = embedded(folder)
        write_splits(folder / "data", [{"text": text} for text in _long_texts(4, 60)])
        settings |= {"quantization_approach": "none", "metrics": ["lowest_cosine"]}
        return Case(settings, Right({"lowest_cosine": 1.0}, arm="onnx-float", tolerance=1e-5))


GROUPED = {**SIZES, "num_key_value_heads": 2}
BOTH_WAYS = {
    "head_dim": 8,
    "use_bidirectional_attention": True,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}
_encoder("EuroBERT", lambda: EuroBertModel(EuroBertConfig(**GROUPED, bos_token_id=2, eos_token_id=3)))
_encoder("NomicBERT", lambda: NomicBertModel(NomicBertConfig(**SIZES)))
_encoder("Gemma 3 in both directions", lambda: Gemma3TextModel(Gemma3TextConfig(**GROUPED, **BOTH_WAYS)))
_encoder("Qwen3", lambda: Qwen3Model(Qwen3Config(**GROUPED, head_dim=8)))
