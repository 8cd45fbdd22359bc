"""Labels of data set and model, matched by name and never by number, and the columns that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantbench.settings import Settings

TEXTS = ("string", "large_string")
"""Types of texts in data sets."""


def no_column(key: str, column: str, split: str, features: Any) -> str:
    """The message for a column that a split does not have."""
    return f"{key}: split {split!r} has no column {column!r}; there is: {', '.join(features)}"


def columns(
    settings: Settings, features: Any, split: str, wanted: Mapping[str, str], refs: int = 1, example: str = "label"
) -> list[tuple[str, str]]:
    """Mistakes in the names of columns as (dotted key, message).

    Args:
        settings: of the run.
        features: the split's ``datasets.Features``.
        split: its name.
        wanted: what each data key that is needed is, such as ``{"primary": "the text"}``.
        refs: how many columns of references are needed.
        example: of a column of references.

    """
    keys, found = settings.dataset.data_keys, []
    for key, what in wanted.items():
        if key not in keys:
            found.append(("dataset.data_keys", f"data_keys needs {key}, the column of {what}, such as {{{key}: text}}"))
    for key, column in keys.items():
        if column not in features:
            found.append(("dataset.data_keys", no_column(f"data_keys.{key}", column, split, features)))
    if len(settings.dataset.ref_keys) != refs:
        number = "one column" if refs == 1 else "no column" if refs == 0 else f"{refs} columns"
        found.append(("dataset.ref_keys", f"{settings.task} needs {number} in ref_keys, such as [{example}]"))
        return found
    missing = [column for column in settings.dataset.ref_keys if column not in features]
    return found + [("dataset.ref_keys", no_column("ref_keys", column, split, features)) for column in missing]


def no_texts(settings: Settings, features: Any) -> list[tuple[str, str]]:
    """Mistakes as :func:`columns` gives them: data keys whose column holds no text per example."""
    rest = "must hold a text per example, it is"
    return [
        ("dataset.data_keys", f"data_keys.{key}: column {column!r} {rest} {features[column]}")
        for key, column in settings.dataset.data_keys.items()
        if getattr(features[column], "dtype", None) not in TEXTS
    ]


def item(feature: Any) -> Any | None:
    """The feature of a list's items, None for what is no list."""
    inner = getattr(feature, "feature", None)
    return feature[0] if isinstance(feature, list) and feature else inner


def declared(settings: Settings, feature: Any) -> tuple[list[str] | None, str | None]:
    """Label names by number as the configuration or the data set declares them, and what is wrong with a column.

    Args:
        settings: of the run.
        feature: of one label.

    Returns:
        None in the place of names where each example carries names itself.

    """
    if settings.dataset.label_names is not None:
        return list(settings.dataset.label_names), None
    if getattr(feature, "names", None):
        return list(feature.names), None
    if getattr(feature, "dtype", None) in TEXTS:
        return None, None
    return None, "holds numbers without names; give them in order: dataset.label_names: [first, second, …]"


def mismatch(names: Sequence[str], labels: Sequence[str], stand_in: str) -> str | None:
    """The message for names that the model does not have; ``stand_in`` is an example of what one may stand for."""
    missing = [name for name in names if name not in labels]
    if not missing:
        return None
    return (
        f"the data set's labels {', '.join(missing)} are not among the model's ({', '.join(labels)}); "
        f"say what each stands for, e.g. dataset.label_map: {{{missing[0]}: {stand_in}}}"
    )


def check(settings: Settings, feature: Any, column: str, labels: Sequence[str], stand_in: str) -> list[tuple[str, str]]:
    """Mistakes in a column of labels: without names, or with names that the model does not have."""
    names, problem = declared(settings, feature)
    if problem:
        return [("dataset.ref_keys", f"column {column!r} {problem}")]
    mapped = [settings.dataset.label_map.get(name, name) for name in names or ()]
    problem = mismatch(mapped, labels, stand_in)
    return [("dataset.label_map", problem)] if problem else []


def of_model(model_config: Mapping[str, Any]) -> list[str]:
    """The model's label names by number."""
    by_number = {int(number): str(name) for number, name in model_config["id2label"].items()}
    return [by_number[number] for number in sorted(by_number)]


def name_of(label: int | str, names: Sequence[str] | None, mapping: Mapping[str, str]) -> str:
    """The name of an example's label, or what it stands for.

    Raises:
        IndexError: if a number has no name.

    """
    if names is None or isinstance(label, str):
        found = str(label)
    elif 0 <= label < len(names):
        found = names[label]
    else:
        raise IndexError(f"label number {label} has no name; the names are {', '.join(names)}")
    return mapping.get(found, found)


def sets(settings: Settings, dataset: Any, column: str, labels: Sequence[str], stand_in: str) -> list[set[int]]:
    """The model's numbers of the labels in a column of lists.

    Raises:
        ValueError: if an example has a label that the model does not have.
        IndexError: if a label number has no name.

    """
    names, _ = declared(settings, item(dataset.features[column]))
    mapping = settings.dataset.label_map
    rows = [[name_of(label, names, mapping) for label in row] for row in dataset[column]]
    problem = mismatch(sorted({name for row in rows for name in row}), labels, stand_in)
    if problem:
        raise ValueError(problem)
    place = {name: number for number, name in enumerate(labels)}
    return [{place[name] for name in row} for row in rows]


def numbers(settings: Settings, dataset: Any, column: str, labels: Sequence[str], stand_in: str) -> list[int]:
    """The model's number of the label of each example in a column; raises as :func:`sets`."""
    names, _ = declared(settings, dataset.features[column])
    found = [name_of(label, names, settings.dataset.label_map) for label in dataset[column]]
    problem = mismatch(sorted(set(found)), labels, stand_in)
    if problem:
        raise ValueError(problem)
    place = {name: number for number, name in enumerate(labels)}
    return [place[name] for name in found]


def rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns by name as one mapping per row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
