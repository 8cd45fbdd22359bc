"""Folders of sentence-transformers in many combinations of modules, lengths and prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tests.support.sentence_models import texts, write_dense, write_layer_norm, write_sentence_model

WIDTH = 32
ALL = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
NORMALIZE = ("9_Normalize", "Normalize")
PROMPTS = {"prompts": {"query": "the rain : ", "passage": "bank bank team "}, "default_prompt_name": "query"}
PROMPTED = {"config_sentence_transformers.json": PROMPTS}
TORCH = "torch.nn.modules."


def short(words):
    return {"sentence_bert_config.json": {"max_seq_length": words}}


def dense(place, *sizes, **config):
    return lambda folder: write_dense(folder / place, *sizes, **config)


def norm(place, size):
    return lambda folder: write_layer_norm(folder / place, size)


@dataclass(frozen=True)
class Combination:
    """What a folder has, what is asked of us, and how sentence-transformers is asked for the same.

    Attributes:
        modules: folder and kind of those behind the pooling.
        pooled: settings of the pooling.
        files: further JSON files.
        write: what makes the folders of modules with weights.
        asked: our ``task_args``.
        encode: arguments of ``encode``.
        words: least and most in a text.
        change: of texts.
        varies: whether texts have different embeddings.

    """

    modules: tuple[tuple[str, str], ...] = (NORMALIZE,)
    pooled: Any = field(default_factory=dict)
    files: Any = field(default_factory=dict)
    write: tuple[Callable[[Path], Any], ...] = ()
    asked: Any = field(default_factory=dict)
    encode: Any = field(default_factory=dict)
    words: tuple[int, int] = (1, 30)
    change: Callable[[str], str] = str
    varies: bool = True


def pooled(*modes, **further):
    return {"pooling_mode": modes[0] if len(modes) == 1 else list(modes), **further}


def behind(*kinds, **further):
    """Modules numbered from 2."""
    return Combination(modules=tuple((f"{n}_{kind}", kind) for n, kind in enumerate(kinds, start=2)), **further)


COMBINATIONS = {
    **{mode: Combination((), pooled(mode)) for mode in ALL},
    **{f"{mode} without the prompt": Combination((), pooled(mode, include_prompt=False), PROMPTED) for mode in ALL},
    "all poolings in another order": Combination((), pooled(*ALL[::-1])),
    "switches of former versions": Combination(
        pooled={"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    ),
    "all poolings without the prompt": Combination(pooled=pooled(*ALL, include_prompt=False), files=PROMPTED),
    "normalized": Combination(),
    "Dense": behind("Dense", "Normalize", write=(dense("2_Dense", WIDTH, 16),)),
    "Dense alone, without bias": behind(
        "Dense", write=(dense("2_Dense", WIDTH, 48, bias=False, activation_function=f"{TORCH}linear.Identity"),)
    ),
    "several Dense, residual": behind(
        *("Dense", "Dense", "Dense", "Normalize"),
        write=(
            dense("2_Dense", WIDTH, WIDTH, use_residual=True, activation_function=f"{TORCH}activation.ReLU"),
            dense("3_Dense", WIDTH, 24, seed=2, use_residual=True, activation_function=f"{TORCH}activation.GELU"),
            dense("4_Dense", 24, 8, seed=3),
        ),
    ),
    "normalized before a Dense": behind("Normalize", "Dense", write=(dense("3_Dense", WIDTH, 16),)),
    "concatenation into a Dense": behind(
        "Dense", pooled=pooled("mean", "max"), write=(dense("2_Dense", 2 * WIDTH, 16),), files=PROMPTED
    ),
    "a Dense of tokens and one of texts": Combination(
        (("2_Dense", "Dense"), ("3_Pooling", "Pooling"), ("4_Dense", "Dense"), NORMALIZE),
        write=(
            dense("2_Dense", WIDTH, 16, module_input_name="token_embeddings"),
            dense("4_Dense", 16, 12, module_output_name="sentence_embedding"),
        ),
        files={"3_Pooling/config.json": {"embedding_dimension": 16, "pooling_mode": "weightedmean"}},
    ),
    "LayerNorm and Dropout": behind("LayerNorm", "Dropout", write=(norm("2_LayerNorm", WIDTH),)),
    "bfloat16 in a Dense": behind("Dense", write=(dense("2_Dense", WIDTH, 16, kind=torch.bfloat16),)),
    "float16 in a Dense": behind("Dense", write=(dense("2_Dense", WIDTH, 16, kind=torch.float16),)),
    **{
        f"activation {name}": behind(
            "Dense", write=(dense("2_Dense", WIDTH, 16, activation_function=f"{TORCH}activation.{name}"),)
        )
        for name in ("Tanh", "ReLU", "Sigmoid", "GELU", "SiLU", "ELU", "LeakyReLU")
    },
    "short texts": Combination(files=short(9)),
    "short texts with a prompt that is left out": Combination(
        pooled=pooled("mean", "cls", include_prompt=False), files={**short(7), **PROMPTED}
    ),
    "a prompt as long as the limit": Combination(
        pooled=pooled("mean", include_prompt=False), files={**short(4), **PROMPTED}, varies=False
    ),
    "in lower case": Combination(
        files={"sentence_bert_config.json": {"do_lower_case": True}}, change=lambda text: f"[SEP] {text.upper()} ΑΣ"
    ),
    "default prompt": Combination(files=PROMPTED),
    "prompt by name": Combination(
        files=PROMPTED, asked={"prompt": "passage"}, encode={"prompt_name": "passage"}, words=(1, 4)
    ),
    "prompt as text": Combination(
        files=PROMPTED, asked={"prompt": "the team: "}, encode={"prompt": "the team: "}, words=(1, 4)
    ),
    "no prompt instead of the default": Combination(
        pooled=pooled("mean", include_prompt=False), files=PROMPTED, asked={"prompt": ""}, encode={"prompt": ""}
    ),
    "a prompt that every model has": Combination(
        files=PROMPTED, asked={"prompt": "document"}, encode={"prompt_name": "document"}
    ),
}


def write(root, asked):
    """The folder of the combination, data and our settings."""
    files = dict(asked.files)
    if "pooling_mode" in asked.pooled:
        files["1_Pooling/config.json"] = {"embedding_dimension": WIDTH, **asked.pooled}
    model = write_sentence_model(root / "model", modules=asked.modules, files=files, **asked.pooled)
    for make in asked.write:
        make(model)
    given = [asked.change(text) for text in texts(asked.words)]
    (root / "data").mkdir()
    for split in ("train", "validation"):
        Dataset.from_dict({"text": given}).to_parquet(root / "data" / f"{split}.parquet")
    dataset = {"path": str(root / "data"), "data_keys": {"primary": "text"}, "ref_keys": []}
    settings = {"task": "feature-extraction", "model_name_or_path": str(model), "dataset": dataset}
    return {**settings, "task_args": asked.asked}, given
