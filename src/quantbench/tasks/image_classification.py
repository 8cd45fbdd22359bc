"""Image classification: one label per image, read with the checkpoint's own image processor.

Labels of data set and model are matched by name, never by number. Without labels, the original's predictions are the
reference (``_agreement``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, overload

import numpy as np
from pydantic import JsonValue

from quantbench.errors import BadInput, Mistake, RunFailed, first_line
from quantbench.plugins.examples import Prediction
from quantbench.plugins.protocols import Likelihood, Rule
from quantbench.schema.base import digest
from quantbench.schema.results import Scores
from quantbench.schema.settings import Settings, Sources, TaskArgs
from quantbench.served import image_classification as served
from quantbench.sources import cells
from quantbench.sources import labels as names_of_labels
from quantbench.sources.datasets import column_digest
from quantbench.tasks import _agreement, _label_metrics, _outputs
from quantbench.tasks._images import ImageProcessor

SUMMARY = "a label per image"
PIPELINE_TAG = "image-classification"
AUTO_CLASS = "AutoModelForImageClassification"
ARCHITECTURE_SUFFIX = "ForImageClassification"
DATA_KEYS = ("primary",)
TOP_5 = "top_5_accuracy"
AGREED = (_agreement.AGREEMENT,)
METRICS: Mapping[str, tuple[str, ...]] = {
    **_label_metrics.LABEL_METRICS,
    **{name: (name,) for name in (TOP_5, *AGREED)},
}
OUTPUTS = {"logits": {0: "batch_size"}}
PROCESSOR = ImageProcessor
SERVED = served
LIBRARIES = ("PIL",)
EXTRA = "images"
COLUMNS = (*_label_metrics.SINGLE, "among_top_5")
DEFAULT_SIZE, DEFAULT_PATCH = 224, 16


class Args(TaskArgs, extra="forbid"):
    """There are no options of images."""


RULES: tuple[Rule, ...] = ()


class Readable(Sequence[Any]):
    """The images of rows, each read when it is asked for; one that cannot be is named by its row."""

    def __init__(self, images: Any, rows: Sequence[int]) -> None:
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        try:
            return self._images[index]
        except Exception as error:
            raise RunFailed(f"the image of row {self._rows[index]} cannot be read: {first_line(error)}") from error


@dataclass(frozen=True)
class ImageExamples(served.Encoded):
    """Prepared images and their labels.

    Attributes:
        references: number of the label of each image; None without labels.
        fingerprint: hash of images, processor and labels.
        notes: what a reader of the scores must know.

    """

    references: Sequence[int] | None
    fingerprint: str
    notes: tuple[str, ...]


def known_metrics(sources: Sources) -> tuple[str, ...]:
    """Those of one label per example; without labels that of agreement."""
    return AGREED if _agreement.unlabelled(sources) else tuple(name for name in METRICS if name not in AGREED)


def default_metrics(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Accuracy, the usual metric of image classification; without labels agreement."""
    return AGREED if _agreement.unlabelled(sources) else ("accuracy",)


