"""What follows from a model's configuration and a data set's columns, splits and lengths; all of it pure.

Where several answers are possible, the message names them and the option that settles it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from quantbench.errors import BadInput, Mistake
from quantbench.sources.cells import some
from quantbench.sources.columns import Column, Kind

TASK, TEXT, LABEL, EVAL, CALIBRATION = (
    "--task",
    "--text-column",
    "--label-column",
    "--eval-split",
    "--calibration-split",
)
"""The options that settle what does not follow."""
SHARE, SEED = 25, 0
"""Percent of the only split that are for calibration, and the seed of the order in which it is cut."""
STEP = 16
"""Tokens of which lengths are multiples."""
EMBEDDINGS = "feature-extraction"
LABELS = (
    *("label", "labels", "class", "category", "intent", "sentiment", "topic", "target", "emotion", "stars", "rating"),
    *("gold_label", "y"),
)
TAGS = ("ner_tags", "ner", "tags", "labels", "label", "upos", "pos_tags", "pos", "xpos", "chunk_tags")
WORDS = ("tokens", "words", "token", "word", "sentence", "text")
TEXTS = (
    *("text", "sentence", "content", "review", "utterance", "query", "question", "tweet", "comment", "message"),
    *("document", "body", "description", "title"),
)
PAIRS = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence")),
    *(("text1", "text2"), ("text_a", "text_b"), ("sentence_a", "sentence_b"), ("sent1", "sent2")),
    *(("query", "passage"), ("query", "document"), ("text", "text_pair"), ("first", "second"), ("a", "b")),
)
SCORES = ("score", "similarity", "similarity_score", "relatedness_score", "relevance", "label", "labels", "value", "y")
QUESTIONS, CONTEXTS = ("question", "query"), ("context", "passage", "paragraph", "document")
ANSWERS, IMAGES = ("answers", "answer", "label"), ("image", "img", "picture", "photo")
SPLITS = (
    ("train", "training"),
    ("validation", "valid", "val", "dev"),
    ("test", "testing", "eval", "evaluation"),
)


@dataclass(frozen=True)
class Given:
    """What was settled by options.

    Attributes:
        texts: columns that are read.
        labels: columns of references.
        named: whether labels are named.
        mapping: which label of the model a label of the data stands for.
        unlabelled: whether there are to be no references.

    """

    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    named: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)
    unlabelled: bool = False


@dataclass(frozen=True)
class Chosen:
    """Columns by what they are to the task, with options of the task that follow from them.

    Without columns of references, the original's predictions are the reference.
    """

    data_keys: Mapping[str, str]
    ref_keys: tuple[str, ...]
    task_args: Mapping[str, bool] = field(default_factory=dict)


def ask(option: str, message: str) -> NoReturn:
    """Refuse to guess.

    Raises:
        BadInput: at the option that settles it.

    """
    raise BadInput([Mistake(option, message)])


def task_of(config: Mapping[str, Any], embeds: bool, suffixes: Mapping[str, str]) -> tuple[str, str]:
    """The task of a model, and what says so.

    Args:
        config: its ``config.json``.
        embeds: whether its folder is of sentence-transformers.
        suffixes: what the names of architectures have in them, by task; empty where a task takes any.

    Raises:
        BadInput: at ``--task``.

    """
    if embeds:
        return EMBEDDINGS, "modules.json of sentence-transformers"
    known = [str(name) for name in config.get("architectures") or []]
    for name in known:
        for task, suffix in suffixes.items():
            if suffix and suffix in name:  # ForImageClassificationWithTeacher
                return task, f"{name} in config.json"
        if name.endswith(("Model", "Encoder")):
            return EMBEDDINGS, f"{name} in config.json"
    what = f"names {', '.join(known)}, which is for none of the tasks" if known else "names no architecture"
    ask(TASK, f"the model's config.json {what}; choose one: {', '.join(sorted(suffixes))}")


def labels_of(config: Mapping[str, Any]) -> list[str]:
    """The model's labels by number, with the names that transformers gives to those without any."""
    names = config.get("id2label") or {}
    if names:
        return [str(names[number]) for number in sorted(names, key=int)]
    return [f"LABEL_{number}" for number in range(int(config.get("num_labels") or 2))]


