"""The folder that is deployed answers as transformers and sentence-transformers do with the original."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tests.cases.case import Answer, case
from tests.cases.labels import MATRIX, TEXTS, sets, settings
from tests.support.deployed import deployed
from tests.support.fitted import fit_labels, fit_spans, tiny_config, tiny_tokenizer, write_splits
from tests.support.sentence_models import write_pairs, write_sentence_model
from tests.support.tiny_tasks import TOPICS
from transformers import DistilBertForQuestionAnswering, DistilBertForSequenceClassification

from quantbench.served import command

UNLIMITED = int(1e30)
"""What a tokenizer without model_max_length says."""
POSITIONS = 128


def _answers(root: Path, found: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """What the float model's script answers; int8 would add its own error to what is compared."""
    served = command.read(deployed(root, {**found, "quantization_approach": "none", "batch_sizes": []})[0])
    return served.answer(rows, served.processor())


def _logits(fitted: tuple[Any, Any], *texts: str) -> torch.Tensor:
    """Of one text or pair, by the original."""
    model, tokenizer = fitted
    with torch.inference_mode():
        encoded = tokenizer(*texts, truncation=True, max_length=POSITIONS, return_tensors="pt")
        return model(**encoded).logits[0]


@case("embeddings of the script, of a folder that declares CLS", "sentence-transformers on the model's folder")
def embedding(folder: Path) -> Answer:
    from sentence_transformers import SentenceTransformer

    write_sentence_model(folder / "model", "cls_token")
    (answer,) = _answers(folder, write_pairs(folder), [{"primary": TEXTS[0]}])
    right = SentenceTransformer(str(folder / "model"), device="cpu").encode(TEXTS[0], normalize_embeddings=True)
    told = f"the vector of {len(right)} numbers is that of sentence-transformers"
    return Answer(answer["embedding"], right.tolist(), told, tolerance=1e-5)


@case("the folder that is deployed, of a folder that declares CLS and a limit", "sentence-transformers on both folders")
def folder_of_embeddings(folder: Path) -> Answer:
    """The weights of the original stand in for the ONNX file, which sentence-transformers reads by optimum only."""
    from sentence_transformers import SentenceTransformer

    limit = {"sentence_bert_config.json": {"max_seq_length": 6}}
    write_sentence_model(folder / "model", "cls_token", files=limit)
    found = {**write_pairs(folder), "quantization_approach": "none", "batch_sizes": []}
    target = deployed(folder, found)[0]
    shutil.copy(folder / "model" / "model.safetensors", target)
    got, right = (
        SentenceTransformer(str(place), device="cpu").encode(" ".join(TEXTS)).tolist()
        for place in (target, folder / "model")
    )
    return Answer(got, right, "modules.json, pooling and limit lie there, the vectors are equal", tolerance=1e-5)


@case("several labels by the script", "sigmoid of the original's logits by transformers")
def several_labels(folder: Path) -> Answer:
    rows = [{"text": text, "label": list(row)} for text, row in zip(TEXTS, MATRIX, strict=True)]
    write_splits(folder / "data", rows)
    found = {**settings(folder, sets()), "task_args": {"is_multi_label": True}}
    answers = _answers(folder, found, [{"primary": text} for text in TEXTS])
    assert [answer["labels"] for answer in answers] == [
        [name for name, holds in zip(TOPICS, row, strict=True) if holds] for row in MATRIX
    ]
    got = [answer["scores"][name] for answer in answers for name in TOPICS]
    right = [share for text in TEXTS for share in _logits(sets(), text).sigmoid().tolist()]
    none, whole = (" ".join(f"{value:.2f}" for value in got[3 * row : 3 * row + 3]) for row in (1, 5))
    told = f"shares of each label by itself: {none} where none holds, {whole} where all three hold"
    return Answer(got, right, told, tolerance=1e-4)


@case("a text of 600 words for the script, tokenizer without model_max_length", "transformers, cut at 128 tokens")
def long_text(folder: Path) -> Answer:
    texts = [" ".join([word] * 600) for word in ("team", "bank", "rain")]
    fitted = DistilBertForSequenceClassification(tiny_config(TOPICS)), tiny_tokenizer()
    fit_labels(*fitted, texts, range(3))
    write_splits(folder / "data", [{"text": text, "label": TOPICS[n]} for n, text in enumerate(texts)])
    found = settings(folder, (fitted[0], tiny_tokenizer(UNLIMITED)))
    answers = _answers(folder, found, [{"primary": text} for text in texts])
    got = [answer["scores"][name] for answer in answers for name in TOPICS]
    right = [share for text in texts for share in _logits(fitted, text).softmax(-1).tolist()]
    return Answer(got, right, f"{', '.join(answer['label'] for answer in answers)}, as scored", tolerance=1e-4)


@case("pairs for the script", "transformers on the pair")
def pairs(folder: Path) -> Answer:
    names = ("no", "yes")
    both = [(first, second) for first in TEXTS[:4] for second in TEXTS[:4]]
    numbers = [int(first == second) for first, second in both]
    fitted = DistilBertForSequenceClassification(tiny_config(names)), tiny_tokenizer()
    fit_labels(*fitted, both, numbers)
    rows = [{"a": a, "b": b, "label": names[number]} for (a, b), number in zip(both, numbers, strict=True)]
    write_splits(folder / "data", rows)
    found = settings(folder, fitted, data_keys={"primary": "a", "secondary": "b"})
    answers = _answers(folder, found, [{"primary": a, "secondary": b} for a, b in both])
    assert [answer["label"] for answer in answers] == [names[number] for number in numbers]
    got = [answer["scores"]["yes"] for answer in answers]
    right = [float(_logits(fitted, a, b).softmax(-1)[1]) for a, b in both]
    return Answer(got, right, f"yes {got[0]:.2f} for a text beside itself, {got[1]:.2f} beside another", tolerance=1e-4)


WINDOW, STRIDE = 64, 16


@case(
    "a question for the script, its answer behind the first window", "planted: the model was fitted until it is right"
)
def long_context(folder: Path) -> Answer:
    context = "the match . " * 60 + "the team won over Oslo ."
    asked, tokenizer = "team won over", tiny_tokenizer()
    windows = tokenizer(
        asked, context, truncation="only_second", max_length=WINDOW, stride=STRIDE, padding="max_length",
        return_overflowing_tokens=True, return_tensors="pt",
    )  # fmt: skip
    inputs = {name: windows[name] for name in ("input_ids", "attention_mask")}
    wanted = (windows["input_ids"] == tokenizer.convert_tokens_to_ids("Oslo")).int().argmax(-1)  # 0, CLS, where not
    assert len(wanted) > 3
    assert wanted.count_nonzero() == 1
    model = DistilBertForQuestionAnswering(tiny_config(qa_dropout=0.0))
    fit_spans(model, inputs, wanted, wanted)
    row = {"question": asked, "context": context}
    write_splits(folder / "data", [{**row, "label": {"text": ["Oslo"], "answer_start": [context.index("Oslo")]}}])
    keys = {name: name for name in row}
    found = settings(folder, (model, tokenizer), "question-answering", data_keys=keys)
    args = {"max_seq_len": WINDOW, "doc_stride": STRIDE, "handle_impossible": True}
    (answer,) = _answers(folder, {**found, "task_args": args}, [row])
    told = f"{answer['answer']}, from window {int(wanted.argmax()) + 1} of {len(wanted)}"
    return Answer(answer["answer"], "Oslo", told)
