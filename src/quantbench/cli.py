"""The command line: thin commands, no logic."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

import quantbench as qb
from quantbench.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_SLOWER,
    EXIT_SLOWER_AND_WORSE,
    EXIT_SOME_FAILED,
    EXIT_WORSE,
    check_platform,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Which int8 version of a transformer encoder to deploy on this CPU: what it costs, what it wins.

Start with `quantbench demo`. Then write a YAML file (see `examples/`), look at it with `quantbench plan FILE`
and measure it with `quantbench run FILE`, or let `quantbench tune FILE` choose the version to deploy.

Exit codes: 0 all runs done, 2 bad input (nothing written but what was finished before), 3 some runs failed,
130 interrupted.""",
)
error_console = Console(stderr=True)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to benchmark, as YAML.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Output folder. Default: `runs/NAME`, after NAME.yaml.")
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


@app.command("run")
def run_command(
    config: ConfigFile,
    out: Out = None,
    override: Overrides = None,
    only: Only = "*",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what the backend would be asked for, as JSON, and do nothing.")
    ] = False,
    no_timing: NoTiming = False,
    no_evaluation: NoEvaluation = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure everything in a configuration and write the card.

    A second call with the same file and folder does only what is missing. What leaves timing or evaluation out is
    another configuration, which needs an `--out` of its own. Where it runs is the configuration's
    `backend`: this machine, a Ray cluster or SageMaker training jobs (`docs/launchers.md`).
    """
    loaded = _loaded(config, _overrides(override, no_timing, no_evaluation))
    folder = out or Path("runs") / config.stem
    if dry_run:
        typer.echo(json.dumps(qb.plan(loaded, out=folder, only=only).requests(), indent=2))
        return
    _run(loaded, folder, only, quiet, verbose)


@app.command()
def demo(
    out: Out = None,
    override: Overrides = None,
    only: Only = "*",
    no_timing: NoTiming = False,
    no_evaluation: NoEvaluation = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the benchmark of the embedded model and data set, which needs no network."""
    loaded = qb.load_config("demo", set=_overrides(override, no_timing, no_evaluation))
    _run(loaded, out or Path("runs") / "demo", only, quiet, verbose)


