"""Labels of data set and model, matched by name and never by number, and the columns that hold them.

A label is given by its name, or by a number where names are declared (``dataset.label_names``, or the data set's own
``ClassLabel``), or by a number that is itself a name of the model's. No label is a missing cell, an empty text, and the
numbers -1 and -100 where they are no names; see ``docs/data.md``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from quantbench.plugins.registry import unknown_name
from quantbench.schema.settings import Sources
from quantbench.sources.cells import Unusable, item, missing, number, some

TEXTS = ("string", "null")
"""Types of texts in data sets as they are loaded; ``null`` where every cell is empty."""
NUMBERS = ("int", "uint", "float", "bool")
UNLABELLED = (-1, -100)
"""Numbers that stand for no label: of ``datasets`` where labels are not published, and of PyTorch's losses."""
GENERIC = re.compile(r"LABEL_\d+")
"""Names that transformers gives to labels without names."""

Label = int | str | None


def no_column(key: str, column: str, split: str, features: Any) -> str:
    """The message for a column that a split does not have."""
    return f"{key}: split {split!r} has no column {column!r}; there is: {some(features)}"


def columns(
    sources: Sources,
    features: Any,
    split: str,
    wanted: Mapping[str, str],
    refs: int | None = 1,
    example: str = "label",
    needed: bool = True,
) -> list[tuple[str, str]]:
    """Mistakes in the names of columns as (dotted key, message).

    Args:
        sources: of the run.
        features: the split's ``datasets.Features``.
        split: its name.
        wanted: what each data key that is needed is, such as ``{"primary": "the text"}``.
        refs: how many columns of references are needed; None where one or several may be.
        example: of a column of references.
        needed: whether there must be a reference; else there may be none at all.

    """
    keys, found = sources.dataset.data_keys, []
    for key, what in wanted.items():
        if key not in keys:
            found.append(("dataset.data_keys", f"data_keys needs {key}, the column of {what}, such as {{{key}: text}}"))
    for key, column in keys.items():
        if column not in features:
            found.append(("dataset.data_keys", no_column(f"data_keys.{key}", column, split, features)))
    given = len(sources.dataset.ref_keys)
    if not given and not needed:
        return found
    if given != refs and (refs is not None or not given):
        number = "no column" if refs == 0 else f"{refs} columns" if refs and refs > 1 else "one column"
        found.append(("dataset.ref_keys", f"{sources.task} needs {number} in ref_keys, such as [{example}]"))
        return found
    absent = [column for column in sources.dataset.ref_keys if column not in features]
    hint = "" if needed else "; without labels, ref_keys: [] measures agreement with the original"
    return found + [("dataset.ref_keys", no_column("ref_keys", column, split, features) + hint) for column in absent]


def no_texts(sources: Sources, features: Any) -> list[tuple[str, str]]:
    """Mistakes as :func:`columns` gives them: data keys whose column holds no text per example."""
    rest = "must hold a text per example, it is"
    return [
        ("dataset.data_keys", f"data_keys.{key}: column {column!r} {rest} {features[column]}")
        for key, column in sources.dataset.data_keys.items()
        if getattr(features[column], "dtype", None) not in TEXTS
    ]


