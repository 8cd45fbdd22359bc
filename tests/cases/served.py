"""Tokenizers and the models behind them: words as lists, tokens without embedding, padding, and the script's answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.cases.case import Answer, Case, Refused, Right, case
from tests.support.fitted import fit, fit_labels, save, tiny_config, tiny_tokenizer, write_splits
from tests.support.sentence_models import texts
from tests.support.tiny_models import tiny_vocabulary
from tests.support.tiny_tasks import TOPICS
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    BertTokenizerFast,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
)

from quantbench.served import pytorch
from quantbench.tasks import _text

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
NAMES = {"Anna": "B-PER", "Oslo": "B-LOC", "Lisbon": "B-LOC", "bank": "B-ORG", "1996": "B-MISC"}
LABELS = ("O", *sorted(set(NAMES.values())))


def _byte_level(folder: Path, kind: str) -> Any:
    """A byte-level BPE without a blank in front, as roberta-base has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(texts(count=60), trainer)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", model_max_length=128, **names
    )
    whole.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tokenizer_class": kind}))
    return AutoTokenizer.from_pretrained(folder)


@case("words as lists for a byte-level tokenizer saved without add_prefix_space", "planted: fitted on the joined text")
def words_as_lists(folder: Path) -> Case:
    sentences = [_text.split() for _text in texts((4, 10), 60)]
    tokenizer = _byte_level(folder / "model", "RobertaTokenizer")
    spaced = AutoTokenizer.from_pretrained(folder / "model", add_prefix_space=True)
    encoded = spaced(sentences, is_split_into_words=True, padding=True, return_tensors="pt")
    assert (
        spaced(sentences[0], is_split_into_words=True)["input_ids"] == tokenizer(" " + " ".join(sentences[0])).input_ids
    )
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(LABELS)),
        label2id={name: number for number, name in enumerate(LABELS)},
    )
    torch.manual_seed(0)
    model = RobertaForTokenClassification(config)
    wanted = torch.full(encoded["input_ids"].shape, -100)
    for row, words in enumerate(sentences):
        for token, word in enumerate(encoded.word_ids(row)):
            if word is not None:
                wanted[row, token] = LABELS.index(NAMES.get(words[word], "O"))
    known = wanted >= 0
    fit(
        model,
        {name: encoded[name] for name in ("input_ids", "attention_mask")},
        lambda outputs: torch.nn.functional.cross_entropy(outputs.logits[known], wanted[known]),
        lambda outputs: bool((outputs.logits.argmax(-1)[known] == wanted[known]).all()),
    )
    model.save_pretrained(folder / "model")
    rows = [{"tokens": words, "tags": [NAMES.get(word, "O") for word in words]} for words in sentences]
    write_splits(folder / "data", rows)
    return Case(_tagging(folder), Right({"f1": 1.0, "accuracy": 1.0}, examples=60))


def _tagging(folder: Path) -> dict[str, Any]:
    dataset = {"path": str(folder / "data"), "data_keys": {"primary": "tokens"}, "ref_keys": ["tags"]}
    return {"task": "token-classification", "model_name_or_path": str(folder / "model"), "dataset": dataset}


def _ids_of_words(folder: Path, kind: str) -> Answer:
    tokenizer = _byte_level(folder, kind)
    GPT2Config(vocab_size=len(tokenizer)).save_pretrained(folder)
    words = ["Anna", "'s", "don't", ".", "won", "the", "1996"]
    found = _text.WordProcessor(folder).encode([words])["input_ids"][0]
    right = list(tokenizer(" " + " ".join(words))["input_ids"])
    return Answer(list(found), right, f"{len(found)} tokens, the same as of the text “ {' '.join(words)}”")


@case("words as lists, tokens of a GPT-2 tokenizer", "transformers on the joined text")
def words_of_gpt2(folder: Path) -> Answer:
    return _ids_of_words(folder, "GPT2Tokenizer")


@case("words as lists, tokens of a DeBERTa tokenizer", "transformers on the joined text")
def words_of_deberta(folder: Path) -> Answer:
    return _ids_of_words(folder, "DebertaTokenizer")


@case("words as lists, tokens of a ModernBERT tokenizer", "transformers on the joined text")
def words_of_modernbert(folder: Path) -> Answer:
    return _ids_of_words(folder, "PreTrainedTokenizerFast")


@case("words as lists, tokens of a Qwen2 tokenizer", "transformers on the joined text")
def words_of_qwen2(folder: Path) -> Answer:
    return _ids_of_words(folder, "Qwen2Tokenizer")