def default_limit(sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
    """Accuracy may drop by 0.005, agreement by 0.02."""
    return (*AGREED, _agreement.LIMIT) if _agreement.unlabelled(sources) else ("accuracy", 0.005)


def likelihood(sources: Sources) -> Likelihood:
    """``categorical``: one label of many."""
    return "categorical"


def check(settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    """Mistakes in columns and labels of a split, given its ``datasets.Features`` and the model's label names."""
    found = names_of_labels.columns(settings, features, split, {"primary": "images"}, needed=_agreement.needs(settings))
    if found:
        return found
    images = settings.dataset.data_keys["primary"]
    if type(features[images]).__name__ != "Image":
        texts = getattr(features[images], "dtype", None) in names_of_labels.TEXTS
        hint = "; to read paths, write them as images: dataset.cast_column(COLUMN, datasets.Image()).to_parquet(FILE)"
        message = f"column {images!r} must hold images, it is {features[images]}{hint if texts else ''}"
        found.append(("dataset.data_keys", message))
    if _agreement.unlabelled(settings):
        return found
    column = settings.dataset.ref_keys[0]
    found += _label_metrics.check_binary({value for name in settings.metrics for value in METRICS[name]}, len(labels))
    return found + names_of_labels.check(settings, features[column], column, labels)


def check_model(sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Mistakes in what the model's outputs are taken for, as its ``config.json`` has them."""
    return _outputs.mistakes(model_config, Args())


def references(sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
    """The number of the label of each row, None where it has none."""
    if _agreement.unlabelled(sources):
        return _agreement.references(dataset)
    return names_of_labels.single(sources, dataset, sources.dataset.ref_keys[0], labels)


def prepare(sources: Sources, dataset: Any, processor: Any, model_config: Any) -> ImageExamples:
    """Read and collate images on demand, with their labels as numbers of the model's."""
    column = sources.dataset.data_keys["primary"]
    labels = names_of_labels.of_model(model_config)
    unlabelled = _agreement.unlabelled(sources)
    references = None if unlabelled else cells.references(dataset)
    _check_images(dataset, column)
    made = {"images": column_digest(dataset, column), "processor": processor.raw.to_json_string()}
    args = serving(sources, processor, model_config)
    encoded = served.encode_images(Readable(dataset[column], dataset[cells.ROW]), processor, args)
    return ImageExamples(
        **vars(encoded),
        references=references,
        fingerprint=digest({**made, "references": references, "labels": labels}),
        notes=_agreement.NOTES if unlabelled else (),
    )


def serving(sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What images are encoded and answered with, here and beside a deployed model."""
    return {"labels": [*names_of_labels.of_model(model_config)], "patches": _patches(model_config)}


def _check_images(dataset: Any, column: str) -> None:
    """Check that every file begins as a picture does; whether all of it is readable shows when it is read.

    Raises:
        BadInput: with the first row whose file does not.

    """
    from PIL import Image

    files = dataset.cast_column(column, type(dataset.features[column])(decode=False))[column]
    for row, file in zip(dataset[cells.ROW], files, strict=True):
        try:
            with Image.open(BytesIO(file["bytes"]) if file["bytes"] else file["path"]):
                pass
        except Exception as error:
            what = "has no image" if file is None else f"has an image that cannot be read ({type(error).__name__})"
            message = f"row {row} {what} in column {column!r}; mend it, or take the row out"
            raise BadInput([Mistake("dataset.data_keys", message)]) from error


def _patches(model_config: Mapping[str, Any]) -> int:
    """Tokens of an image in a model of ViT's kind (Dosovitskiy et al., 2021): its patches and one more."""
    sizes = [model_config.get("image_size", DEFAULT_SIZE), model_config.get("patch_size", DEFAULT_PATCH)]
    size, patch = (max(value) if isinstance(value, list | tuple) else int(value) for value in sizes)
    return max(1, size // patch) ** 2 + 1


decode = served.decode


def score(examples: ImageExamples, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
    """All values of labels, and how often the right one is among the five most likely."""
    if examples.references is None:
        same = [[float(a[0] == b[0])] for a, b in zip(predictions, original, strict=True)]
        return _agreement.scores(AGREED, np.asarray(same))
    pairs = zip(examples.references, predictions, strict=True)
    outcomes = tuple((reference, top[0], int(reference in top)) for reference, top in pairs)
    return Scores(
        metrics=metrics(COLUMNS, np.asarray(outcomes, dtype=np.float64), np.ones(len(outcomes))),
        examples=len(outcomes),
        changed=sum(a[0] != b[0] for a, b in zip(predictions, original, strict=True)),
        columns=COLUMNS,
        outcomes=outcomes,
        notes=_label_metrics.doubts_of(outcomes),
    )


def metrics(
    columns: Sequence[str], outcomes: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]
) -> _label_metrics.Values:
    """Metric values of weighted outcomes, see ``_label_metrics.of_labels``, with the accuracy among the top five."""
    if tuple(columns) == AGREED:
        return _agreement.metrics(columns, outcomes, weights)
    found = _label_metrics.of_labels(outcomes[:, :2], weights)
    return {**found, TOP_5: _label_metrics.ratio(weights @ outcomes[:, 2], weights.sum(axis=-1))}
