"""Folders of sentence-transformers: what they say of pooling, limit and prompt is done, or refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cases.case import Case, Refused, Right, case
from tests.support.sentence_models import write_dense, write_pairs, write_sentence_model

REFERENCE = "sentence-transformers on the same folder"


def _right(folder: Path, *notes: str, words: tuple[int, int] = (3, 12), **changes: Any) -> Case:
    return Case({**write_pairs(folder, words), **changes}, Right({"spearmanr": 1.0}, examples=40, notes=notes))


def _refused(folder: Path, *says: str, key: str = "model_name_or_path", **changes: Any) -> Case:
    data = {"path": str(folder), "data_keys": {"primary": "a"}, "ref_keys": []}
    settings = {"task": "feature-extraction", "model_name_or_path": str(folder / "model"), "dataset": data}
    return Case({**settings, **changes}, Refused(key, says))


@case("the mean that a folder declares", REFERENCE)
def mean(folder: Path) -> Case:
    write_sentence_model(folder / "model")
    return _right(folder, "pooling mean")


@case("the CLS pooling that a folder declares", REFERENCE)
def cls(folder: Path) -> Case:
    write_sentence_model(folder / "model", "cls_token")
    return _right(folder, "pooling cls")


@case("the last token's state that a folder declares", REFERENCE)
def last(folder: Path) -> Case:
    write_sentence_model(folder / "model", "lasttoken", modules=())
    return _right(folder, "pooling lasttoken")


@case("the pooling in the form of sentence-transformers 6", REFERENCE)
def pooling_mode(folder: Path) -> Case:
    model = write_sentence_model(folder / "model")
    (model / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 32, "pooling_mode": "cls"}')
    return _right(folder, "pooling cls")


@case("a length limit of sentence-transformers", REFERENCE)
def limit(folder: Path) -> Case:
    write_sentence_model(folder / "model", files={"sentence_bert_config.json": {"max_seq_length": 16}})
    return _right(folder, "at most 16 tokens", words=(30, 50))


@case("a default prompt of sentence-transformers", REFERENCE)
def prompt(folder: Path) -> Case:
    prompts = {"prompts": {"query": "query : "}, "default_prompt_name": "query"}
    write_sentence_model(folder / "model", files={"config_sentence_transformers.json": prompts})
    return _right(folder, "the prompt 'query : '")


@case("lower case that a folder asks for", REFERENCE)
def lower(folder: Path) -> Case:
    write_sentence_model(folder / "model", files={"sentence_bert_config.json": {"do_lower_case": True}})
    return _right(folder, "in lower case")


@case("another pooling than the folder's", "planted")
def disagree(folder: Path) -> Case:
    write_sentence_model(folder / "model", "cls_token")
    settings = write_pairs(folder)
    return Case({**settings, "task_args": {"pooling": "mean"}}, Refused("task_args.pooling", ["says cls"]))


@case("a Dense behind the pooling", REFERENCE)
def dense(folder: Path) -> Case:
    model = write_sentence_model(folder / "model", modules=(("2_Dense", "Dense"), ("3_Normalize", "Normalize")))
    write_dense(model / "2_Dense", 32, 16)
    return _right(folder, "Dense from 32 to 16 with Tanh")


@case("the maximum over tokens as pooling", REFERENCE)
def maximum(folder: Path) -> Case:
    write_sentence_model(folder / "model", "max_tokens")
    return _right(folder, "pooling max")


@case("a mean weighted by position as pooling", REFERENCE)
def weighted(folder: Path) -> Case:
    write_sentence_model(folder / "model", "weightedmean_tokens")
    return _right(folder, "pooling weightedmean")


@case("a prompt that is left out of the mean", REFERENCE)
def prompt_left_out(folder: Path) -> Case:
    prompts = {"prompts": {"query": "query : "}, "default_prompt_name": "query"}
    files = {"config_sentence_transformers.json": prompts}
    write_sentence_model(folder / "model", files=files, include_prompt=False)
    return _right(folder, "pooling mean without the prompt", "the prompt 'query : '")


@case("a module of sentence-transformers that is not known", "planted")
def unknown(folder: Path) -> Case:
    write_sentence_model(folder / "model", modules=(("2_LSTM", "LSTM"),))
    return _refused(folder, "names the module LSTM")


@case("a prompt that the folder has not", "planted")
def no_prompt(folder: Path) -> Case:
    prompts = {"prompts": {"query": "query : "}}
    write_sentence_model(folder / "model", files={"config_sentence_transformers.json": prompts})
    settings = {**write_pairs(folder), "task_args": {"prompt": "passage"}}
    return Case(settings, Refused("task_args.prompt", ["has the prompts query"]))


@case("a folder of sparse embeddings", "planted")
def sparse(folder: Path) -> Case:
    files = {"config_sentence_transformers.json": {"model_type": "SparseEncoder"}}
    write_sentence_model(folder / "model", files=files)
    return _refused(folder, "SparseEncoder")