@app.command()
def tune(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to tune, as YAML, or demo.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Output folder. Default: `runs/tune-NAME`.")
    ] = None,
    max_drop: Annotated[
        list[str] | None,
        typer.Option("--max-drop", metavar="METRIC=DROP", help="Most allowed loss: `f1=0.005`, or `f1=0.5%` of it."),
    ] = None,
    max_evaluations: Annotated[
        float, typer.Option(help="Most forwards, in units of one evaluation of the whole evaluation set.")
    ] = 7.0,
    max_time: Annotated[
        float, typer.Option(help="Most seconds of the search, loading included, without the final timing.")
    ] = 600.0,
    only: Annotated[
        str, typer.Option("--only", metavar="GLOB", help="Only candidates that match, such as `onnxruntime-*`.")
    ] = "*",
    override: Overrides = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the fastest version of a model on this machine that loses no more than allowed.

    Takes model, data and shapes from a configuration and chooses runtime, precision and placement of int8 itself.
    Tunes on examples of the calibration split, validates once on the evaluation split, and writes `tune.md` and
    `models/best` to deploy. A second call goes on where the first was interrupted.
    """
    _log_to_console(quiet, verbose)
    loaded = qb.load_config(config, set=override or ())
    folder = out or Path("runs") / f"tune-{config.stem}"
    try:
        found = qb.tune(
            loaded,
            out=folder,
            max_drop=max_drop,
            only=only,
            max_time=max_time,
            max_evaluations=max_evaluations,
            progress=not quiet,
        )
    except KeyboardInterrupt:
        error_console.print("interrupted; what was found is kept, the same command goes on from there")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(found.answer)
    typer.echo(f"report: {folder / 'tune.md'}")


def _loaded(config: Path, overrides: list[str]) -> qb.Config:
    """A configuration from a file, even one that is called ``demo``."""
    return qb.load_config(config.absolute() if str(config) == "demo" else config, set=overrides)


def _overrides(given: list[str] | None, no_timing: bool, no_evaluation: bool) -> list[str]:
    """What ``--set`` says, and what the two switches are short for."""
    left_out = {"batch_sizes=[]": no_timing, "max_eval_samples=0": no_evaluation}
    return [*(given or ()), *(override for override, wanted in left_out.items() if wanted)]


def _run(config: qb.Config, folder: Path, only: str, quiet: bool, verbose: bool) -> None:
    _log_to_console(quiet, verbose)
    try:
        finished = qb.run(config, out=folder, only=only, progress=not quiet)
    except KeyboardInterrupt as stop:
        error_console.print(interrupted(folder, str(stop)), markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(finished)
    typer.echo(f"card: {folder / 'card.md'}")
    raise typer.Exit(EXIT_SOME_FAILED if finished.failed else EXIT_DONE)


def interrupted(folder: Path, told: str) -> str:
    """What is kept of an interrupted call; ``told`` is what the work itself said of it."""
    try:
        done = sum(result.done for result in qb.load_results(folder))
    except qb.BadInput:
        done = 0  # stopped before there was a folder
    more = f", {told}" if told else ", what was prepared is found again"
    return f"interrupted: {done} run(s) are finished and kept{more}; the same command goes on from there"


def _log_to_console(quiet: bool, verbose: bool) -> None:
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


@app.command()
def plan(
    config: ConfigFile,
    out: Out = None,
    override: Overrides = None,
    only: Only = "*",
    no_timing: NoTiming = False,
    no_evaluation: NoEvaluation = False,
) -> None:
    """List the runs of a configuration, what they share and how long they will take, without starting any."""
    loaded = _loaded(config, _overrides(override, no_timing, no_evaluation))
    made = qb.plan(loaded, out=out or Path("runs") / config.stem, only=only)
    for row in made.rows:
        if row.state == "skipped":
            typer.echo(f"      skipped  {row.values}: {row.reason}")
            continue
        typer.echo(f"{row.number:>4}  {row.state:<8} {row.name}")
        if row.shortened:
            typer.echo(f"               {row.values}")
    cost = made.cost
    typer.echo(
        f"{len(made.runs)} runs share {cost.exports} float export(s), {cost.calibrations} calibration(s), "
        f"{cost.originals} evaluation(s) of the original.\n"
        f"Timing: {cost.timed_arms} arms at {cost.shapes} shape(s), {cost.timing_seconds:.0f} s, less where intervals "
        f"are narrow soon and at most twice that, and {cost.noise_seconds:.0f} s for the noise floor where this "
        "machine does not know it yet. "
        f"In all about {cost.total_seconds / 60:.0f} min (a rough guess but for the timing)."
    )


@app.command()
def card(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of an earlier run.")]) -> None:
    """Render card.md and summary.json again from the stored results."""
    qb.load_results(folder).write()
    typer.echo(str(folder / "card.md"))


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Output folders of one configuration.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for all of it, new or merged before.")],
) -> None:
    """Unite output folders into one: what several machines measured of the same configuration, whatever its backend.

    The card then has a set of tables for each machine; rows of unlike machines are never compared with each other.
    """
    done = qb.merge(folders, out).merged
    assert done is not None, "folders were merged"
    for sentence in done.repeated:
        typer.echo(f"left out {sentence}")
    typer.echo(f"{done.taken} result(s) taken\ncard: {out / 'card.md'}")


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all of it; what is needed is made again.")] = False,
) -> None:
    """Show the folder of the work that benchmarks on this machine share (`$QUANTBENCH_CACHE`), and its size."""
    if clear:
        qb.clear_cache(progress=True)
    typer.echo(f"{qb.cache_folder()}: {qb.cache_size() / 1e6:.0f} MB")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Output folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Output folder of another.")],
    across: Annotated[bool, typer.Option("--across", help="Compare although machine or libraries differ.")] = False,
) -> None:
    """Put two output folders side by side and say whether B is faster, slower or of other quality than A.

    Refuses to compare across CPUs, instruction sets or library versions unless asked to. Runs are compared that were
    measured alike; what was left out is listed.

    Exits with 4 if a run is slower in B, with 5 if one is worse, with 6 if there is both, and else with 0.
    """
    found = qb.compare(first, second, across=across)
    typer.echo(found)
    codes = {
        (False, False): EXIT_DONE,
        (True, False): EXIT_SLOWER,
        (False, True): EXIT_WORSE,
        (True, True): EXIT_SLOWER_AND_WORSE,
    }
    raise typer.Exit(codes[bool(found.slower), bool(found.worse)])


@app.command()
def why(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of an earlier run.")],
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Glob over run names. Default: the run that lost most.")
    ] = "",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Explain what breaks a static int8 model: the tensors at fault, what sets their ranges, and what mends it.

    A static model rounds every activation to 256 numbers between the extremes that calibration saw. If padding, a mask
    or a single channel stretches that range, all real values fall on a few of them. `why` switches the rounding of
    each tensor on and off, finds the few whose rounding does the damage, looks where their extremes stand, and then
    tries every node-exclusion group, calibration without padding and percentile ranges, each alone.

    Prints the answer and writes it to DIR/why.md: `quantbench why runs/demo`, or of some runs only
    `quantbench why runs/mine '*static*'`. Takes a minute or more; it looks at predictions, not at time.
    """
    _log_to_console(quiet, verbose)
    typer.echo(qb.diagnose(folder, only=run, progress=not quiet))
    typer.echo(f"written: {folder / 'why.md'}")


