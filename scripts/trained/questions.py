"""Question answering: the English part of XQuAD (Artetxe et al., 2020, CC BY-SA 4.0), split by article."""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding

from trained.fitting import encoder_folder, fit, save, write_splits

EPOCHS, RATE = 4, 3e-4
VALIDATION = 500
"""Questions of the validation split at least; the articles that they are about are not trained on."""
FEATURES = Features(
    {
        "id": Value("string"),
        "title": Value("string"),
        "question": Value("string"),
        "context": Value("string"),
        "answers": {"text": List(Value("string")), "answer_start": List(Value("int32"))},
    }
)


def read(corpus: Path) -> list[list[dict[str, Any]]]:
    """The questions of each article, in the columns of SQuAD."""
    articles = json.loads((corpus / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    return [
        [
            {
                "id": question["id"],
                "title": article.get("title", ""),
                "question": question["question"],
                "context": paragraph["context"],
                "answers": {key: [answer[key] for answer in question["answers"]] for key in ("text", "answer_start")},
            }
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        for article in articles
    ]


def split(articles: list[list[dict[str, Any]]]) -> dict[str, Dataset]:
    """The last articles for validation, the others to train on."""
    held: list[dict[str, Any]] = []
    remaining = list(articles)
    while len(held) < VALIDATION:
        held = [*remaining.pop(), *held]
    training = [row for article in remaining for row in article]
    parts = {"train": training, "validation": held}
    return {name: Dataset.from_list(rows, features=FEATURES) for name, rows in parts.items()}


def windows(rows: Dataset, tokenizer: Any) -> list[dict[str, Any]]:
    """Windows of contexts that hold the first answer whole, with its first and last token."""
    found = []
    for row in rows:
        encoded = tokenizer(
            row["question"],
            row["context"],
            truncation="only_second",
            max_length=384,
            stride=128,
            return_overflowing_tokens=True,
        )
        start = row["answers"]["answer_start"][0]
        end = start + len(row["answers"]["text"][0]) - 1
        for index in range(len(encoded["input_ids"])):
            first, last = encoded.char_to_token(index, start, 1), encoded.char_to_token(index, end, 1)
            if first is not None and last is not None:
                inputs = {name: encoded[name][index] for name in tokenizer.model_input_names}
                found.append({**inputs, "start_positions": first, "end_positions": last})
    return found


def build(corpora: Path, folder: Path) -> None:
    """Write model and data."""
    splits = split(read(corpora / "xquad"))
    write_splits(folder / "data", splits)
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder())
    model = AutoModelForQuestionAnswering.from_pretrained(encoder_folder())
    rows = Dataset.from_list(windows(splits["train"], tokenizer))
    fit(model, rows, DataCollatorWithPadding(tokenizer), EPOCHS, RATE, by_length=True)
    save(model, tokenizer, folder / "model")