def args_of(task: str, config: Mapping[str, Any]) -> dict[str, bool]:
    """What a classifier's outputs are, as its ``config.json`` says: one of them is a number."""
    kind = config.get("problem_type")
    if task != "text-classification":
        return {}
    if kind == "regression" or (len(labels_of(config)) == 1 and kind is None):
        return {"is_regression": True}
    return {"is_multi_label": True} if kind == "multi_label_classification" else {}


def choose_columns(
    task: str, columns: Sequence[Column], labels: Sequence[str], args: Mapping[str, bool], given: Given
) -> Chosen:
    """The columns that a task reads.

    Args:
        task: its name.
        columns: of the evaluation split.
        labels: of the model.
        args: options of the task that the model asks for.
        given: what was settled by options.

    Raises:
        BadInput: at the option that settles it.

    """
    check_named(columns, given)
    if task not in _CHOOSERS:
        ask(TASK, f"columns for {task} cannot be told; write a YAML file for it, or choose {', '.join(_CHOOSERS)}")
    return _CHOOSERS[task](columns, labels, args, given)


def _words(columns: Sequence[Column], labels: Sequence[str], args: Mapping[str, bool], given: Given) -> Chosen:
    lists = [column for column in columns if column.kind in ("texts", "integers") and column.name not in given.texts]
    fitting = [column for column in lists if column.fits(labels)]
    tags = [column for column in lists if column.kind == "integers" or column in fitting or column.plain in TAGS]
    refs, named = given.labels, any(column.plain in (*TAGS, *LABELS) for column in columns)
    if not refs and not given.unlabelled and (fitting or named or len(lists) + bool(given.texts) > 1):
        refs = (_one(fitting or tags, TAGS, LABEL, "a label per word", columns),)
    words = [column for column in columns if column.kind == "texts" and column.name not in refs]
    if not refs and not words:  # texts are split into words
        words = [column for column in columns if column.kind == "text" and not column.aside]
    data = given.texts or (_one(words, WORDS, TEXT, "words", columns),)
    _need_names(columns, refs, labels, given)
    return Chosen({"primary": _single(data, "words")}, refs)


def _classes(columns: Sequence[Column], labels: Sequence[str], args: Mapping[str, bool], given: Given) -> Chosen:
    args = dict(args)
    refs = given.labels or _label_columns(columns, labels, args, given)
    if not refs:
        return Chosen(_texts(columns, columns, given), (), args)
    kinds = {column.kind for column in columns if column.name in refs}
    if not args and (len(refs) > 1 or kinds & {"texts", "integers", "numbers"}):
        args["is_multi_label"] = True
    if not args:
        _need_names(columns, refs, labels, given)
    return Chosen(_texts([column for column in columns if column.name not in refs], columns, given), refs, args)


def _label_columns(
    columns: Sequence[Column], labels: Sequence[str], args: Mapping[str, bool], given: Given
) -> tuple[str, ...]:
    if given.unlabelled or _only_texts(columns, labels, given):
        return ()
    if args.get("is_regression"):
        return (_score(columns, given, "a number"),)
    counted = [column.name for column in columns if column.kind in ("integer", "truth", "number")]
    of_labels = [name for name in counted if given.mapping.get(name, name) in labels]
    if len(labels) > 1 and {given.mapping.get(name, name) for name in of_labels} == set(labels):
        return tuple(of_labels)
    kinds: tuple[Kind, ...] = ("label", "integer", "truth", "number", "text", "texts", "integers", "numbers")
    if args.get("is_multi_label"):
        kinds = ("texts", "integers", "numbers")
    usable = [column for column in columns if column.kind in kinds and not column.aside]
    return (_label(usable, columns, labels, given),)


def _only_texts(columns: Sequence[Column], labels: Sequence[str], given: Given) -> bool:
    """Whether no column can hold labels: there are texts, by their names if there are several, and what is aside."""
    if any(column.fits(labels) for column in columns):
        return False
    rest = [column for column in columns if not column.aside and column.name not in given.texts]
    texts = [column for column in rest if column.kind == "text" and column.plain not in LABELS]
    known = [column for column in texts if column.plain in TEXTS or any(column.plain in pair for pair in PAIRS)]
    return len(texts) == len(rest) and (len(texts) + bool(given.texts) == 1 or len(known) == len(texts))


def _label(usable: Sequence[Column], columns: Sequence[Column], labels: Sequence[str], given: Given) -> str:
    """The column whose labels are the model's, otherwise the one that is called so, or the only one of no texts."""
    usable = [column for column in usable if column.name not in given.texts]
    fitting = [column for column in usable if column.fits(labels)]
    named = [column for column in usable if column.plain in LABELS]
    others = [column for column in usable if column.kind not in ("text", "number")]
    return _one(fitting or named or others, LABELS, LABEL, "labels", columns)


