"""Tiny folders of sentence-transformers, written by hand as its versions write them, and pairs of texts."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.support.fitted import save, tiny_config, tiny_tokenizer, write_splits
from tests.support.tiny_tasks import WORDS
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DistilBertModel

LEGACY = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
PAIRS = 40
PROMPTED: Mapping[str, Any] = {
    "sentence_bert_config__json": {"max_seq_length": 9},
    "config_sentence_transformers__json": {"prompts": {"q": "the rain : "}, "default_prompt_name": "q"},
}
"""A limit and a default prompt: files by name, `__` for the dot."""
EVERYTHING: Mapping[str, Any] = {
    "modules": (("2_Dense", "Dense"), ("3_Dense", "Dense")),
    "asked": {"prompt": "passage"},
    "declared": True,
    "1_Pooling/config__json": {
        "embedding_dimension": 32,
        "pooling_mode": ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"],
        "include_prompt": False,
    },
    "sentence_bert_config__json": {"max_seq_length": 20, "do_lower_case": True},
    "config_sentence_transformers__json": {"prompts": {"passage": "the rain : "}},
}
"""All poolings, two Dense, limit, lower case and a prompt that is chosen and left out."""


def write_sentence_model(
    folder: Path,
    pooling: str = "mean_tokens",
    modules: Sequence[tuple[str, str]] = (("2_Normalize", "Normalize"),),
    files: Mapping[str, Any] | None = None,
    **pooled: Any,
) -> Path:
    """A random model with ``modules.json``.

    Args:
        folder: to write to.
        pooling: what follows ``pooling_mode_``.
        modules: folder and type of those behind the pooling.
        files: further JSON files by name.
        pooled: further settings of the pooling.

    """
    torch.manual_seed(0)
    model = DistilBertModel(tiny_config())
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    save(model, tiny_tokenizer(), folder)
    listed = [("", "Transformer"), ("1_Pooling", "Pooling"), *modules]
    described = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(listed)
    ]
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in LEGACY}
    sizes = {"word_embedding_dimension": 32}
    written = {"modules.json": described, "1_Pooling/config.json": {**sizes, **modes, **pooled}, **(files or {})}
    for name, content in written.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def write_dense(folder: Path, given: int, made: int, seed: int = 1, kind: Any = torch.float32, **config: Any) -> None:
    """A random Dense in a folder of its own, from ``given`` to ``made`` numbers; ``kind`` is that of its weights."""
    generator = torch.Generator().manual_seed(seed)
    about = {"in_features": given, "out_features": made, "bias": True, **config}
    shapes = {"linear.weight": (made, given)}
    shapes |= {"linear.bias": (made,)} if about["bias"] else {}
    shapes |= {"residual.weight": (made, given)} if about.get("use_residual") and given != made else {}
    _write_module(
        folder, about, {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, kind
    )


def write_layer_norm(folder: Path, size: int) -> None:
    """A random LayerNorm in a folder of its own."""
    generator = torch.Generator().manual_seed(1)
    names = ("norm.weight", "norm.bias")
    _write_module(folder, {"dimension": size}, {name: torch.randn(size, generator=generator) for name in names})


def _write_module(
    folder: Path, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], kind: Any = torch.float32
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: value.to(kind) for name, value in weights.items()}, folder / "model.safetensors")


def texts(words: tuple[int, int] = (3, 12), count: int = PAIRS, seed: int = 0) -> list[str]:
    """Random texts of so many words."""
    generator = random.Random(seed)
    return [" ".join(generator.choice(WORDS) for _ in range(generator.randint(*words))) for _ in range(count)]


def write_pairs(root: Path, words: tuple[int, int] = (3, 12)) -> dict[str, Any]:
    """Pairs of texts with the cosine that sentence-transformers gives them by ``root/model``; the settings."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(root / "model"), device="cpu")
    first, second = texts(words, seed=1), texts(words, seed=2)
    vectors = [model.encode(part, normalize_embeddings=True) for part in (first, second)]
    scores = (vectors[0] * vectors[1]).sum(axis=1).tolist()
    rows = [{"a": a, "b": b, "score": score} for a, b, score in zip(first, second, scores, strict=True)]
    write_splits(root / "data", rows)
    dataset = {"path": str(root / "data"), "data_keys": {"primary": "a", "secondary": "b"}, "ref_keys": ["score"]}
    return {"task": "feature-extraction", "model_name_or_path": str(root / "model"), "dataset": dataset}


def often_without_answer(folder: Path) -> None:
    """Change a model's last layer until about half of its windows answer nothing, which their first token says."""
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        given = tokenizer(
            texts((30, 50), 50), return_tensors="pt", padding="max_length", max_length=64, truncation=True
        )
        found = model(**given, output_hidden_states=True)
        states = found.hidden_states[-1]
        towards = states[:, 0].mean(dim=0) - states[:, 1:].mean(dim=(0, 1))
        along = states @ towards
        behind = sum(scores[:, 1:].amax(dim=1) - scores[:, 0] for scores in (found.start_logits, found.end_logits))
        gained = 2 * (along[:, 0] - along[:, 1:].amax(dim=1))
        model.qa_outputs.weight += behind.median() / gained.median() * towards
    model.save_pretrained(folder)
