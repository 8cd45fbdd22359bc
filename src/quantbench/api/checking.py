"""The whole job behind ``check``: model files that exist, whoever made them, judged against their original."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbench.api import frames
from quantbench.api._guesses import SEED
from quantbench.api._reporters import reporter
from quantbench.api.configs import override_texts
from quantbench.api.deciding import Decision, decide
from quantbench.api.limits import limit_texts, parse_limit, scored_limits
from quantbench.api.running import checked
from quantbench.errors import BadInput, Mistake
from quantbench.plugins import registry
from quantbench.schema.settings import Config
from quantbench.sources import model_files
from quantbench.system import cache
from quantbench.system.files import unwritable
from quantbench.system.writing import write_atomically
from quantbench.tune.search import Limit

if TYPE_CHECKING:
    import pandas

    from quantbench.pipeline.context import Context
    from quantbench.pipeline.judge import Judged
    from quantbench.reports._check import Found

DEFAULTS = (
    "quantization_approach=none",
    "batch_sizes=[1]",
    "max_eval_samples=300",
    "time_benchmark_args.duration=2",
    "time_benchmark_args.warmup_runs=3",
)
"""What is decided otherwise than for ``run``: half a minute for each file of a small model."""
WHOLE = re.compile(r"\w+")
"""A split that is named without saying which rows of it."""
COLUMNS = (
    *("file", "verdict", "reason", "metric", "difference", "difference_low", "difference_high", "changed", "bytes"),
    *("batch_size", "input_length", "original_ms", "file_ms", "speedup", "speedup_low", "speedup_high", "speed"),
)


@dataclass(frozen=True)
class Check:
    """Files judged against their original; a notebook shows the report.

    Attributes:
        config: the original, its task, data and shapes.
        decided: how these were decided, in three lines.

    """

    config: Config
    decided: str
    _found: Found

    @property
    def files(self) -> tuple[Judged, ...]:
        """The files in their order, with ``reason``, ``notes``, ``scores``, ``differences`` and what is in them.

        ``verdict`` is ``keeps``, ``worse``, ``undecided``, ``not judged`` or ``does not load``.
        """
        return tuple(self._found.files)

    def of(self, *verdicts: str) -> tuple[Path, ...]:
        """The files of these verdicts."""
        return tuple(found.path for found in self.files if found.verdict in verdicts)

    def to_dataframe(self) -> pandas.DataFrame:
        """A row per file × shape, of files that were not timed one.

        ``difference`` is file minus original, of the first limited metric; ``speed`` the verdict on the speedup.

        Raises:
            BadInput: if pandas is not installed.

        """
        metric, rows = next(iter(self._found.limits)), []
        for file in self.to_dict()["files"]:
            change = file["differences"].get(metric, {})
            ends = (change.get("value"), change.get("low"), change.get("high"))
            quality = (file["file"], file["verdict"], file["reason"], metric, *ends, file["changed"], file["bytes"])
            for at in file["speed"] or [{}]:
                names = ("batch_size", "input_length", "original_ms", "file_ms", "speedup", "low", "high", "verdict")
                rows.append(dict(zip(COLUMNS, (*quality, *map(at.get, names)), strict=True)))
        return frames.frame(rows, COLUMNS)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as ``check.json`` has it."""
        from quantbench.reports import _check

        return _check.data(self._found)

    def write(self, folder: str | Path) -> Path:
        """Write ``check.md`` and ``check.json`` into a folder; the path of the first."""
        from quantbench.reports import _check

        path = Path(folder) / _check.FILE
        write_atomically(path, self._repr_markdown_().encode())
        write_atomically(path.with_name(_check.DATA), (json.dumps(self.to_dict(), indent=2) + "\n").encode())
        return path

    def _repr_markdown_(self) -> str:
        from quantbench.reports import _check

        return _check.markdown(self._found)

    def __str__(self) -> str:
        from quantbench.reports import _check

        return _check.text(self._found)

    def __repr__(self) -> str:
        told = ", ".join(f"{found.path.name} {found.verdict}" for found in self.files)
        return f"<Check: {told}>"


