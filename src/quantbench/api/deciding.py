"""A configuration from a model and data alone: what files would say is told by what lies there."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from quantbench import embedded
from quantbench.api import _guesses
from quantbench.api._guesses import Chosen, Given
from quantbench.api.configs import override_texts
from quantbench.config import load, paths
from quantbench.config.keys import GRID_KEY, lookup
from quantbench.config.overrides import applied
from quantbench.errors import BadInput, Mistake, first_line
from quantbench.plugins import registry
from quantbench.schema.settings import ORDER, Config, Dataset, Settings
from quantbench.sources import columns, models, sentence_modules
from quantbench.sources.cells import missing, some
from quantbench.sources.datasets import load_split, split_names
from quantbench.system.writing import write_atomically

MODEL, DATA = "MODEL", "DATA"
"""What a message calls both, as the commands do."""
OPTIONS = {
    "model_name_or_path": MODEL,
    "dataset": DATA,
    "dataset.path": DATA,
    "dataset.name": "--set dataset.name",
    "task": _guesses.TASK,
    "task_args": "--set task_args",
    "dataset.data_keys": _guesses.TEXT,
    "dataset.ref_keys": _guesses.LABEL,
    "dataset.label_names": "--set dataset.label_names",
    "dataset.label_map": "--set dataset.label_map",
    "dataset.eval_split": _guesses.EVAL,
    "dataset.calibration_split": _guesses.CALIBRATION,
}
"""Where a mistake in a parameter is mended, by the parameter."""
BATCH_SIZES = [1, 4]
GRID: Mapping[str, Sequence[Any]] = {"quantization_approach": ["static", "dynamic"], "per_channel": [False, True]}
"""What is tried with every value."""
UNLABELLED = "no labels: held against the original's own predictions"
FEWEST = 4
"""Rows of the only split that are needed to cut it in two."""

logger = logging.getLogger("quantbench")


@dataclass(frozen=True)
class Decision:
    """A configuration that was decided, and how.

    Attributes:
        config: for :func:`quantbench.run`, :func:`quantbench.tune` and :func:`quantbench.plan`.
        reasons: how each parameter was decided.

    """

    config: Config
    reasons: Mapping[str, str]
    _data: Mapping[str, Any]
    _told: tuple[str, str, str]

    def to_yaml(self, folder: str | Path | None = None) -> str:
        """A configuration file that says the same, with the reasons as comments.

        Args:
            folder: where it is to lie. Paths are written in full where that is not the working directory.

        """
        data = dict(self._data)
        if folder is not None and Path(folder).absolute() != Path.cwd():
            places = paths.in_full(self.config)
            data["model_name_or_path"] = places.get(data["model_name_or_path"], data["model_name_or_path"])
            path = data["dataset"]["path"]
            data["dataset"] = {**data["dataset"], "path": places.get(path, path)}
        lines = []
        for line in yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110).splitlines():
            key = line.partition(":")[0]
            lines += [f"# {self.reasons[key]}"] if key in self.reasons else []
            lines.append(line)
        return "\n".join(lines) + "\n"

    def write(self, file: str | Path, *, overwrite: bool = False) -> Path:
        """Write :meth:`to_yaml` to a file.

        Raises:
            BadInput: if the file is there and must not be overwritten, or cannot be written.

        """
        path = Path(file)
        if path.exists() and not overwrite:
            raise BadInput([Mistake(str(path), "is there already; --force overwrites it, --out names another")])
        write_atomically(path, self.to_yaml(path.parent).encode())
        return path

    def __str__(self) -> str:
        return "\n".join(self._told)


def decide(
    model: str | Path,
    data: str | Path | None = None,
    *,
    task: str | None = None,
    text_column: str | Sequence[str] = (),
    label_column: str | Sequence[str] = (),
    eval_split: str | None = None,
    calibration_split: str | None = None,
    set: Mapping[str, Any] | Sequence[str] | None = None,
    grid: bool = True,
) -> Decision:
    """Decide a configuration for a model and data: task, columns, splits and shapes; nothing is written.

    Args:
        model: a folder, a name on the hub, or ``demo``.
        data: a file, a folder or a name on the hub; without it, texts of the package, for ``demo`` with their labels.
        task: needed where the model's configuration does not tell.
        text_column: the column that is read, or both of a pair.
        label_column: the column of labels, or several.
        eval_split: to score on: a split or a slice of one.
        calibration_split: for ranges of activations, and for ``tune`` to choose on.
        set: parameters on top of what is decided, as for :func:`quantbench.load_config`.
        grid: whether static and dynamic int8, per tensor and per channel, are benchmarked.

    Raises:
        BadInput: if the input cannot be used, or something cannot be told: the message names what there is and the
            option that settles it, such as ``--text-column`` for ``text_column``.

    """
    with _at_options():
        overrides = override_texts(set)
        found, mistakes = applied({}, {}, overrides)
        if mistakes:
            raise BadInput(mistakes)
        asked = _Asked(found, task, _names(text_column), _names(label_column), eval_split, calibration_split)
        source = _Model.read(str(model), asked)
        rows = _Rows.read(embedded.NAME if data is None else str(data), asked)
        unread = data is None and str(model) != embedded.NAME
        plain = _plain(source, rows, (_of_embedded if unread else _columns)(source, rows, asked), grid)
        lines = {**OPTIONS}
        plain, mistakes = applied(plain, lines, overrides)
        config = _built(plain, lines)
        lengths = _lengths(config.base, source)
        if lengths and not {"input_lengths"} & {*found, *plain.get(GRID_KEY, ())}:
            plain["input_lengths"] = lengths
            config = _built(plain, lines)
    plain = {key: plain[key] for key in (*ORDER, GRID_KEY) if key in plain}
    return Decision(config, _reasons(source, rows), plain, _told(config, source, rows, bool(lengths)))


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _built(plain: Mapping[str, Any], lines: Mapping[str, str]) -> Config:
    made = load.build_config(plain, lines, "decided")
    return made.model_copy(update={"places": paths.found(made, Path.cwd(), {})})


@contextmanager
def _at_options() -> Iterator[None]:
    """Mistakes at parameters as mistakes at the options that mend them."""
    try:
        yield
    except BadInput as error:
        raise BadInput(Mistake(OPTIONS.get(item.where, item.where), item.message) for item in error.mistakes) from None


@dataclass(frozen=True)
class _Asked:
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
class _Model:
    """A model by its files: nothing of it is loaded."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    task: str
    why: str
    labels: list[str]

    @classmethod
    def read(cls, name: str, asked: _Asked) -> _Model:
        pickled, trusted = (bool(asked.set_to(key)) for key in ("allow_pickled_weights", "trust_remote_code"))
        folder = models.locate_model(name, pickled, trusted)
        models.check_kind(folder, head=False)
        config = models.check_model_folder(folder, pickled, trusted)
        suffixes = {task: registry.task(task).ARCHITECTURE_SUFFIX for task in registry.names("tasks")}
        told = (asked.task, "as asked for") if asked.task else None
        task, why = told or _guesses.task_of(config, (folder / sentence_modules.MODULES).exists(), suffixes)
        models.check_kind(folder, head=bool(suffixes[task]))
        labels = _guesses.labels_of(config)
        return cls(name, folder, {**config, "id2label": dict(enumerate(labels))}, task, why, labels)