def check(sources: Sources, feature: Any, column: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes that show without reading rows: a column that holds no labels, and names that do not exist.

    Args:
        sources: of the run.
        feature: of one label.
        column: its name.
        labels: of the model; none where it is not known.

    """
    kind = str(getattr(feature, "dtype", ""))
    if item(feature) is not None or not (getattr(feature, "names", None) or kind.startswith((*TEXTS, *NUMBERS))):
        return [("dataset.ref_keys", f"column {column!r} must hold a label per example, it is {feature}")]
    if not labels:
        return []
    mapping = sources.dataset.label_map
    wrong = [target for target in mapping.values() if target not in labels]
    if wrong:
        message = f"label_map maps onto {some(dict.fromkeys(wrong))}, which the model does not have; it has: "
        return [("dataset.label_map", message + some(labels))]
    names = sources.dataset.label_names or getattr(feature, "names", None) or ()
    problem = mismatch(names, labels, mapping)
    return [("dataset.label_map", problem)] if problem else unmatched(names, labels, mapping)


def unmatched(names: Sequence[str], labels: Sequence[str], mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    """Mistakes in keys of the mapping that are no declared name.

    There are none where no names are declared, nor where the mapping gives names to generic labels (:func:`spoken`).
    """
    if not names or spoken(labels, mapping) != list(labels):
        return []
    return [
        (f"dataset.label_map.{key}", unknown_name(key, names, "label of the data set"))
        for key in mapping
        if key not in names
    ]


def mismatch(names: Sequence[str], labels: Sequence[str], mapping: Mapping[str, str]) -> str | None:
    """The message for names of the data set that neither the model has nor the mapping maps."""
    absent = [name for name in names if mapping.get(name, name) not in labels]
    if not absent:
        return None
    problem = f"the data set's labels {some(absent)} are not among the model's ({some(labels)})"
    if len(labels) == 1:
        return (
            f"{problem}; it has one output, which cannot tell labels apart: task_args.is_regression if it is a number"
        )
    unused = [name for name in mapping if name not in names]
    if unused:
        problem += f", and label_map's {some(unused)} not among the data set's"
    if any(name != name.strip() for name in absent):
        problem += f" (there are blanks around {next(name for name in absent if name != name.strip())!r})"
    return f"{problem}; say what each stands for, e.g. dataset.label_map: {_example(absent[0], labels)}"


def _example(name: str, labels: Sequence[str]) -> str:
    """A mapping, as YAML has it, of a name onto the most similar label, otherwise onto ``O`` if there is that."""
    lower = {label.lower(): label for label in reversed(labels)}
    near = difflib.get_close_matches(name.strip().lower(), lower, n=1)
    target = lower[near[0]] if near else "O" if "O" in labels else "…"
    return yaml.safe_dump({name: target}, default_flow_style=True, allow_unicode=True, width=10_000).strip()


def of_model(model_config: Mapping[str, Any]) -> list[str]:
    """The model's label names by number."""
    by_number = {int(number): str(name) for number, name in (model_config.get("id2label") or {}).items()}
    return [by_number[number] for number in sorted(by_number)]


def spoken(labels: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """The model's labels as they are read: by the data set's names where its own are generic and these known."""
    names = {label: [name for name, target in mapping.items() if target == label] for label in labels}
    if not all(GENERIC.fullmatch(label) and len(names[label]) == 1 for label in labels):
        return list(labels)
    return [names[label][0] for label in labels]


def whole(value: Any) -> Any:
    """A cell's label: a whole number that was stored as another as ``int``, a text as it is, None for none."""
    if missing(value) or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def namer(sources: Sources, feature: Any, values: Sequence[Any], labels: Sequence[str]) -> Callable[[Any], Label]:
    """A function from a value of :func:`whole` to the number of the model's label, None for no label.

    Args:
        sources: of the run.
        feature: of one label.
        values: all that occur; what they are is decided once for all of them.
        labels: of the model.

    Raises:
        Unusable: from here or from the function, if a label has no name or one that the model does not have.

    """
    mapping, present = sources.dataset.label_map, list(dict.fromkeys(value for value in values if value is not None))
    wrong = next((value for value in present if isinstance(value, float)), None)
    if wrong is not None:
        raise Unusable("dataset.ref_keys", f"{wrong} is no label; a label is a name or a whole number")
    name = _by_name(sources, feature, present, labels)
    found = {value: name(value) for value in present}
    problem = mismatch([text for text in found.values() if text is not None], labels, mapping)
    if problem:
        raise Unusable("dataset.label_map", problem)
    place = {label: number for number, label in enumerate(labels)}
    numbers = {value: None if text is None else place[mapping.get(text, text)] for value, text in found.items()}
    return lambda value: None if value is None else numbers[value]


def _by_name(sources: Sources, feature: Any, present: Sequence[Any], labels: Sequence[str]) -> Callable[[Any], Any]:
    """A function from a value to its name, None for no label."""
    mapping, given = sources.dataset.label_map, sources.dataset.label_names
    names = given or getattr(feature, "names", None)
    known = {*labels, *mapping, *(names or ())}
    texts = [value for value in present if isinstance(value, str)]
    if texts and not (given and all(re.fullmatch(r"-?\d+", text) and text not in known for text in texts)):
        return str
    if names is not None:
        return lambda value: _numbered(int(value), names, bool(given))
    if present and all(isinstance(value, bool) for value in present):
        lower = {name.lower(): name for name in known}
        if {"true", "false"} <= set(lower):
            return lambda value: lower[str(value).lower()]
    elif all(value in UNLABELLED or str(value) in known for value in present):
        return lambda value: str(value) if str(value) in known else None
    message = "it holds numbers without names; give them in order: dataset.label_names: [first, second, …]"
    raise Unusable("dataset.ref_keys", message)


def _numbered(value: int, names: Sequence[str], given: bool) -> str | None:
    if value in UNLABELLED:
        return None
    if 0 <= value < len(names):
        return names[value]
    hint = f"dataset.label_names gives {len(names)} names" if given else f"the data set declares {len(names)} names"
    raise Unusable("dataset.label_names", f"it has a label number without a name: {value}; {hint}, counted from 0")


def single(sources: Sources, dataset: Any, column: str, labels: Sequence[str]) -> list[Label]:
    """The model's number of the label of each example, None where it has none.

    Raises:
        Unusable: see :func:`namer`; also if numbers from -1 on seem to count labels from there.

    """
    values = [whole(value) for value in dataset[column]]
    feature = dataset.features[column]
    names = sources.dataset.label_names
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if names and numbers and min(numbers) == -1 and max(numbers) == len(names) - 2:
        problem = f"{len(names)} names are given and no row has the last; numbers count from 0 and -1 is no label"
        raise Unusable("dataset.label_names", f"label numbers go from -1 to {max(numbers)}, {problem}: rename them")
    name = namer(sources, feature, values, labels)
    return [name(value) for value in values]


def words(sources: Sources, dataset: Any, column: str, labels: Sequence[str]) -> list[list[str | None] | None]:
    """The label of each word as the model calls it, None for words that are not scored, and for rows without any.

    Raises:
        Unusable: see :func:`namer`.

    """
    rows = [None if missing(row) else [whole(value) for value in row] for row in dataset[column]]
    values = [value for row in rows if row is not None for value in row]
    name = namer(sources, item(dataset.features[column]), values, labels)
    found = [None if row is None else [name(value) for value in row] for row in rows]
    return [
        None
        if row is None or (row and all(value is None for value in row))
        else [None if value is None else labels[int(value)] for value in row]
        for row in found
    ]


def numbers(dataset: Any, column: str) -> list[float | None]:
    """The number of each example, None where it has none; -1 throughout is none either.

    Raises:
        Unusable: if a cell holds something else.

    """
    found = []
    for index, value in enumerate(dataset[column]):
        try:
            found.append(number(value))
        except (TypeError, ValueError):
            message = f"row {index + 1} holds {value!r} in column {column!r}, which is no number"
            raise Unusable("dataset.ref_keys", message) from None
    return [None] * len(found) if {value for value in found if value is not None} == {-1.0} else found


def check_number(feature: Any, column: str, what: str) -> list[tuple[str, str]]:
    """The mistake of a column that cannot hold numbers."""
    kind = str(getattr(feature, "dtype", ""))
    if kind.startswith(("float", "int", "uint", *TEXTS)) and not getattr(feature, "names", None):
        return []
    return [("dataset.ref_keys", f"column {column!r} must hold a {what} per example, it is {feature}")]


def rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns by name as one mapping per row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
