"""What a configuration is decided from: what was asked for, a model by its files, and the rows of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantbench.api import _guesses, _ranked
from quantbench.api._guesses import Chosen, Given
from quantbench.config.keys import lookup
from quantbench.errors import BadInput, Mistake
from quantbench.plugins import registry
from quantbench.schema.settings import Dataset
from quantbench.sources import adapters, given_files, model_files, models, sentence_modules
from quantbench.sources.cells import item
from quantbench.sources.columns import kind_of
from quantbench.sources.datasets import load_split, split_names
from quantbench.system import cache

MODEL, DATA = "MODEL", "DATA"
"""What a message calls both, as the commands do."""
SINGLE = ("passages", "positive")
"""Data keys of which a row may hold one passage."""
FEWEST = 4
"""Rows of the only split that are needed to cut it in two."""


@dataclass(frozen=True)
class Asked:
    """What options and ``--set`` settle; an option counts more."""

    found: Mapping[str, Any]
    option_task: str | None
    option_texts: tuple[str, ...]
    option_labels: tuple[str, ...]
    option_evaluation: str | None
    option_calibration: str | None

    def set_to(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key."""
        try:
            return lookup(self.found, key)
        except KeyError:
            return default

    @property
    def task(self) -> str | None:
        """The task, if it is known."""
        name = self.option_task or self.set_to("task")
        if name is not None and name not in registry.names("tasks"):
            message = registry.unknown_name(str(name), registry.names("tasks"), "task")
            raise BadInput([Mistake(_guesses.TASK, message)])
        return name

    @property
    def columns(self) -> Given:
        """What is known of columns."""
        keys, refs = self.set_to("dataset.data_keys"), self.set_to("dataset.ref_keys")
        named, mapping = self.set_to("dataset.label_names"), self.set_to("dataset.label_map")
        mapping = mapping if isinstance(mapping, Mapping) else {}
        texts = tuple(map(str, keys.values())) if isinstance(keys, Mapping) else ()
        labels = tuple(map(str, refs)) if isinstance(refs, list) else ()
        labels = self.option_labels or labels
        unlabelled = refs == [] and not labels
        return Given(self.option_texts or texts, labels, bool(named or mapping), mapping, unlabelled)

    @property
    def splits(self) -> tuple[str | None, str | None]:
        """Those to evaluate and to calibrate on."""
        return (
            self.option_evaluation or self.set_to("dataset.eval_split"),
            self.option_calibration or self.set_to("dataset.calibration_split"),
        )


@dataclass(frozen=True)
class ModelFiles:
    """A model by its files: nothing of it is loaded, but for an adapter, whose files are merged with its base's.

    ``why`` says what tells the task, ``labels`` are the names of its outputs, ``opset`` is an ONNX file's.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    task: str
    why: str
    labels: list[str]
    opset: int | None = None

    @classmethod
    def read(cls, name: str, asked: Asked) -> ModelFiles:
        """The model of a name, with its task and what tells it.

        Raises:
            BadInput: if it cannot be used, or its task cannot be told.

        """
        pickled, trusted = (bool(asked.set_to(key)) for key in ("allow_pickled_weights", "trust_remote_code"))
        folder = models.locate_model(name, pickled, trusted)
        if (file := given_files.find(folder)) is not None:
            return cls._of_file(name, file, trusted, asked)
        adapter = adapters.find(folder, pickled)
        if adapter is not None:
            folder = adapters.merge(adapter, cache.folder(), pickled)
        models.check_kind(folder, head=asked.task is None)  # a head that is there is not passed over unasked
        config = models.check_model_folder(folder, pickled, trusted)
        found = cls._told(name, folder, config, asked)
        models.check_kind(folder, head=bool(registry.task(found.task).ARCHITECTURE_SUFFIX))
        return found

    @classmethod
    def _of_file(cls, name: str, file: Path, trusted: bool, asked: Asked) -> ModelFiles:
        problem = model_files.unloadable(file, (model_files.ONNX,))
        if problem is not None:
            raise BadInput([Mistake(MODEL, f"{file} {problem}")])
        folder = given_files.home(file)
        found = cls._told(name, folder, models.check_config(folder, trusted), asked)
        return replace(found, opset=given_files.opset(file))

    @classmethod
    def _told(cls, name: str, folder: Path, config: Mapping[str, Any], asked: Asked) -> ModelFiles:
        """With the task that a configuration tells, or that was asked for."""
        names = sorted(registry.names("tasks"), key=_ranked.TASKS.__contains__)  # what takes rankings follows from data
        suffixes = {task: registry.task(task).ARCHITECTURE_SUFFIX for task in names}
        told = (asked.task, "as asked for") if asked.task else None
        task, why = told or _guesses.task_of(config, (folder / sentence_modules.MODULES).exists(), suffixes)
        labels = _guesses.labels_of(config)
        return cls(name, folder, {**config, "id2label": dict(enumerate(labels))}, task, why, labels)


@dataclass(frozen=True)
class Rows:
    """A data set with the splits that were chosen, which are loaded; ``cut`` where both are parts of the only one."""

    name: str
    splits: tuple[str, str]
    evaluation: Any
    calibration: Any
    cut: bool
    known: Mapping[str, Any]

    @classmethod
    def read(cls, name: str, asked: Asked) -> Rows:
        """The data set of a name, with splits that are asked for or chosen by their names.

        Raises:
            BadInput: if it cannot be read, or its splits cannot be told.

        """
        known = {key: asked.set_to(f"dataset.{key}") for key in ("name", "revision")}
        known = {key: str(value) for key, value in known.items() if value is not None}
        dataset = Dataset(path=name, **known)
        names = split_names(dataset)
        splits = _guesses.choose_splits(names, *asked.splits)
        cut = asked.splits == (None, None) and len(names) == 1
        if cut and (count := len(load_split(dataset, names[0], "dataset.path"))) < FEWEST:
            message = f"has {count} rows, too few to be cut in two; at least {FEWEST} are needed, and many more wanted"
            raise BadInput([Mistake(DATA, message)])
        keys = ("dataset.eval_split", "dataset.calibration_split")
        loaded = [load_split(dataset, split, key) for split, key in zip(splits, keys, strict=True)]
        return cls(name, splits, loaded[0], loaded[1], cut, known)

    def by_query(self, chosen: Chosen) -> Rows:
        """The rows as they are counted where several are about one query: a row per query."""
        passages = next((chosen.data_keys[key] for key in SINGLE if key in chosen.data_keys), "")
        feature = self.evaluation.features.get(passages)
        if item(feature) is not None or kind_of(feature) not in ("text", "answers"):
            return self
        dataset = Dataset(path=self.name, **self.known, data_keys=dict(chosen.data_keys), ref_keys=chosen.ref_keys)
        evaluation, calibration = (load_split(dataset, split, "dataset.eval_split") for split in self.splits)
        return replace(self, evaluation=evaluation, calibration=calibration)