def check(
    files: str | Path | Sequence[str | Path],
    *,
    original: str | Path,
    data: str | Path | None = None,
    max_drop: Mapping[str, float | str] | Sequence[str] | None = None,
    out: str | Path | None = None,
    task: str | None = None,
    text_column: str | Sequence[str] = (),
    label_column: str | Sequence[str] = (),
    eval_split: str | None = None,
    calibration_split: str | None = None,
    set: Mapping[str, Any] | Sequence[str] | None = None,
    progress: bool = False,
) -> Check:
    """Judge ONNX files and OpenVINO IRs, whoever made them, against the model that they were made from.

    Of each file: whether it loads and keeps the quality, how fast it is in the same rounds as all others, what is
    quantized in it, and what breaks it where its fixed ranges do.

    Args:
        files: one or several.
        original: a folder, a name on the hub, an ONNX file, or ``demo``.
        data: as for :func:`quantbench.decide`, like all that follows but ``max_drop``.
        max_drop: as for :func:`quantbench.tune`.
        out: a folder for ``check.md`` and ``check.json``; None writes nothing.
        task: what the model is for.
        text_column: the column that is read, or both of a pair.
        label_column: the column of labels, or several.
        eval_split: to score on. A whole split is put into an order drawn by a seed, of which the first examples count.
        calibration_split: another, which is not read.
        set: parameters on top: ``max_eval_samples`` (300), ``batch_sizes`` ([1]), ``time_benchmark_args`` (2 seconds).
        progress: whether bars are shown on standard error.

    Raises:
        BadInput: if a file is not there, or original, data or options cannot be used.

    """
    paths = _there([files] if isinstance(files, (str, Path)) else list(files), out)
    columns: dict[str, Any] = {"task": task, "text_column": text_column, "label_column": label_column}
    splits: dict[str, Any] = {"eval_split": eval_split, "calibration_split": calibration_split}
    decided = decide(original, data, **columns, **splits, set=[*DEFAULTS, *override_texts(set)], grid=False)
    config = _single(decided)
    limits = [parse_limit(text, config) for text in limit_texts(max_drop)]
    found = _found(paths, config, limits, checked(config, None, (), reporter(progress)))
    done = Check(config, str(decided), found)
    if out is not None:
        done.write(out)
    return done


def _there(files: Sequence[str | Path], out: str | Path | None) -> list[Path]:
    """The paths of the files, each once.

    Raises:
        BadInput: if there are none, one is not there, the library that loads it is not installed, or what is found
            cannot be written.

    """
    paths = list(dict.fromkeys(Path(file).expanduser() for file in files))
    mistakes = [] if paths else [Mistake("FILE", "is missing; name an .onnx file or an .xml file of OpenVINO")]
    for path in paths:
        if path.is_dir():
            held = sorted(str(file.relative_to(path)) for file in path.rglob("*") if model_files.is_model(file))
            there = f"; there is: {', '.join(held[:8])}" if held else ""
            mistakes.append(Mistake(str(path), f"is a folder; name the files in it{there}"))
        elif not path.is_file():
            mistakes.append(Mistake(str(path), "there is no such file"))
        else:
            mistakes += _libraries(path)
    problem = unwritable(Path(out)) if out is not None else None
    if problem is not None:
        mistakes.append(Mistake(f"--out {out}", f"cannot be written to: {problem.strerror or problem}"))
    if mistakes:
        raise BadInput(mistakes)
    return paths


def _libraries(path: Path) -> list[Mistake]:
    for name in registry.names("runtimes"):
        runtime = registry.runtime(name)
        missing = [library for library in runtime.SERVED.LIBRARIES if find_spec(library) is None]
        if path.suffix.lower() in runtime.ENDINGS and missing:
            message = f"needs {' and '.join(missing)} to be loaded: pip install 'quantbench[{runtime.EXTRA}]'"
            return [Mistake(str(path), message)]
    return []


def _single(decided: Decision) -> Config:
    """The configuration without a grid, its examples drawn from all of the split."""
    config, base = decided.config, decided.config.base
    if config.dimensions:
        keys = ", ".join(dimension.key for dimension in config.dimensions)
        message = "has nothing to benchmark: files are what they are; set one value"
        raise BadInput([Mistake(f"--set benchmarked.{keys}", f"check {message}")])
    if not base.is_evaluated:
        message = "check compares predictions; set null or a number"
        raise BadInput([Mistake("--set max_eval_samples=0", message)])
    if registry.launcher(base.backend.name).REMOTE:
        message = f"check runs on this machine, not on {base.backend.name}; leave it out"
        raise BadInput([Mistake("--set backend", message)])
    split = base.dataset.eval_split
    if WHOLE.fullmatch(split) and base.max_eval_samples is not None:
        drawn = base.dataset.model_copy(update={"eval_split": f"{split}.shuffle({SEED})"})
        base = base.model_copy(update={"dataset": drawn})
    return config.model_copy(update={"base": base})


def _found(paths: Sequence[Path], config: Config, limits: Sequence[Limit], context: Context) -> Found:
    """All files judged, timed and, where their ranges break them, explained."""
    from quantbench.diagnose.of_file import diagnose_file, has_fixed_ranges, unexplained
    from quantbench.pipeline.evaluate import scores
    from quantbench.pipeline.judge import Judge
    from quantbench.pipeline.load import load
    from quantbench.pipeline.timed_files import time_files
    from quantbench.reports._check import Found

    settings = config.base
    with cache.alone(context.cache.folder, context.reporter):
        loaded = load(settings, context)
        original, _ = scores(loaded.model.original, settings, loaded, "the original", context)
        asked = scored_limits(limits, settings, context)
        most = {limit.metric: limit.absolute(original.metrics[limit.metric]) for limit in asked}
        judge = Judge(settings, loaded, most, context)
        files = [judge.judge(path) for path in paths]
        times = time_files(files, settings, loaded, context)
        task = registry.task(settings.task)
        causes = {
            place: unexplained(found, task) or diagnose_file(found, settings, loaded, context)
            for place, found in enumerate(files)
            if has_fixed_ranges(found)
        }
    title = f"{settings.model_name_or_path} on {settings.dataset.path}"
    return Found(files, times, causes, original, most, settings.time_benchmark_args.precision, title)