def _score(columns: Sequence[Column], given: Given, what: str) -> str:
    free = [column for column in columns if not column.aside and column.name not in given.texts]
    numbers = [column for column in free if column.kind in ("number", "integer")]
    written = [column for column in free if column.kind == "text" and column.plain in (*SCORES, *LABELS)]
    return _one(numbers or written, (*SCORES, *LABELS), LABEL, what, columns)


def _texts(free: Sequence[Column], columns: Sequence[Column], given: Given) -> dict[str, str]:
    """The column of texts, or the two of pairs."""
    if given.texts:
        if len(given.texts) > 2:
            ask(TEXT, f"{len(given.texts)} columns are named; a text is in one, a pair in two")
        return dict(zip(("primary", "secondary"), given.texts, strict=False))
    texts = [column for column in free if column.kind == "text" and not column.aside]
    if pair := _pair(texts):
        return dict(zip(("primary", "secondary"), pair, strict=True))
    return {"primary": _one(texts, TEXTS, TEXT, "texts", columns, "; for pairs name two")}


def _pair(texts: Sequence[Column]) -> tuple[str, str] | None:
    """Two columns of texts that are called like the two sides of a pair."""
    names = {column.plain: column.name for column in texts}
    return next(((names[a], names[b]) for a, b in PAIRS if a in names and b in names), None)


def _embedded(columns: Sequence[Column], labels: Sequence[str], args: Mapping[str, bool], given: Given) -> Chosen:
    texts = [column for column in columns if column.kind == "text" and not column.aside]
    scores = [column for column in columns if column.kind in ("number", "integer") and column.plain in SCORES]
    pair = given.texts or _pair(texts) or (tuple(column.name for column in texts) if len(texts) == 2 else ())
    if len(pair) == 2 and (given.labels or scores):
        refs = given.labels or (_score(scores, given, "similarities"),)
        return Chosen(dict(zip(("primary", "secondary"), pair, strict=True)), refs)
    if given.labels:
        ask(TEXT, f"a similarity is of two texts; name both columns, there is: {some(columns)}")
    if len(given.texts) > 1:
        ask(LABEL, f"pairs of texts need their similarity; there is: {some(columns)}. Or name one column of texts")
    return Chosen({"primary": _single(_texts_alone(texts, columns, given), "texts")}, ())


def _texts_alone(texts: Sequence[Column], columns: Sequence[Column], given: Given) -> tuple[str, ...]:
    return given.texts or (_one(texts, TEXTS, TEXT, "texts", columns, "; pairs need a similarity, --label-column"),)


def _questions(columns: Sequence[Column], labels: Sequence[str], args: Mapping[str, bool], given: Given) -> Chosen:
    if len(given.texts) == 1 or len(given.texts) > 2:
        ask(TEXT, "question answering reads two columns: first that of questions, then that of contexts")
    texts = [column for column in columns if column.kind == "text" and column.name not in given.labels]
    question, context = given.texts or (
        _one([column for column in texts if column.plain in QUESTIONS], QUESTIONS, TEXT, "questions", columns),
        _one([column for column in texts if column.plain in CONTEXTS], CONTEXTS, TEXT, "contexts", columns),
    )
    answers = [column for column in columns if column.kind in ("answers", "texts") and column.name not in given.texts]
    answers = answers or [column for column in texts if column.plain in ANSWERS]
    if given.unlabelled or not (given.labels or answers):
        return Chosen({"question": question, "context": context}, ())
    ref = _single(given.labels, "answers") if given.labels else _one(answers, ANSWERS, LABEL, "answers", columns)
    empty = any(column.empty for column in columns if column.name == ref)
    found = {"handle_impossible": True} if empty else {}
    return Chosen({"question": question, "context": context}, (ref,), found)


def _images(columns: Sequence[Column], labels: Sequence[str], args: Mapping[str, bool], given: Given) -> Chosen:
    pictures = [column for column in columns if column.kind == "image"]
    data = given.texts or (_one(pictures, IMAGES, TEXT, "images", columns),)
    usable = [column for column in columns if column.kind in ("label", "integer", "truth", "text") and not column.aside]
    refs = given.labels
    if not refs and usable and not given.unlabelled:
        refs = (_label(usable, columns, labels, given),)
    _need_names(columns, refs, labels, given)
    return Chosen({"primary": _single(data, "images")}, refs)