@app.command()
def tasks() -> None:
    """List the tasks: what stands under `task`."""
    _list(qb.tasks())


@app.command()
def metrics() -> None:
    """List the metrics of every task: what stands under `metrics`, and the values that each reports."""
    for task, known in qb.metrics().items():
        for name, values in known.items():
            typer.echo(f"{task:<21} {name:<{max(map(len, known))}}  {', '.join(values)}")


@app.command()
def groups() -> None:
    """List the node-exclusion groups: what stands under `node_exclusion`."""
    _list(qb.exclusions())


def _list(summaries: Mapping[str, str]) -> None:
    """A line for each."""
    for name, summary in summaries.items():
        typer.echo(f"{name:<{max(map(len, summaries))}}  {summary}")


@app.command()
def env(
    check: Annotated[
        bool, typer.Option("--check", help="Is it fit for timing? Measures, takes up to a minute.")
    ] = False,
) -> None:
    """Show CPU, instruction sets, usable cores and library versions."""
    found = qb.environment()
    typer.echo(f"CPU               {found.cpu_model} ({found.architecture})")
    typer.echo(f"instruction sets  {', '.join(found.instruction_sets) or 'unknown'}")
    typer.echo(f"usable CPUs       {found.cores}, on {found.physical_cores} cores")
    typer.echo(f"threads           {qb.cpus_used(found.threads, found)}, unless num_threads says otherwise")
    typer.echo(f"memory            {found.memory_bytes / 2**30:.1f} GiB")
    for limit in found.limits:
        typer.echo(f"limit             {limit}")
    typer.echo(f"system            {found.system}")
    for name, version in found.versions.items():
        typer.echo(f"{name:<17} {version}")
    if check:
        _check_machine()


def _check_machine() -> None:
    error_console.print("Checking this machine, up to 60 s", highlight=False)
    for finding in qb.check_machine(progress=True):
        advice = f"  -> {finding.advice}" if finding.advice else ""
        typer.echo(f"{finding.what:<17} {finding.value}{advice}")


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Options of all commands."""
    if version:
        typer.echo(f"quantbench {qb.__version__}")
        raise typer.Exit()


def main() -> None:
    """Run the command line; turn errors into messages and exit codes."""
    try:
        check_platform()
        app()
    except qb.BadInput as error:
        for mistake in error.mistakes:
            _print_error(str(mistake))
        sys.exit(EXIT_BAD_INPUT)
    except qb.QuantbenchError as error:
        _print_error(str(error))
        sys.exit(EXIT_ERROR)


def _print_error(text: str) -> None:
    error_console.print(f"error: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
