"""Which rows of a split count: those that have a label, each with its reference read once over the whole split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantbench.errors import BadInput, Mistake
from quantbench.pipeline.model import Model
from quantbench.plugins import registry
from quantbench.schema.base import digest
from quantbench.schema.settings import Dataset, Sources
from quantbench.sources import cells
from quantbench.sources import labels as names_of_labels
from quantbench.sources.datasets import data_fingerprint, load_split, row_digests

SHARED = 0.01
"""Share of rows of the evaluation split that may stand in the calibration split without a word."""


@dataclass
class Split:
    """A loaded split, or its rows that count, the fingerprint of its columns, and what a reader of scores must know."""

    data: Any
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether rows that count have labels."""
        return cells.READ in self.data.column_names


def read_split(dataset: Dataset, which: str, places: Mapping[str, str]) -> Split:
    """The whole split, from the place where the data lie.

    Raises:
        BadInput: if it cannot be loaded.

    """
    path = places.get(dataset.path, dataset.path)
    key = f"{which}_split"
    data = load_split(dataset.model_copy(update={"path": path}), str(getattr(dataset, key)), f"dataset.{key}")
    columns = [c for c in (*dataset.data_keys.values(), *dataset.ref_keys) if c in data.column_names]
    return Split(data, data_fingerprint(data, columns))


def counted(sources: Sources, which: str, split: Split, model: Model) -> Split:
    """The rows of a split that count: with the columns ``cells.READ`` (but where none has a label) and ``cells.ROW``.

    Args:
        sources: of the run.
        which: ``eval`` or ``calibration``; of the latter all rows count where none has a label.
        split: as it was loaded.
        model: whose labels count.

    Raises:
        BadInput: at the dotted key that is to blame, if cells are missing or not what they must be.

    """
    data, task, labels = split.data, registry.task(sources.task), names_of_labels.of_model(model.config)
    name = str(getattr(sources.dataset, f"{which}_split"))
    where = f"split {name!r} of {sources.dataset.path!r}"
    try:
        there = all(column in data.column_names for column in sources.dataset.ref_keys)
        references = list(task.references(sources, data, labels)) if there else [None] * len(data)
        kept = [index for index, reference in enumerate(references) if reference is not None]
        if not kept and which == "eval":
            raise cells.Unusable(f"dataset.{which}_split", no_label(where))
        numbered = kept or list(range(len(data)))
        cells.check_texts(data, sources.dataset.data_keys, numbered)
    except cells.Unusable as error:
        text = str(error)
        message = text if text.startswith("no row") else f"{where} cannot be used: {text}"
        raise BadInput([Mistake(error.key, message)]) from error
    added = data.add_column(cells.ROW, [index + 1 for index in range(len(data))])
    if not kept:
        return Split(added, split.fingerprint)
    added = added.add_column(cells.READ, references)
    if len(kept) == len(data):
        return Split(added, split.fingerprint)
    left_out = [index + 1 for index, reference in enumerate(references) if reference is None]
    fingerprint = digest({"data": split.fingerprint, "kept": kept})
    return Split(added.select(kept), fingerprint, (cells.without_label(left_out),))


def no_label(where: str) -> str:
    """The message for a split without labels."""
    return (
        f"no row of {where} has a label (all are empty or -1, as in test splits whose labels are not published); "
        "choose another split, or take ref_keys out: then agreement with the original is measured"
    )


def need_labels(sources: Sources, split: Split) -> Split:
    """The rows of the calibration split, for what chooses by scores on it.

    Raises:
        BadInput: if none has a label.

    """
    if not split.labelled:
        where = f"split {sources.dataset.calibration_split!r} of {sources.dataset.path!r}"
        message = f"what is chosen is chosen by scores on the calibration split, and {no_label(where)}"
        raise BadInput([Mistake("dataset.calibration_split", message)])
    return split


def overlap(dataset: Dataset, evaluation: Split, calibration: Split) -> tuple[str, ...]:
    """The note on rows of the evaluation split that are in the calibration split too, if these are more than a few."""
    if dataset.calibration_split == dataset.eval_split:
        return (
            "the calibration split is the evaluation split: what is chosen or calibrated on it is scored on it too",
        )
    keys = [column for key, column in dataset.data_keys.items() if key != cells.CORPUS]
    there = set(row_digests(calibration.data, keys))
    count = sum(row in there for row in row_digests(evaluation.data, keys))
    total = len(evaluation.data)
    if count <= SHARED * total:
        return ()
    return (f"{count} of {total} rows of the evaluation split are in the calibration split too",)