_Chooser = Callable[[Sequence[Column], Sequence[str], Mapping[str, bool], Given], Chosen]
_CHOOSERS: Mapping[str, _Chooser] = {
    "token-classification": _words,
    "text-classification": _classes,
    "question-answering": _questions,
    "image-classification": _images,
    EMBEDDINGS: _embedded,
}


def _need_names(columns: Sequence[Column], refs: Sequence[str], labels: Sequence[str], given: Given) -> None:
    """Refuse whole numbers as labels that nothing names: labels are matched by name, and never by number."""
    if not refs:
        return
    column = next(column for column in columns if column.name == refs[0])
    if given.named or column.kind not in ("integer", "integers") or column.names or column.fits(labels):
        return
    found = sorted(value for value in column.values if value not in ("", "-1", "-100"))
    option = "--set dataset.label_names"
    ask(
        option,
        f"column {column.name!r} holds labels as numbers without names ({some(found)}); name them in order. If they "
        f"count as the model does: --set 'dataset.label_names=[{', '.join(labels)}]'",
    )


def _single(names: Sequence[str], what: str) -> str:
    if len(names) != 1:
        ask(TEXT, f"{len(names)} columns are named, and {what} are in one")
    return names[0]


def _one(
    found: Sequence[Column], names: Sequence[str], option: str, what: str, columns: Sequence[Column], more: str = ""
) -> str:
    """The only column of some, or that which is called by the first of the names that one of them has."""
    if len(found) == 1:
        return found[0].name
    known = {column.plain: column.name for column in found}
    name = next((known[name] for name in names if name in known), None)
    if name is not None:
        return name
    if not found:
        without = "; without labels, --set 'dataset.ref_keys=[]' measures agreement with the original"
        without = without if option == LABEL else ""
        ask(option, f"no column is known to hold {what}; name it, there is: {some(columns)}{without}")
    ask(option, f"several columns may hold {what}: {some(found)}; name the right one{more}")


def check_named(columns: Sequence[Column], given: Given) -> None:
    """Refuse options that name a column which is not there.

    Raises:
        BadInput: at the option.

    """
    there = {column.name for column in columns}
    for option, names in ((TEXT, given.texts), (LABEL, given.labels)):
        for name in names:
            if name not in there:
                ask(option, f"there is no column {name!r}; there is: {some(columns)}")


def choose_splits(names: Sequence[str], evaluation: str | None, calibration: str | None) -> tuple[str, str]:
    """The splits to evaluate and to calibrate on.

    Args:
        names: of all that there are.
        evaluation: what was settled by an option.
        calibration: likewise.

    Raises:
        BadInput: at the option that settles it.

    """
    train, validation, test = (_split(names, words) for words in SPLITS)
    if evaluation is None and calibration is None and len(names) == 1:
        whole = f"{names[0]}.shuffle({SEED})"
        return f"{whole}[{SHARE}%:]", f"{whole}[:{SHARE}%]"
    chosen = evaluation or next((name for name in (validation, test) if name not in (None, calibration)), None)
    if chosen is None:
        ask(EVAL, f"which split is to be evaluated cannot be told; there is: {some(names)}, or a slice of one")
    others = (name for name in (train, validation, test) if name not in (None, chosen.partition("[")[0]))
    other = calibration or next(others, None)
    if other is None:
        ask(CALIBRATION, f"which split is to calibrate on cannot be told; there is: {some(names)}, or a slice of one")
    return chosen, other


def _split(names: Sequence[str], words: Collection[str]) -> str | None:
    """The split that is called by one of some words, or whose name begins with one."""
    exact = [name for word in words for name in names if name.lower() == word]
    return next(iter([*exact, *(name for word in words for name in names if name.lower().startswith(word))]), None)


def lengths_of(costs: Sequence[int], limit: int | None) -> list[int]:
    """The median and the 95th percentile of lengths, rounded up to multiples of ``STEP``; at most the limit."""
    ordered = sorted(costs)
    places = (max(0, math.ceil(share * len(ordered)) - 1) for share in (0.5, 0.95))
    rounded = [STEP * math.ceil(max(1, ordered[place]) / STEP) for place in places]
    return list(dict.fromkeys(length if limit is None else min(length, limit) for length in rounded))