@case("words without a token", "run_ner of transformers, which leaves them out")
def words_without_token(folder: Path) -> Case:
    vocabulary = tiny_vocabulary(("Ada", "lives", "in", "Oslo"))
    tokenizer = BertTokenizerFast(vocab=vocabulary, do_lower_case=False, model_max_length=64)
    sentences = [["Ada", "\u200b", "", "\ufe0f", "lives"], ["Ada", "lives", "in", "Oslo"]]
    tags = [["B-PER", "I-PER", "O", "O", "O"], ["B-PER", "O", "O", "O"]]
    labels = ("O", "B-PER", "I-PER")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
    )
    torch.manual_seed(0)
    model = BertForTokenClassification(config)
    encoded = tokenizer(sentences, is_split_into_words=True, padding=True, return_tensors="pt")
    wanted = torch.full(encoded["input_ids"].shape, -100)
    for row, names in enumerate(tags):
        for token, word in enumerate(encoded.word_ids(row)):
            if word is not None:
                wanted[row, token] = labels.index(names[word])
    known = wanted >= 0
    fit(
        model,
        dict(encoded),
        lambda outputs: torch.nn.functional.cross_entropy(outputs.logits[known], wanted[known]),
        lambda outputs: bool((outputs.logits.argmax(-1)[known] == wanted[known]).all()),
    )
    save(model, tokenizer, folder / "model")
    rows = [{"tokens": words, "tags": names} for words, names in zip(sentences, tags, strict=True)]
    write_splits(folder / "data", rows)
    return Case(
        _tagging(folder), Right({"f1": 1.0, "accuracy": 1.0}, notes=["2 words of the evaluation set have no token"])
    )


def _with_tokens_added(folder: Path, row: str) -> dict[str, Any]:
    model, tokenizer = DistilBertForSequenceClassification(tiny_config(TOPICS)), tiny_tokenizer()
    fit_labels(model, tokenizer, texts(count=6), (0, 1, 2, 0, 1, 2))
    tokenizer.add_tokens(["<a>", "<b>", "<c>"])
    save(model, tokenizer, folder / "model")
    numbers = (0, 1, 2, 0, 1, 2)
    given = [*texts(count=6)[:5], row or texts(count=6)[5]]
    rows = [{"text": one, "label": TOPICS[n]} for one, n in zip(given, numbers, strict=True)]
    write_splits(folder / "data", rows)
    dataset = {"path": str(folder / "data"), "data_keys": {"primary": "text"}, "ref_keys": ["label"]}
    return {"task": "text-classification", "model_name_or_path": str(folder / "model"), "dataset": dataset}


@case("tokens that were added without resizing the model, and that no text has", "planted")
def more_tokens_than_rows(folder: Path) -> Case:
    return Case(_with_tokens_added(folder, ""), Right({"accuracy": 1.0}, examples=6))


@case("a text with a token that the model has no embedding of", "planted")
def token_without_embedding(folder: Path) -> Case:
    settings = _with_tokens_added(folder, "the team <b> won")
    return Case(settings, Refused("dataset.data_keys", ["row 6 has the token '<b>'"]))


@case("a GPT-like classifier without a token to pad with: alone and in a batch", "transformers, each text alone")
def gpt_alone_and_in_a_batch(folder: Path) -> Answer:
    model, tokenizer = _gpt(folder)
    given = texts((2, 12), 8)
    alone = []
    for one in given:
        with torch.inference_mode():
            alone.append(model(**tokenizer(one, return_tensors="pt")).logits[0].tolist())
    processor = _text.TextProcessor(folder)
    session = pytorch.load(str(folder), {"auto_class": "AutoModelForSequenceClassification"}, 1)
    got = session.predict(processor.collate(processor.inputs(processor.encode(given))))[0]
    told = f"the logits of {len(given)} texts in a batch are those of each alone"
    return Answer(np.ravel(got).tolist(), np.ravel(alone).tolist(), told, tolerance=1e-4)


def _gpt(folder: Path) -> tuple[Any, Any]:
    _byte_level(folder, "GPT2Tokenizer")
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "pad_token"}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    names = {"id2label": dict(enumerate(TOPICS)), "label2id": {name: number for number, name in enumerate(TOPICS)}}
    config = GPT2Config(
        vocab_size=len(tokenizer), n_layer=2, n_embd=32, n_head=4, n_positions=64, pad_token_id=None, **names
    )
    torch.manual_seed(0)
    model = GPT2ForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    return model, tokenizer


@case("a GPT-like classifier without a token to pad with", "transformers, each text alone")
def gpt_without_padding(folder: Path) -> Case:
    model, tokenizer = _gpt(folder / "model")
    rows = []
    for one in texts((2, 12), 12):
        with torch.inference_mode():
            rows.append(
                {"text": one, "label": TOPICS[int(model(**tokenizer(one, return_tensors="pt")).logits.argmax())]}
            )
    write_splits(folder / "data", rows)
    dataset = {"path": str(folder / "data"), "data_keys": {"primary": "text"}, "ref_keys": ["label"]}
    settings = {"task": "text-classification", "model_name_or_path": str(folder / "model"), "dataset": dataset}
    return Case({**settings, "input_lengths": [8]}, Right({"accuracy": 1.0}, notes=["names a token to pad with"]))