@dataclass(frozen=True)
class _Rows:
    """A data set with the splits that were chosen, which are loaded."""

    name: str
    splits: tuple[str, str]
    evaluation: Any
    calibration: Any
    cut: bool
    known: Mapping[str, Any]

    @classmethod
    def read(cls, name: str, asked: _Asked) -> _Rows:
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


def _columns(source: _Model, rows: _Rows, asked: _Asked) -> Chosen:
    args = _guesses.args_of(source.task, source.config)
    found = columns.columns_of(rows.evaluation)
    return _guesses.choose_columns(source.task, found, source.labels, args, asked.columns)


def _of_embedded(source: _Model, rows: _Rows, asked: _Asked) -> Chosen:
    """Columns of the texts that the package has, without their labels, which are those of another task.

    Raises:
        BadInput: at ``DATA``, if the task reads something else.

    """
    args = _guesses.args_of(source.task, source.config)
    given = replace(asked.columns, labels=(), unlabelled=True)
    try:
        return _guesses.choose_columns(source.task, columns.columns_of(rows.evaluation), source.labels, args, given)
    except BadInput as error:
        message = f"is missing; {source.task} cannot be measured on the texts that quantbench has"
        raise BadInput([Mistake(DATA, f"{message}: give a file, a folder or a hub name after MODEL")]) from error


def _plain(source: _Model, rows: _Rows, chosen: Chosen, grid: bool) -> dict[str, Any]:
    """The configuration as a file has it, but for its lengths."""
    evaluation, calibration = rows.splits
    columns_read = {"data_keys": dict(chosen.data_keys), "ref_keys": list(chosen.ref_keys)}
    splits = {"calibration_split": calibration, "eval_split": evaluation}
    plain: dict[str, Any] = {
        "task": source.task,
        "model_name_or_path": source.name,
        "dataset": {"path": rows.name, **rows.known, **splits, **columns_read},
        "batch_sizes": list(BATCH_SIZES),
    }
    if args := {**_guesses.args_of(source.task, source.config), **chosen.task_args}:
        plain["task_args"] = args
    if grid:
        plain[GRID_KEY] = {key: list(values) for key, values in GRID.items()}
    return plain


