"""The command line: thin commands, no logic."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from quantbench import __version__
from quantbench.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, BadInput, QuantbenchError, check_platform
from quantbench.schema.base import canonical_json, digest
from quantbench.schema.settings import Config

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
    from quantbench.config.load import load_config

    loaded = load_config(config, _overrides(override, no_timing, no_evaluation))
    folder = out or Path("runs") / config.stem
    if dry_run:
        from quantbench.api.benchmark import requested

        typer.echo(requested(loaded, folder, only))
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
    from quantbench import embedded
    from quantbench.config.load import load_config

    loaded = load_config(embedded.CONFIG, _overrides(override, no_timing, no_evaluation))
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
    since = time.monotonic()
    from quantbench import embedded
    from quantbench.api import tuning
    from quantbench.config.load import load_config
    from quantbench.system.progress import Bars, Silent
    from quantbench.tune.budget import Budget

    _log_to_console(quiet, verbose)
    path = embedded.CONFIG if str(config) == "demo" else config
    loaded = load_config(path, override or ())
    limits = [tuning.parse_limit(text, loaded) for text in max_drop or ()]
    folder = out or Path("runs") / f"tune-{config.stem}"
    try:
        reporter = Silent() if quiet else Bars(error_console)
        tuning.tune(loaded, folder, limits, Budget(max_evaluations, max_time, since), reporter, only)
    except KeyboardInterrupt:
        error_console.print("interrupted; what was found is kept, the same command goes on from there")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(tuning.answer(folder))
    typer.echo(f"report: {folder / 'tune.md'}")


def _overrides(given: list[str] | None, no_timing: bool, no_evaluation: bool) -> list[str]:
    """What ``--set`` says, and what the two switches are short for."""
    left_out = {"batch_sizes=[]": no_timing, "max_eval_samples=0": no_evaluation}
    return [*(given or ()), *(override for override, wanted in left_out.items() if wanted)]


def _run(config: Config, folder: Path, only: str, quiet: bool, verbose: bool) -> None:
    from quantbench.api import benchmark
    from quantbench.system.progress import Bars, Silent

    _log_to_console(quiet, verbose)
    try:
        finished = benchmark.run(config, folder, only, Silent() if quiet else Bars(error_console))
    except KeyboardInterrupt as stop:
        error_console.print(benchmark.interrupted(folder, str(stop)), markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(finished.table)
    typer.echo(f"card: {folder / 'card.md'}")
    raise typer.Exit(finished.code)


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
    from quantbench.config.estimate import estimate
    from quantbench.config.load import load_config
    from quantbench.config.plan import make_plan, numbers, told
    from quantbench.results.store import Store

    loaded = load_config(config, _overrides(override, no_timing, no_evaluation))
    made = make_plan(loaded, Store(out or Path("runs") / config.stem).stored_for(loaded), only)
    known = numbers(loaded)
    states = {run.key: "done" for run in made.done} | {run.key: "run" for run in made.runs}
    for run in sorted((*made.runs, *made.done), key=lambda run: known[canonical_json(run.benchmarked)]):
        typer.echo(f"{known[canonical_json(run.benchmarked)]:>4}  {states[run.key]:<8} {run.name}")
        if told(run) != run.name and run.name.endswith(digest(dict(run.benchmarked))[:8]):
            typer.echo(f"               {told(run)}")
    for item in made.skipped:
        typer.echo(f"      skipped  {told(item)}: {item.reason}")
    cost = estimate(made.runs)
    typer.echo(
        f"{len(made.runs)} runs share {cost.exports} float export(s), {cost.calibrations} calibration(s), "
        f"{cost.originals} evaluation(s) of the original.\n"
        f"Timing: {cost.timed_arms} arms at {cost.shapes} shape(s), {cost.timing_seconds:.0f} s, "
        f"and {cost.noise_seconds:.0f} s for the noise floor where this machine does not know it yet. "
        f"In all about {cost.total_seconds / 60:.0f} min (a rough guess but for the timing)."
    )


@app.command()
def card(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of an earlier run.")]) -> None:
    """Render card.md and summary.json again from the stored results."""
    from quantbench.api import benchmark

    benchmark.render_again(folder)
    typer.echo(str(folder / "card.md"))


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Output folders of one configuration.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for all of it, new or merged before.")],
) -> None:
    """Unite output folders into one: what several machines measured of the same configuration, whatever its backend.

    The card then has a set of tables for each machine; rows of unlike machines are never compared with each other.
    """
    from quantbench.api.benchmark import merged

    done = merged(folders, out)
    for sentence in done.repeated:
        typer.echo(f"left out {sentence}")
    typer.echo(f"{done.taken} result(s) taken\ncard: {out / 'card.md'}")


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete all of it; what is needed is made again.")] = False,
) -> None:
    """Show the folder of the work that benchmarks on this machine share (`$QUANTBENCH_CACHE`), and its size."""
    from quantbench.system import cache as shared
    from quantbench.system.progress import Bars

    folder = shared.folder()
    if clear:
        shared.clear(folder, Bars(error_console))
    typer.echo(f"{folder}: {shared.size(folder) / 1e6:.0f} MB")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Output folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Output folder of another.")],
    across: Annotated[bool, typer.Option("--across", help="Compare although machine or libraries differ.")] = False,
) -> None:
    """Put two output folders side by side and say whether B is faster, slower or of other quality than A.

    Refuses to compare across CPUs, instruction sets or library versions unless asked to.
    """
    from quantbench.api.benchmark import compared

    typer.echo(compared(first, second, across))


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
    from quantbench.api.benchmark import explained
    from quantbench.system.progress import Bars, Silent

    _log_to_console(quiet, verbose)
    typer.echo(explained(folder, run, Silent() if quiet else Bars(error_console)))
    typer.echo(f"written: {folder / 'why.md'}")


@app.command()
def tasks() -> None:
    """List the tasks: what stands under `task`."""
    from quantbench.plugins import registry

    _list({name: registry.task(name).SUMMARY for name in registry.names("tasks")})


@app.command()
def metrics() -> None:
    """List the metrics of every task: what stands under `metrics`, and the values that each reports."""
    from quantbench.plugins import registry

    for task in registry.names("tasks"):
        known = registry.task(task).METRICS
        for name, values in known.items():
            typer.echo(f"{task:<21} {name:<{max(map(len, known))}}  {', '.join(values)}")


@app.command()
def groups() -> None:
    """List the node-exclusion groups: what stands under `node_exclusion`."""
    from quantbench.plugins import registry

    _list({name: registry.exclusion(name).SUMMARY for name in registry.names("exclusions")})


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
    from quantbench.system.environment import cpus_used, detect

    found = detect()
    typer.echo(f"CPU               {found.cpu_model} ({found.architecture})")
    typer.echo(f"instruction sets  {', '.join(found.instruction_sets) or 'unknown'}")
    typer.echo(f"usable CPUs       {found.cores}, on {found.physical_cores} cores")
    typer.echo(f"threads           {cpus_used(found.threads, found)}, unless num_threads says otherwise")
    typer.echo(f"memory            {found.memory_bytes / 2**30:.1f} GiB")
    for limit in found.limits:
        typer.echo(f"limit             {limit}")
    typer.echo(f"system            {found.system}")
    for name, version in found.versions.items():
        typer.echo(f"{name:<17} {version}")
    if check:
        _check_machine()


def _check_machine() -> None:
    from quantbench.pipeline import machine_check
    from quantbench.system.progress import Bars

    error_console.print(f"Checking this machine, up to {machine_check.SECONDS} s", highlight=False)
    for finding in machine_check.findings(Bars(error_console)):
        advice = f"  -> {finding.advice}" if finding.advice else ""
        typer.echo(f"{finding.what:<17} {finding.value}{advice}")


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Options of all commands."""
    if version:
        typer.echo(f"quantbench {__version__}")
        raise typer.Exit()


def main() -> None:
    """Run the command line; turn errors into messages and exit codes."""
    try:
        check_platform()
        app()
    except BadInput as error:
        for mistake in error.mistakes:
            _print_error(str(mistake))
        sys.exit(EXIT_BAD_INPUT)
    except QuantbenchError as error:
        _print_error(str(error))
        sys.exit(error.exit_code)


def _print_error(text: str) -> None:
    error_console.print(f"error: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
