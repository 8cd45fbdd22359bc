"""A configuration from a model and data alone: what files would say is told by what lies there."""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from quantbench import embedded
from quantbench.api import _guesses, _ranked
from quantbench.api._found import DATA, MODEL, Asked, ModelFiles, Rows
from quantbench.api._guesses import Chosen
from quantbench.api.configs import override_texts
from quantbench.config import load, paths
from quantbench.config.keys import GRID_KEY
from quantbench.config.overrides import applied
from quantbench.config.rules import MAX_OPSET, MIN_OPSET
from quantbench.errors import BadInput, Mistake, first_line
from quantbench.plugins import registry
from quantbench.schema.settings import ORDER, Config, Settings
from quantbench.sources import columns, models
from quantbench.sources.cells import missing, some
from quantbench.sources.datasets import load_split
from quantbench.system.writing import write_atomically

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
        model: a folder, a name on the hub, an ONNX file, or ``demo``.
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
        asked = Asked(found, task, _names(text_column), _names(label_column), eval_split, calibration_split)
        source = ModelFiles.read(str(model), asked)
        rows = Rows.read(embedded.NAME if data is None else str(data), asked)
        unread = data is None and str(model) != embedded.NAME
        source, chosen = (_of_embedded if unread else _columns)(source, rows, asked)
        plain = _plain(source, rows := rows.by_query(chosen), chosen, grid)
        plain, mistakes = applied(plain, lines := {**OPTIONS}, overrides)
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


def _columns(source: ModelFiles, rows: Rows, asked: Asked) -> tuple[ModelFiles, Chosen]:
    """The model, with the task of rankings where no other was asked for and the data are for one, and the columns."""
    found = columns.columns_of(rows.evaluation)
    again = functools.partial(columns.comes_again, rows.evaluation)
    task = None if asked.task else _ranked.task_of(source.task, source.config, source.labels, found, again)
    if task is not None:
        models.check_kind(source.folder, head=bool(registry.task(task).ARCHITECTURE_SUFFIX))
        source = replace(source, task=task, why=f"{source.why}, and queries with passages in the data")
    if source.task in _ranked.TASKS:
        return source, _ranked.choose_columns(found, asked.columns)
    args = _guesses.args_of(source.task, source.config)
    return source, _guesses.choose_columns(source.task, found, source.labels, args, asked.columns)


def _of_embedded(source: ModelFiles, rows: Rows, asked: Asked) -> tuple[ModelFiles, Chosen]:
    """The model, and columns of the texts that the package has, without their labels, which are of another task.

    Raises:
        BadInput: at ``DATA``, if the task reads something else.

    """
    args = _guesses.args_of(source.task, source.config)
    given = replace(asked.columns, labels=(), unlabelled=True)
    try:
        found = columns.columns_of(rows.evaluation)
        return source, _guesses.choose_columns(source.task, found, source.labels, args, given)
    except BadInput as error:
        message = f"is missing; {source.task} cannot be measured on the texts that quantbench has"
        raise BadInput([Mistake(DATA, f"{message}: give a file, a folder or a hub name after MODEL")]) from error


def _plain(source: ModelFiles, rows: Rows, chosen: Chosen, grid: bool) -> dict[str, Any]:
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
    if source.opset is not None and MIN_OPSET <= source.opset <= MAX_OPSET:
        plain["framework_args"] = {"opset": source.opset}
    if grid:
        plain[GRID_KEY] = {key: list(values) for key, values in GRID.items()}
    return plain


def _lengths(settings: Settings, source: ModelFiles) -> list[int]:
    """Lengths to time at, those of evaluation examples in tokens; none where inputs have no length."""
    task, keys = registry.task(settings.task), settings.dataset.data_keys
    if not task.PROCESSOR.HAS_LENGTH:
        return []
    data = load_split(settings.dataset, settings.dataset.eval_split, "dataset.eval_split")  # texts as such
    problems = task.check(settings, data.features, settings.dataset.eval_split, source.labels)
    if problems:
        raise BadInput(Mistake(key, message) for key, message in problems)
    texts = _rows_to_encode(settings.task, data.select_columns(list(keys.values())), keys)
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


def _rows_to_encode(task: str, data: Any, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Some rows with all of their texts."""
    if task in _ranked.TASKS:
        return list(_ranked.rows(columns.sample(data, _ranked.SAMPLED), keys))
    taken = columns.sample(data, columns.SAMPLED)
    texts = [{key: row[column] for key, column in keys.items()} for row in taken]
    return [row for row in texts if not any(map(_lacks, row.values()))]


def _lacks(value: Any) -> bool:
    return missing(value) or (isinstance(value, list) and (not value or any(map(missing, value))))


def _reasons(source: ModelFiles, rows: Rows) -> dict[str, str]:
    """How each parameter was decided, as comments of a file."""
    seed = f"the only split, in an order drawn by seed {_guesses.SEED} and cut in two"
    counts = f"{len(rows.calibration)} rows to calibrate and {len(rows.evaluation)} to evaluate on"
    return {
        "task": f"{source.why}; there is: {', '.join(registry.names('tasks'))}",
        "model_name_or_path": "the original, to which all others are compared",
        "dataset": f"{counts}: {seed if rows.cut else 'splits by their names'}. Columns by type and name",
        "framework_args": "the opset is that of the ONNX file",
        "task_args": "by the model's config.json and the columns",
        "batch_sizes": "one at a time, and a few",
        "input_lengths": "tokens: the median of the evaluation examples and their 95th percentile",
        GRID_KEY: "each with every other; tune chooses by itself and leaves this out",
    }


def _told(config: Config, source: ModelFiles, rows: Rows, measured: bool) -> tuple[str, str, str]:
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
