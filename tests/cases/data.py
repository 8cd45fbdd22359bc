"""Files and cells: what is missing in them, what looks like it, and forms in which the same data come."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image
from sklearn.metrics import accuracy_score
from tests.cases.case import Answer, Case, Refused, Right, case
from tests.cases.labels import NUMBERS, PLAIN, PLAIN_GIVEN, SENTENCES, TEXTS, classes, settings, tags
from tests.support.fitted import fit_spans, write_splits
from tests.support.tiny_tasks import COLOURS, TOPICS, write_images
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForQuestionAnswering

from quantbench.schema.settings import Dataset as Source
from quantbench.served.pictures import in_colours
from quantbench.sources.datasets import load_split
from quantbench.tasks import _squad

LABELS = tuple(TOPICS[number] for number in NUMBERS)
NO_NAMES: tuple[str, ...] = ("sport", "money", "None", "NA")


def _csv(folder: Path, rows: Sequence[str], names: tuple[str, ...] = TOPICS, **dataset: Any) -> dict[str, Any]:
    for split in ("train", "validation"):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return settings(folder, classes(names), **dataset)


def _rows(labels: Sequence[object] = LABELS, texts: Sequence[str] = TEXTS) -> list[str]:
    return [f"{text},{label}" for text, label in zip(texts, labels, strict=True)]


@case("a CSV with an empty text", "planted")
def empty_text(folder: Path) -> Case:
    found = _csv(folder, ["the team won,sport", ",weather", "rain fell,money", ",money"])
    return Case(found, Refused("dataset.data_keys", ["row 2 has no text in column 'text' (and in 1 more row)"]))


@case("the texts NA, null, None and nan in a CSV", "transformers on these texts")
def words_for_nothing(folder: Path) -> Case:
    texts, numbers = ("NA", "null", "None", "nan"), (0, 1, 2, 0)
    model, tokenizer = classes()
    given = [int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) for text in texts]
    right = {"accuracy": accuracy_score(numbers, given)}
    rows = _rows([TOPICS[number] for number in numbers], texts)
    return Case(_csv(folder, rows), Right(right, examples=4, quiet=True))


@case("a CSV with an empty label where a class is called None", "scikit-learn without that row")
def empty_label(folder: Path) -> Case:
    rows = ["Oslo,sport", "Oslo,", "Oslo,money", "Oslo,None"]
    model, tokenizer = classes(NO_NAMES)
    given = int(model(**tokenizer("Oslo", return_tensors="pt")).logits.argmax())
    right = {"accuracy": accuracy_score([0, 1, 2], [given] * 3)}
    notes = ["1 row without a label was left out: row 2"]
    return Case(_csv(folder, rows, NO_NAMES), Right(right, examples=3, notes=notes))


@case("a class called NA in a CSV", "planted: the model was fitted until it is right")
def class_na(folder: Path) -> Case:
    names = ("NA", "money", "null")
    return Case(_csv(folder, _rows([names[n] for n in NUMBERS]), names), Right({"accuracy": 1.0}, examples=8))


@case("whole numbers with an empty cell in a CSV", "planted: the model was fitted until it is right")
def empty_number(folder: Path) -> Case:
    found = _csv(folder, _rows([*NUMBERS[:2], "", *NUMBERS[3:]]), label_names=list(TOPICS))
    right = Right({"accuracy": 1.0}, examples=7, notes=["1 row without a label was left out: row 3"])
    return Case(found, right)


@case("a CSV of which no row has a label", "planted")
def no_labels(folder: Path) -> Case:
    return Case(_csv(folder, _rows([""] * 8)), Refused("dataset", ["no row of split 'validation'", "has a label"]))


@case("cells of a CSV: leading zeros, quotes, line ends, an empty column", "the rules of RFC 4180")
def cells_of_csv(folder: Path) -> Answer:
    file = folder / "data.csv"
    file.write_text('id,text,label,none\n007,"a, ""b""\nc",1,\n008,12,,\n')
    rows = load_split(Source(path=str(file), data_keys={"primary": "text"}), "train", "dataset.eval_split").to_list()
    right = [{"id": "007", "text": 'a, "b"\nc', "label": 1, "none": None}]
    right += [{"id": "008", "text": "12", "label": None, "none": None}]
    told = "007 and 12 stay texts, 1 is a number, quotes and a line end are kept in the cell, empty cells are missing"
    return Answer(str(rows), str(right), told)


@case("a pair without its similarity", "planted")
def no_similarity(folder: Path) -> Case:
    rows = [{"text": a, "other": b, "label": v} for a, b, v in zip(TEXTS, TEXTS[::-1], range(8), strict=True)]
    rows[1]["label"] = None
    write_splits(folder / "data", rows)
    keys = {"primary": "text", "secondary": "other"}
    found = settings(folder, classes(), "feature-extraction", data_keys=keys)
    return Case(found, Right(examples=7, notes=["1 row without a label was left out: row 2"]))


@case("a word that is missing", "planted")
def missing_word(folder: Path) -> Case:
    found = tags(folder, PLAIN_GIVEN, PLAIN_GIVEN, PLAIN)
    rows = [{"tokens": list(w), "label": list(t)} for w, t in zip(SENTENCES, PLAIN_GIVEN, strict=True)]
    rows[0]["tokens"][1] = None
    write_splits(folder / "data", rows)
    return Case(found, Refused("dataset.data_keys", ["row 1, word 2 is missing in column 'tokens'"]))


ALL = Right({"accuracy": 1.0}, examples=8, quiet=True)
FITTED = "planted: the model was fitted until it is right"


@case("words and labels as Polars stores them (large_string, large_list)", "planted: fitted")
def large_strings(folder: Path) -> Case:
    found = tags(folder, PLAIN_GIVEN, PLAIN_GIVEN, PLAIN)
    large = pyarrow.large_list(pyarrow.large_string())
    table = pyarrow.table({"tokens": pyarrow.array(SENTENCES, large), "label": pyarrow.array(PLAIN_GIVEN, large)})
    pyarrow.parquet.write_table(table, folder / "data" / "validation.parquet")
    return Case(found, Right({"f1": 1.0}, examples=4))


@case("labels as string_view and as a dictionary", FITTED)
def string_views(folder: Path) -> Case:
    found = _csv(folder, _rows())
    (folder / "data" / "validation.csv").unlink()
    texts, labels = pyarrow.array(TEXTS, pyarrow.string_view()), pyarrow.array(LABELS).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), folder / "data/validation.parquet")
    return Case(found, ALL)


@case("a test file without the column of labels beside sound splits", FITTED)
def other_split(folder: Path) -> Case:
    found = _csv(folder, _rows())
    (folder / "data" / "test.csv").write_text("id,sentence\n1,Oslo\n")
    return Case(found, ALL)


@case("files of one split with other columns", "planted")
def other_columns(folder: Path) -> Case:
    found = _csv(folder, _rows())
    (folder / "data" / "validation-2.csv").write_text("text,labels\nOslo,sport\n")
    says = ["validation.csv", "validation-2.csv", "has other columns than", "label, labels"]
    return Case(found, Refused("dataset.path", says))


def _moved(folder: Path, name: str) -> Case:
    found = _csv(folder, _rows())
    (folder / "data").rename(folder / name)
    return Case({**found, "dataset": {**found["dataset"], "path": str(folder / name)}}, ALL)


@case("a folder of data called csv", FITTED)
def called_csv(folder: Path) -> Case:
    return _moved(folder, "csv")


@case("a folder of data with [ and * in its name", FITTED)
def brackets(folder: Path) -> Case:
    found = _csv(folder, _rows())
    place = folder / "my [old]* data"
    write_splits(place, [{"text": a, "label": b} for a, b in zip(TEXTS, LABELS, strict=True)])
    return Case({**found, "dataset": {**found["dataset"], "path": str(place)}}, ALL)


@case("a file of another kind beside the splits", FITTED)
def beside(folder: Path) -> Case:
    found = _csv(folder, _rows())
    (folder / "data" / "ids.json").write_text('{"x": 1}')
    return Case(found, ALL)


def _file(folder: Path, name: str, content: bytes, right: Right | Refused) -> Case:
    (folder / name).write_bytes(content)
    found = settings(folder, classes(), path=str(folder / name), eval_split="train")
    return Case(found, right)


OVERLAP = Right({"accuracy": 1.0}, examples=8)
CSV = ("\n".join(["text,label", *_rows()]) + "\n").encode()


@case("a compressed CSV with an ending in capitals", FITTED)
def compressed(folder: Path) -> Case:
    return _file(folder, "DATA.CSV.GZ", gzip.compress(CSV), OVERLAP)


@case("a CSV in UTF-16", FITTED)
def utf_16(folder: Path) -> Case:
    return _file(folder, "data.csv", CSV.decode().encode("utf-16"), OVERLAP)


@case("a CSV in Latin-1", "planted")
def latin_1(folder: Path) -> Case:
    says = ["is not UTF-8 (byte 0xe9 in line 2)", "iconv"]
    return _file(folder, "data.csv", "text,label\né,sport\n".encode("latin-1"), Refused("dataset.path", says))


@case("calibration without labels", FITTED)
def calibration_without_labels(folder: Path) -> Case:
    found = {**_csv(folder, _rows()), "quantization_approach": "static", "calibration": {"num_calibration_samples": 8}}
    (folder / "data" / "train.csv").write_text("\n".join(["id,text", *(f"{n},{t}." for n, t in enumerate(TEXTS))]))
    return Case(found, Right({"accuracy": 1.0}, examples=8))


@case("rows of the calibration split among those of the evaluation split", "planted")
def overlapping(folder: Path) -> Case:
    found = {**_csv(folder, _rows()), "quantization_approach": "static", "calibration": {"num_calibration_samples": 4}}
    rows = ["text,label", *_rows()[:2], *(f"{text} .,sport" for text in TEXTS)]
    (folder / "data" / "train.csv").write_text("\n".join(rows))
    return Case(found, Right(notes=["2 of 8 rows of the evaluation split are in the calibration split too"]))


@case("one split to calibrate and to evaluate on", "planted")
def same_split(folder: Path) -> Case:
    found = {**_csv(folder, _rows()), "quantization_approach": "static", "calibration": {"num_calibration_samples": 4}}
    found["dataset"]["calibration_split"] = "validation"
    return Case(found, Right(notes=["the calibration split is the evaluation split"]))


def _pictures(folder: Path, column: Any) -> dict[str, Any]:
    found = write_images(folder, count=6)
    table = pyarrow.table({"image": column, "label": list(COLOURS)})
    pyarrow.parquet.write_table(table, folder / "data" / "validation.parquet")
    return {name: value for name, value in found.items() if name in ("task", "model_name_or_path", "dataset")}


def _png(mode: str) -> bytes:
    grey = np.arange(400, dtype=np.uint16).reshape(20, 20) * 150
    picture = Image.fromarray(grey) if mode == "I;16" else Image.fromarray((grey >> 8).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


MODES = ("RGB", "L", "RGBA", "1", "P", "I;16")
BYTES_AND_PATH = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


@case("pictures as pyarrow writes them, of six modes of colours", "planted")
def pictures_by_pyarrow(folder: Path) -> Case:
    column = pyarrow.array([{"bytes": _png(mode), "path": None} for mode in MODES], BYTES_AND_PATH)
    return Case(_pictures(folder, column), Right(examples=6, quiet=True))


@case("pictures as bytes", "planted")
def pictures_as_bytes(folder: Path) -> Case:
    return Case(_pictures(folder, pyarrow.array([_png("L")] * 6)), Right(examples=6, quiet=True))


@case("16-bit greys", "Pillow on the same greys in 8 bits")
def sixteen_bits(folder: Path) -> Answer:
    sixteen, eight = (Image.open(io.BytesIO(_png(mode))) for mode in ("I;16", "L"))
    got, right = (np.asarray(picture).ravel().tolist() for picture in (in_colours(sixteen), eight.convert("RGB")))
    return Answer(got, right, f"{len(got)} values of red, green and blue as those of the 8-bit picture")


@case("a picture whose file is broken", "planted")
def broken_picture(folder: Path) -> Case:
    files = [_png("L")] * 6
    files[3] = b"\x89PNG nonsense"
    return Case(_pictures(folder, pyarrow.array(files)), Refused("dataset.data_keys", ["row 4 has an image"]))


@case("pictures as paths in a CSV", "planted")
def picture_paths(folder: Path) -> Case:
    found = _pictures(folder, pyarrow.array(["a.png"] * 6))
    return Case(found, Refused("dataset.data_keys", ["must hold images", "cast_column"]))


QUESTIONS = (
    ("中国的首都在哪里?", "北京是中国的首都。上海是最大的城市。", "北京"),
    ("最大的城市是哪里?", "北京是中国的首都。上海是最大的城市。", "上海"),
    ("谁写了红楼梦?", "红楼梦是清代作家曹雪芹的小说。", "曹雪芹"),
    ("红楼梦是什么时候写的?", "红楼梦是清代作家曹雪芹的小说。", "清代"),
    ("日本の首都はどこですか?", "日本の首都は東京です。", "東京"),
    ("Where is the bank?", "The bank is in Oslo .", "Oslo"),
)


@case("question answering without blanks between words", "planted: the model was fitted until it is right")
def questions_without_blanks(folder: Path) -> Case:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    characters = sorted({character for row in QUESTIONS for text in row for character in text if character != " "})
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "\u2581", *characters]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    pair = "<s> $A </s> </s> $B </s>"
    special = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair=pair, special_tokens=special)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>",
        unk_token="<unk>", pad_token="<pad>", model_max_length=100,
    )  # fmt: skip
    config = XLMRobertaConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=120, pad_token_id=1, initializer_range=0.2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = XLMRobertaForQuestionAnswering(config)
    encoded = fast([row[0] for row in QUESTIONS], [row[1] for row in QUESTIONS], padding=True, return_tensors="pt")
    starts, ends = [], []
    for number, (_, context, answer) in enumerate(QUESTIONS):
        begin = context.index(answer)
        starts.append(encoded.char_to_token(number, begin, 1))
        ends.append(encoded.char_to_token(number, begin + len(answer) - 1, 1))
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    fit_spans(model, inputs, torch.tensor(starts), torch.tensor(ends))
    answers = [{"text": [a], "answer_start": [c.index(a)]} for _, c, a in QUESTIONS]
    rows = [{"question": q, "context": c, "label": a} for (q, c, _), a in zip(QUESTIONS, answers, strict=True)]
    write_splits(folder / "data", rows)
    keys = {"question": "question", "context": "context"}
    found = settings(folder, (model, fast), "question-answering", data_keys=keys)
    return Case(found, Right({"exact_match": 100.0, "f1": 100.0}, examples=6))


@case("F1 of answers in Chinese", "the script of MLQA: by characters")
def chinese_f1(folder: Path) -> Answer:
    got = [_squad.f1("北京市", "北京"), _squad.f1("1921年,上海", "1921年"), _squad.exact("北京市", "北京")]
    told = f"北京市 for 北京: F1 {got[0]:.3f}, exact match {got[2]:.0f}; 1921年,上海 for 1921年: F1 {got[1]:.3f}"
    return Answer(got, [0.8, 2 * 2 / (4 + 2), 0.0], told)
