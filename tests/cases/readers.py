"""Forms of files: what stands in them is read as it stands there, or the message says what to do."""

from __future__ import annotations

import codecs
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from seqeval.metrics import f1_score as entity_f1
from sklearn.metrics import accuracy_score
from tests.cases.case import Answer, Case, Refused, Right, case
from tests.cases.data import FITTED, LABELS
from tests.cases.labels import SENTENCES, TEXTS, TOPICS, classes, settings, tags
from tests.support.tiny_tasks import write_questions

from quantbench.schema.settings import Dataset as Source
from quantbench.sources.datasets import load_split, split_names

ROWS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
ALL = Right({"accuracy": 1.0}, examples=8)
PANDAS = "pandas on the same file"
PLANTED = "planted"


def _read(path: Path, split: str = "train", **dataset: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = load_split(Source(path=str(path), **dataset), split, "dataset.eval_split").to_list()
    return rows


def _table(folder: Path, name: str, content: str, told: str, **reading: Any) -> Answer:
    """A table against what pandas reads, both as texts."""
    file = folder / name
    file.write_text(content, encoding="utf-8", newline="")
    frame = pandas.read_csv(file, dtype=str, keep_default_na=False, na_values=[""], **reading)
    right = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return Answer(_read(file, data_keys={name: name for name in frame.columns}), right, told)


def _ran(folder: Path, name: str, content: bytes, right: Right | Refused, **dataset: Any) -> Case:
    (folder / name).write_bytes(content)
    return Case(settings(folder, classes(), path=str(folder / name), eval_split="train", **dataset), right)


def _same(folder: Path, name: str, content: bytes, told: str = "the rows as they were written") -> Answer:
    """A file that holds ``ROWS``."""
    (folder / name).write_bytes(content)
    return Answer(_read(folder / name), ROWS, told)


def _as(rows: Sequence[dict[str, str]], separator: str, end: str = "\n") -> bytes:
    return end.join([separator.join(["text", "label"]), *(separator.join(row.values()) for row in rows), ""]).encode()


@case("a tab-separated file", FITTED)
def tabs(folder: Path) -> Case:
    return _ran(folder, "dev.tsv", _as(ROWS, "\t"), ALL)


@case("a compressed tab-separated file called .TAB.GZ", "the rows that were written")
def tabs_compressed(folder: Path) -> Answer:
    return _same(folder, "DEV.TAB.GZ", gzip.compress(_as(ROWS, "\t")))


@case("a tab-separated file in which quotes are signs", PANDAS)
def literal_quotes(folder: Path) -> Answer:
    content = 'text\tlabel\n"Oslo" won\tsport\nit is 5" long\tmoney\n"never closed\tweather\nNA\tmoney\n'
    return _table(folder, "a.tsv", content, "every quote is kept, NA is a text", sep="\t", quoting=3)


@case("a tab-separated file that pandas wrote, with tabs and line ends in its cells", PANDAS)
def enclosed_tabs(folder: Path) -> Answer:
    file = io.StringIO()
    texts = ['say "yes"', "one\ttwo", "first\nsecond", "plain", ""]
    pandas.DataFrame({"text": texts, "label": list("abcde")}).to_csv(file, sep="\t", index=False)
    return _table(folder, "a.tsv", file.getvalue(), "cells in quotes are as they were before", sep="\t")


@case("a tab-separated file with a cell too many", PLANTED)
def uneven_tabs(folder: Path) -> Case:
    says = ["line 3 has 3 cells, the header 2"]
    return _ran(folder, "a.tsv", b"text\tlabel\nOslo\tsport\nrain\tfell\tweather\n", Refused("dataset.path", says))


@case("a CSV with semicolons, commas in its texts", PANDAS)
def semicolons(folder: Path) -> Answer:
    content = 'text;label\nno, not;sport\n"a;b, c";money\n;weather\n'
    return _table(folder, "a.csv", content, "cells are apart by semicolons", sep=";")


@case("a file called .csv with tabs", PANDAS)
def tabs_as_csv(folder: Path) -> Answer:
    return _table(folder, "a.csv", "text\tlabel\none, two\tsport\n", "cells are apart by tabs", sep="\t")


@case("a CSV with line ends of Windows and empty lines", "the rows that were written")
def windows(folder: Path) -> Answer:
    return _same(folder, "a.csv", _as(ROWS, ",", "\r\n").replace(b"\r\nOslo", b"\r\n\r\nOslo") + b"\r\n\r\n")


@case("a CSV with line ends within quotes, of Windows", PANDAS)
def lines_in_quotes(folder: Path) -> Answer:
    content = 'text,label\r\n"first\r\nsecond, ""third""",sport\r\nplain,money\r\n'
    return _table(folder, "a.csv", content, "a cell has both lines")


@case("a CSV of one column, without a label", PANDAS)
def one_column(folder: Path) -> Answer:
    return _table(folder, "a.csv", 'text\nOslo\n"won, lost"\n12\n', "a row per line")


@case("a CSV in UTF-8 with its mark", "the rows that were written")
def mark(folder: Path) -> Answer:
    return _same(folder, "a.csv", codecs.BOM_UTF8 + _as(ROWS, ","))


@case("a tab-separated file in UTF-16", "the rows that were written")
def utf_16(folder: Path) -> Answer:
    return _same(folder, "a.tsv", _as(ROWS, "\t").decode().encode("utf-16"))


@case("a CSV in UTF-16 without its mark", PLANTED)
def utf_16_unmarked(folder: Path) -> Case:
    content = _as(ROWS, ",").decode().encode("utf-16-le")
    return _ran(folder, "a.csv", content, Refused("dataset.path", ["bytes of zero", "iconv -f utf-16le"]))


@case("a tab-separated file in Latin-1", PLANTED)
def latin_1(folder: Path) -> Case:
    says = ["is not UTF-8 (byte 0xe9 in line 2)", "iconv"]
    return _ran(folder, "a.tsv", "text\tlabel\né\tsport\n".encode("latin-1"), Refused("dataset.path", says))


@case("a CSV with a header alone", PLANTED)
def header_alone(folder: Path) -> Case:
    return _ran(folder, "a.csv", b"text,label\n", Refused("dataset.eval_split", ["is empty"]))


@case("a CSV with two columns of one name", PLANTED)
def two_columns(folder: Path) -> Case:
    return _ran(folder, "a.csv", b"text,text\na,b\n", Refused("dataset.path", ["two columns 'text'", "rename one"]))


@case("a table of Excel", PLANTED)
def excel(folder: Path) -> Case:
    return _ran(folder, "a.xlsx", b"PK", Refused("dataset.path", ["table of Excel", "save it as CSV"]))


@case("JSON lines with a mark of UTF-8", "the rows that were written")
def json_mark(folder: Path) -> Answer:
    lines = "\n".join(map(json.dumps, ROWS))
    return _same(folder, "a.jsonl", codecs.BOM_UTF8 + lines.encode())


@case("compressed JSON lines called .ndjson.gz", "the rows that were written")
def json_compressed(folder: Path) -> Answer:
    return _same(folder, "a.ndjson.gz", gzip.compress("\n".join(map(json.dumps, ROWS)).encode()))


@case("one JSON list of rows", "the rows that were written")
def json_list(folder: Path) -> Answer:
    return _same(folder, "a.json", json.dumps(ROWS, indent=1).encode())


@case("JSON whose texts are fields of a record", FITTED)
def fields(folder: Path) -> Case:
    rows = [{"id": n, "review": {"text": row["text"], "stars": 5}, "label": row["label"]} for n, row in enumerate(ROWS)]
    content = "\n".join(map(json.dumps, rows)).encode()
    return _ran(folder, "a.jsonl", content, ALL, data_keys={"primary": "review.text"})


@case("a name with blanks, umlauts and brackets", "the rows that were written")
def odd_name(folder: Path) -> Answer:
    return _same(folder, "Übung [neu] für alle (2).jsonl", "\n".join(map(json.dumps, ROWS)).encode())


@case("a text per line", "the lines themselves")
def lines(folder: Path) -> Answer:
    (folder / "a.txt").write_text("the team won .\n\nNA\nrain fell\n")
    right = [{"text": text} for text in ("the team won .", "NA", "rain fell")]
    return Answer(_read(folder / "a.txt"), right, "the column text, a row per line that is not empty")


@case("a table with tabs called .txt", PLANTED)
def tabs_as_text(folder: Path) -> Case:
    return _ran(folder, "a.txt", _as(ROWS, "\t"), Refused("dataset.path", ["a tab in every line", ".tsv"]))


def _words(path: Path, wanted: Sequence[str], right: dict[str, Any], told: str) -> Answer:
    rows = _read(path)
    return Answer([{name: row[name] for name in wanted} for row in rows], right, told)


CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


@case("a file of CoNLL 2003: four columns, -DOCSTART-", "the columns of the shared task")
def conll_2003(folder: Path) -> Answer:
    (folder / "eng.conll").write_text(CONLL_2003)
    right = [
        {"tokens": ["EU", "rejects"], "column_2": ["NNP", "VBZ"], "tags": ["B-ORG", "O"]},
        {"tokens": ["Peter", "Blackburn"], "column_2": ["NNP", "NNP"], "tags": ["B-PER", "I-PER"]},
    ]
    return _words(folder / "eng.conll", list(right[0]), right, "two sentences; tokens, column_2, column_3 and tags")


@case("words and tags by tabs, hashtags among the words, comments between", PLANTED)
def hashtags(folder: Path) -> Answer:
    content = "# id = 1\n#MH17\tO\nLisbon\tB-LOC\n#\tO\n\n\n# text = a b c\nthe\tO\n"
    (folder / "a.conll").write_text(content)
    right = [{"tokens": ["#MH17", "Lisbon", "#"], "tags": ["O", "B-LOC", "O"]}, {"tokens": ["the"], "tags": ["O"]}]
    return Answer(_read(folder / "a.conll"), right, "#MH17 and # are words, # id = 1 is none")


@case("numbered words, tags in the third of five columns (Universal NER)", PLANTED)
def numbered(folder: Path) -> Answer:
    content = "# text = in Oslo\n1\tin\tO\t-\t-\n2\tOslo\tB-LOC\t-\tanna\n\n1\twon\tO\t-\t-\n"
    (folder / "a.iob2").write_text(content)
    right = [{"tokens": ["in", "Oslo"], "column_3": ["O", "B-LOC"]}, {"tokens": ["won"], "column_3": ["O"]}]
    return _words(folder / "a.iob2", ["tokens", "column_3"], right, "words are those of the second column")


@case("CoNLL-U with a range and an empty node", "universaldependencies.org/format.html")
def conll_u(folder: Path) -> Answer:
    rest = "\t_" * 4
    content = f"# text = vámonos\n1-2\tvámonos\t_\t_\t_\t_{rest}\n1\tvamos\tir\tVERB\t_\t_{rest}\n"
    content += f"2\tnos\tnosotros\tPRON\t_\t_{rest}\n2.1\tal\tal\tADP\t_\t_{rest}\n\n"
    (folder / "a.conllu").write_text(content)
    right = [{"tokens": ["vamos", "nos"], "upos": ["VERB", "PRON"]}]
    return _words(folder / "a.conllu", ["tokens", "upos"], right, "words are tokens, their parts of speech upos")


@case("a hard blank within a word of a file of columns", PLANTED)
def hard_blank(folder: Path) -> Answer:
    (folder / "a.conll").write_text("10\u00a0000 O\n\u2028 O\n", encoding="utf-8")
    return Answer(_read(folder / "a.conll"), [{"tokens": ["10\u00a0000", "\u2028"], "tags": ["O", "O"]}], "two words")


@case("a line of a file of columns without its tag", PLANTED)
def lacking_tag(folder: Path) -> Case:
    found = tags(folder, IOB1, IOB1, IOB1_LABELS)
    (folder / "a.conll").write_text("Anna I-PER\nwon\n")
    found["dataset"] |= {"path": str(folder / "a.conll"), "eval_split": "train", "ref_keys": ["tags"]}
    return Case(found, Refused("dataset.path", ["line 2 has 1 columns, the first word has 2"]))


IOB1_LABELS = ("O", "I-PER", "I-LOC", "B-LOC")
IOB1 = (("I-PER", "O", "O"), ("O", "O", "O", "O", "I-LOC", "B-LOC"), ("O", "O", "O"), ("I-LOC", "I-LOC", "O"))
IOB1_TRUE = (("I-PER", "O", "O"), ("O", "O", "O", "O", "I-LOC", "B-LOC"), ("O", "O", "O"), ("I-LOC", "B-LOC", "O"))
IOBES_LABELS = ("O", "S-PER", "S-LOC", "B-LOC", "E-LOC")
IOBES = (("S-PER", "O", "O"), ("O", "O", "O", "O", "S-LOC", "S-LOC"), ("O", "O", "O"), ("B-LOC", "E-LOC", "O"))
IOBES_TRUE = (("S-PER", "O", "O"), ("O", "O", "O", "O", "B-LOC", "E-LOC"), ("O", "O", "O"), ("B-LOC", "E-LOC", "O"))


def _columns(folder: Path, name: str, given: Any, true: Any, labels: Sequence[str], right: Right) -> Case:
    """A tagger over a file of columns."""
    found = tags(folder, given, true, labels)
    blocks = (zip(words, row, strict=True) for words, row in zip(SENTENCES, true, strict=True))
    (folder / name).write_text("\n\n".join("\n".join(f"{word} {tag}" for word, tag in block) for block in blocks))
    found["dataset"] |= {"path": str(folder / name), "eval_split": "train", "ref_keys": ["tags"]}
    return Case(found, right)


def _f1(true: Any, given: Any) -> dict[str, float]:
    return {"f1": entity_f1([list(row) for row in true], [list(row) for row in given])}


@case("IOB1 tags, in a file of columns", "seqeval")
def iob1(folder: Path) -> Case:
    return _columns(folder, "a.iob", IOB1, IOB1_TRUE, IOB1_LABELS, Right(_f1(IOB1_TRUE, IOB1), examples=4))


@case("IOBES tags, in columns called .txt", "seqeval")
def iobes(folder: Path) -> Case:
    right = Right(_f1(IOBES_TRUE, IOBES), examples=4, notes=["as IOBES"])
    return _columns(folder, "a.conll.txt", IOBES, IOBES_TRUE, IOBES_LABELS, right)


@case("parts of speech in CoNLL-U", "scikit-learn on the words")
def speech(folder: Path) -> Case:
    given = [["NOUN" if word != "won" else "VERB" for word in words] for words in SENTENCES]
    true = [list(row) for row in given]
    true[1][SENTENCES[1].index("Oslo")] = "PROPN"
    found = tags(folder, given, true, ("NOUN", "VERB", "PROPN"))
    rest = "\t_" * 6
    blocks = (enumerate(zip(words, row, strict=True), 1) for words, row in zip(SENTENCES, true, strict=True))
    content = "\n\n".join("\n".join(f"{n}\t{word}\t_\t{tag}{rest}" for n, (word, tag) in block) for block in blocks)
    (folder / "a.conllu").write_text(content)
    found["dataset"] |= {"path": str(folder / "a.conllu"), "eval_split": "train", "ref_keys": ["upos"]}
    flat = ([tag for row in rows for tag in row] for rows in (true, given))
    return Case(found, Right({"accuracy": accuracy_score(*flat)}, examples=4, notes=["there are no entities"]))


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Norway",
            "paragraphs": [
                {
                    "context": "Oslo is old. Oslo is large.",
                    "qas": [
                        {"id": "1", "question": "What is old?", "answers": [{"text": "Oslo", "answer_start": 0}]},
                        {"id": "2", "question": "What is new?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


@case("SQuAD's own JSON, version 2.0", "the form of SQuAD's page")
def squad(folder: Path) -> Answer:
    (folder / "dev-v2.0.json").write_text(json.dumps(SQUAD))
    context = SQUAD["data"][0]["paragraphs"][0]["context"]  # type: ignore[index]
    shared = {"title": "Norway", "context": context}
    right = [
        {"id": "1", **shared, "question": "What is old?", "answers": {"text": ["Oslo"], "answer_start": [0]}},
        {"id": "2", **shared, "question": "What is new?", "answers": {"text": [], "answer_start": []}},
    ]
    return Answer(
        _read(folder / "dev-v2.0.json"), right, "a row per question, without an answer where it is_impossible"
    )


@case("a question that is_impossible and has an answer", PLANTED)
def contradiction(folder: Path) -> Case:
    found = write_questions(folder, count=4)
    text = json.dumps(SQUAD).replace('"answer_start": 0}]', '"answer_start": 0}], "is_impossible": true')
    (folder / "dev.json").write_text(text)
    found["dataset"] |= {"path": str(folder / "dev.json"), "eval_split": "train", "calibration_split": "train"}
    return Case(found, Refused("dataset.path", ["question '1' is said to be impossible and has answers"]))


@case("answers as one text per question, in a CSV", "the rows of SQuAD's form")
def answers_as_texts(folder: Path) -> Answer:
    from quantbench.schema.settings import Sources
    from quantbench.tasks import question_answering

    (folder / "a.csv").write_text("question,context,answer\nWhat?,It is 7 o'clock,7 o'clock\nWho?,Nobody,\n")
    keys = {"question": "question", "context": "context"}
    dataset = Source(path=str(folder / "a.csv"), data_keys=keys, ref_keys=("answer",))
    data = load_split(dataset, "train", "dataset.eval_split")
    sources = Sources(task="question-answering", model_name_or_path="-", dataset=dataset)
    got = list(question_answering.references(sources, data, ()))
    return Answer(got, [["7 o'clock"], None], "a text is the one answer; a row without one is left out")


@case("a folder that was written by save_to_disk", FITTED)
def saved(folder: Path) -> Case:
    Dataset.from_list(ROWS).save_to_disk(folder / "disk")
    return Case(settings(folder, classes(), path=str(folder / "disk"), eval_split="train"), ALL)


@case("splits that were written by save_to_disk, labels as ClassLabel", FITTED)
def saved_splits(folder: Path) -> Case:
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(TOPICS))})
    data = Dataset.from_list([{**row, "label": TOPICS.index(row["label"])} for row in ROWS], features=features)
    DatasetDict({"train": data.select([0]), "validation": data}).save_to_disk(folder / "disk")
    return Case(settings(folder, classes(), path=str(folder / "disk")), ALL)


@case("splits that were written by save_to_disk one by one", "the splits themselves")
def saved_apart(folder: Path) -> Answer:
    words = Features({"tokens": List(Value("string"))})
    for name in ("train", "dev"):
        Dataset.from_list([{"tokens": [name]}], features=words).save_to_disk(folder / "disk" / name)
    got = [sorted(split_names(Source(path=str(folder / "disk")))), _read(folder / "disk", "dev")]
    return Answer(got, [["dev", "train"], [{"tokens": ["dev"]}]], "a split by the name of its folder")


@case("a folder of save_to_disk that lacks a split", PLANTED)
def saved_lacking(folder: Path) -> Case:
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(folder / "disk")
    (folder / "disk" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = settings(folder, classes(), path=str(folder / "disk"), eval_split="train")
    return Case(found, Refused("dataset.path", ["names the split 'test'", "save it again"]))
