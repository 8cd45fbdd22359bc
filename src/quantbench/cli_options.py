"""Arguments and options that commands share, what ``--help`` says of them, and what they stand for."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.logging import RichHandler

import quantbench as qb

error_console = Console(stderr=True)

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder of a checkpoint, a name on the hub, an ONNX file, or demo.")
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|CONFIG.yaml", help="A model: a folder, a hub name, an ONNX file or demo. Or a YAML file."
    ),
]
Data = Annotated[
    str | None,
    typer.Argument(metavar="[DATA]", help="Of a model: a file, a folder or a hub name.", show_default=False),
]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to benchmark, as YAML.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Output folder. Default: `runs/NAME` after NAME.yaml, or MODEL-DATA."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a parameter: `--set time_benchmark_args.duration=5`."),
]
Only = Annotated[
    str, typer.Option("--only", metavar="RUNS", help="Only runs of this name, number, key or `parameter=value`; globs.")
]
NoTiming = Annotated[bool, typer.Option("--no-timing", help="Only scores: the same as `--set batch_sizes=[]`.")]
NoEvaluation = Annotated[
    bool, typer.Option("--no-evaluation", help="Only times: the same as `--set max_eval_samples=0`. Needs no labels.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Details, and the traceback of failed runs.")]

SearchOut = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Output folder. Default: `runs/tune-NAME`, as of `run`.")
]
MaxDrop = Annotated[
    list[str] | None,
    typer.Option("--max-drop", metavar="METRIC=DROP", help="Most allowed loss: `f1=0.005`, or `f1=0.5%` of it."),
]
MaxSize = Annotated[
    str | None,
    typer.Option("--max-size", metavar="SIZE", help="Largest model files: `24MB`. Tables become int8 if need be."),
]
MaxMemory = Annotated[
    str | None,
    typer.Option("--max-memory", metavar="SIZE", help="Largest peak memory of the timed process: `500MB`."),
]
MaxEvaluations = Annotated[
    float | None,
    typer.Option(
        help="Most forwards, in units of one evaluation of the whole evaluation set. Default: 7, thorough 20."
    ),
]
MaxTime = Annotated[
    float | None,
    typer.Option(help="Most seconds, loading included, without the final timing. Default: 600, thorough 1800."),
]
Train = Annotated[
    float,
    typer.Option("--train", metavar="MINUTES", help="Train what pruning would spoil, without labels, so long each."),
]
Thorough = Annotated[
    bool, typer.Option("--thorough", help="Search the candidates that are out by the screening, too, and longer.")
]
ScreenOnly = Annotated[
    bool, typer.Option("--screen-only", help="End with the screening: which candidates are in question, in a minute.")
]
Candidates = Annotated[
    str, typer.Option("--only", metavar="GLOB", help="Only candidates that match, such as `onnxruntime-*`.")
]

_PANEL = "Where MODEL and DATA do not tell"
TaskName = Annotated[
    str | None, typer.Option("--task", metavar="TASK", help="One of `quantbench tasks`.", rich_help_panel=_PANEL)
]
TextColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--text-column",
        metavar="COLUMN",
        help="Texts, words or images; twice for pairs, or question and context.",
        rich_help_panel=_PANEL,
    ),
]
LabelColumns = Annotated[
    list[str] | None,
    typer.Option("--label-column", metavar="COLUMN", help="Labels, answers or similarities.", rich_help_panel=_PANEL),
]
EvalSplit = Annotated[
    str | None,
    typer.Option(
        "--eval-split", metavar="SPLIT", help="To score on, such as `test` or `train[:20%]`.", rich_help_panel=_PANEL
    ),
]
CalibrationSplit = Annotated[
    str | None,
    typer.Option(
        "--calibration-split",
        metavar="SPLIT",
        help="For ranges of activations; what `tune` chooses on.",
        rich_help_panel=_PANEL,
    ),
]


class Configured(NamedTuple):
    """A configuration, a name for its output folder, and what was decided of it; nothing where a file says all."""

    config: qb.Config
    name: str
    told: str = ""


def log_to_console(quiet: bool, verbose: bool) -> None:
    """Show warnings on standard error; with ``verbose`` details, with ``quiet`` errors alone."""
    if not verbose:
        os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # of this process and its children
    if quiet:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    handler = RichHandler(console=error_console, show_path=False, show_time=False)
    logger = logging.getLogger("quantbench")
    logger.setLevel(level)
    logger.propagate = False
    logger.handlers = [handler]


def settled_by(
    task: str | None,
    text_column: list[str] | None,
    label_column: list[str] | None,
    eval_split: str | None,
    calibration_split: str | None,
) -> dict[str, Any]:
    """What options settle of a configuration that is decided."""
    columns = {"text_column": text_column, "label_column": label_column}
    found = {"task": task, **columns, "eval_split": eval_split, "calibration_split": calibration_split}
    return {name: value for name, value in found.items() if value}


def configured(
    target: str, data: str | None, settled: dict[str, Any], overrides: list[str], tuned: bool = False
) -> Configured:
    """The configuration in a file, or the one that is decided for a model and data.

    Raises:
        BadInput: if it cannot be used, or a file is given together with what only a model has.

    """
    path, alone = Path(target), data is None and not settled
    if tuned and target == "demo" and alone:
        return Configured(qb.load_config("demo", set=overrides), target)
    if path.suffix in (".yaml", ".yml") or (data is None and path.is_file() and path.suffix != ".onnx"):
        if not alone:
            where = data or f"--{next(iter(settled)).replace('_', '-')}"
            raise qb.BadInput([qb.Mistake(where, f"belongs to a model; {target} is a configuration, which says it")])
        return Configured(loaded_from(path, overrides), path.stem)
    decided = qb.decide(target, data, set=overrides, grid=not tuned, **settled)
    return Configured(decided.config, name_of(target, data), str(decided))


def name_of(model: str, data: str | None) -> str:
    """What is made of a model and data is called after both."""
    parts = (Path(model).absolute().name, Path(data or model).absolute().name.partition(".")[0])
    return "-".join(parts)


def loaded_from(config: Path, overrides: list[str]) -> qb.Config:
    """A configuration from a file, even one that is called ``demo``."""
    return qb.load_config(config.absolute() if str(config) == "demo" else config, set=overrides)


def overrides(given: list[str] | None, no_timing: bool, no_evaluation: bool) -> list[str]:
    """What ``--set`` says, and what the two switches are short for."""
    left_out = {"batch_sizes=[]": no_timing, "max_eval_samples=0": no_evaluation}
    return [*(given or ()), *(override for override, wanted in left_out.items() if wanted)]


def interrupted(folder: Path, told: str) -> str:
    """What is kept of an interrupted call; ``told`` is what the work itself said of it."""
    try:
        done = sum(result.done for result in qb.load_results(folder))
    except qb.BadInput:
        done = 0  # stopped before there was a folder
    more = f", {told}" if told else ", what was prepared is found again"
    return f"interrupted: {done} run(s) are finished and kept{more}; the same command goes on from there"