def _lengths(settings: Settings, source: _Model) -> list[int]:
    """Lengths to time at, those of evaluation examples in tokens; none where inputs have no length."""
    task, keys = registry.task(settings.task), settings.dataset.data_keys
    if not task.PROCESSOR.HAS_LENGTH:
        return []
    data = load_split(settings.dataset, settings.dataset.eval_split, "dataset.eval_split")  # texts as such
    problems = task.check(settings, data.features, settings.dataset.eval_split, source.labels)
    if problems:
        raise BadInput(Mistake(key, message) for key, message in problems)
    taken = columns.sample(data, columns.SAMPLED)
    texts = [{key: row[column] for key, column in keys.items()} for row in taken.select_columns(list(keys.values()))]
    texts = [row for row in texts if not any(map(_lacks, row.values()))]
    if not texts:
        raise BadInput([Mistake(_guesses.TEXT, f"no row has a text in column {next(iter(keys.values()))!r}")])
    try:
        processor = task.PROCESSOR(source.folder, settings.trust_remote_code)
        encoded = task.SERVED.encode(texts, processor, task.serving(settings, processor, source.config))
    except BadInput:
        raise
    except Exception as error:  # of the libraries, for what the user gave
        logger.debug("%s", "".join(traceback.format_exception(error)))
        message = f"texts cannot be made tokens by {source.name!r}: {first_line(error)}; check its files"
        raise BadInput([Mistake(MODEL, message)]) from error
    return _guesses.lengths_of(encoded.costs, processor.max_length(source.config))


def _lacks(value: Any) -> bool:
    return missing(value) or (isinstance(value, list) and (not value or any(map(missing, value))))


def _reasons(source: _Model, rows: _Rows) -> dict[str, str]:
    """How each parameter was decided, as comments of a file."""
    seed = f"the only split, in an order drawn by seed {_guesses.SEED} and cut in two"
    counts = f"{len(rows.calibration)} rows to calibrate and {len(rows.evaluation)} to evaluate on"
    return {
        "task": f"{source.why}; there is: {', '.join(registry.names('tasks'))}",
        "model_name_or_path": "the original, to which all others are compared",
        "dataset": f"{counts}: {seed if rows.cut else 'splits by their names'}. Columns by type and name",
        "task_args": "by the model's config.json and the columns",
        "batch_sizes": "one at a time, and a few",
        "input_lengths": "tokens: the median of the evaluation examples and their 95th percentile",
        GRID_KEY: "each with every other; tune chooses by itself and leaves this out",
    }


def _told(config: Config, source: _Model, rows: _Rows, measured: bool) -> tuple[str, str, str]:
    """What was decided, in three lines: model and task; data, columns and splits; shapes and grid."""
    base, dataset = config.base, config.base.dataset
    args = ", ".join(name for name, value in base.task_args.model_dump().items() if value is True)
    held = ", ".join(f"{key} {column!r}" for key, column in dataset.data_keys.items())
    labels = f", references {', '.join(map(repr, dataset.ref_keys))}" if dataset.ref_keys else f", {UNLABELLED}"
    read = {name.partition(".")[0] for name in (*dataset.data_keys.values(), *dataset.ref_keys)}
    rest = [name for name in rows.evaluation.column_names if name not in read]
    unread = f", not read: {some(rest)}" if rest else ""
    if absent := [name for name in rows.calibration.column_names if name not in rows.evaluation.column_names]:
        unread += f", only in {dataset.calibration_split}: {some(absent)}"
    splits = (
        f"{len(rows.calibration)} rows of {dataset.calibration_split} to calibrate, "
        f"{len(rows.evaluation)} of {dataset.eval_split} to evaluate"
    )
    lengths = f", lengths {', '.join(map(str, base.input_lengths))}" if measured else ""
    shapes = f"batches of {', '.join(map(str, base.batch_sizes))}{lengths}" if base.is_timed else "no timing"
    grid = {dimension.key: dimension.values for dimension in config.dimensions}
    tried = "; ".join(f"{key} {', '.join(map(_short, values))}" for key, values in grid.items())
    return (
        f"model: {base.model_name_or_path}, {base.task}{f' ({args})' if args else ''}: {source.why}",
        f"data: {dataset.path}, {held}{labels}{unread}; {splits}",
        f"measured: {shapes}{f'; {tried}' if tried else ''}",
    )


def _short(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
