"""The command ``check``, whose files and data stand behind each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import quantbench as qb
from quantbench import cli_options as given
from quantbench import errors

MODELS = (
    *(".onnx", ".xml", ".bin", ".ort", ".pb", ".pbtxt", ".h5", ".keras", ".tflite"),
    *(".pt", ".pth", ".safetensors", ".gguf"),
)
"""How model files end, whether they can be judged or not; what else stands last is data."""
CODES = (
    (("does not load",), errors.EXIT_UNLOADABLE),
    (("worse",), errors.EXIT_WORSE),
    (("not judged", "undecided"), errors.EXIT_NOT_JUDGED),
)
"""Exit codes by verdicts, the first that some file has."""


def check(
    words: Annotated[
        list[str],
        typer.Argument(metavar="FILE... [DATA]", help="ONNX files and OpenVINO IRs; last the data, as of `run`."),
    ],
    original: Annotated[str, typer.Option("--original", metavar="MODEL", help="Made from this model, as of `run`.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for check.md and check.json. Default: none.")
    ] = None,
    max_drop: given.MaxDrop = None,
    override: given.Overrides = None,
    no_timing: given.NoTiming = False,
    task: given.TaskName = None,
    text_column: given.TextColumns = None,
    label_column: given.LabelColumns = None,
    eval_split: given.EvalSplit = None,
    calibration_split: given.CalibrationSplit = None,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Judge ONNX files and OpenVINO IRs that exist, whoever made them, against the model they were made from.

    `quantbench check model_quantized.onnx model_fp16.onnx --original ./my-model reviews.csv`

    Says of each file whether it loads, keeps the original's quality and is faster, in the same rounds as all others,
    what is quantized in it, and which tensors are at fault where its fixed ranges break it. Task, columns and shapes
    are decided as by `run MODEL DATA`. 300 examples are scored and each file is timed for 2 s at a shape: `--set
    max_eval_samples=N` and `--set time_benchmark_args.duration=S` ask for more.

    Exits with 7 if a file does not load, else with 5 if one is worse than the limit, else with 8 if one could not be
    judged or more examples must decide, and else with 0.
    """
    given.log_to_console(quiet, verbose)
    files, data = parted(words)
    settled = given.settled_by(task, text_column, label_column, eval_split, calibration_split)
    settled |= {"max_drop": max_drop, "set": given.overrides(override, no_timing, no_evaluation=False)}
    try:
        found = qb.check(files, original=original, data=data, out=out, progress=not quiet, **settled)
    except KeyboardInterrupt:
        given.error_console.print("interrupted; predictions of the original are kept")
        raise typer.Exit(errors.EXIT_INTERRUPTED) from None
    if not quiet:
        given.error_console.print(found.decided, markup=False, highlight=False, soft_wrap=True)
    typer.echo(found)
    if out is not None:
        typer.echo(f"report: {out / 'check.md'}")
    raise typer.Exit(next((code for verdicts, code in CODES if found.of(*verdicts)), errors.EXIT_DONE))


def parted(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Files, and the data that may stand behind them."""
    last = words[-1]
    if len(words) == 1 or Path(last).suffix.lower() in MODELS:
        return list(words), None
    return list(words[:-1]), last
