"""The command line: thin commands, no logic."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import quantbench as qb
from quantbench import cli_check, errors
from quantbench import cli_options as given

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Which int8 version of a transformer encoder to deploy on this CPU: what it costs, what it wins.

Start with `quantbench demo`. Then measure a model of your own with `quantbench run MODEL DATA`, or let
`quantbench tune MODEL DATA` choose the version to deploy. `quantbench init MODEL DATA` writes what they decide
as a YAML file, to change and to give to `plan`, `run` and `tune` instead.

Exit codes: 0 all runs done, 2 bad input (nothing written but what was finished before), 3 some runs failed,
130 interrupted; `compare` and `check` have further ones for what they find.""",
)


@app.command("run")
def run_command(
    target: given.Target,
    data: given.Data = None,
    out: given.Out = None,
    override: given.Overrides = None,
    only: given.Only = "*",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what the backend would be asked for, as JSON, and do nothing.")
    ] = False,
    no_timing: given.NoTiming = False,
    no_evaluation: given.NoEvaluation = False,
    task: given.TaskName = None,
    text_column: given.TextColumns = None,
    label_column: given.LabelColumns = None,
    eval_split: given.EvalSplit = None,
    calibration_split: given.CalibrationSplit = None,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Measure a model, or everything in a configuration, and write the card.

    `quantbench run ./my-model reviews.csv` decides task, columns, splits and shapes, says them in three lines and
    writes them as `config.yaml`; `quantbench run ./my-model ./data --text-column question --text-column answer` says
    what cannot be told. `quantbench run mine.yaml` measures what the file says.

    A second call with the same file and folder does only what is missing. What leaves timing or evaluation out is
    another configuration, which needs an `--out` of its own. Where it runs is the configuration's
    `backend`: this machine, a Ray cluster or SageMaker training jobs (`docs/launchers.md`).
    """
    given.log_to_console(quiet, verbose)
    settled = given.settled_by(task, text_column, label_column, eval_split, calibration_split)
    overrides = given.overrides(override, no_timing, no_evaluation)
    config, name = _told(given.configured(target, data, settled, overrides), quiet)
    folder = out or Path("runs") / name
    if dry_run:
        typer.echo(json.dumps(qb.plan(config, out=folder, only=only).requests(), indent=2))
        return
    _run(config, folder, only, quiet, verbose)


@app.command()
def init(
    model: given.Model,
    data: given.Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write. Default: `MODEL-DATA.yaml`, here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    override: given.Overrides = None,
    task: given.TaskName = None,
    text_column: given.TextColumns = None,
    label_column: given.LabelColumns = None,
    eval_split: given.EvalSplit = None,
    calibration_split: given.CalibrationSplit = None,
) -> None:
    """Write the configuration that `run MODEL DATA` would measure, with how each part was decided; measure nothing.

    `quantbench init ./my-model reviews.csv --out mine.yaml`, then change the file and `quantbench run mine.yaml`.
    """
    given.log_to_console(quiet=False, verbose=False)
    settled = given.settled_by(task, text_column, label_column, eval_split, calibration_split)
    decided = qb.decide(model, data, set=override or (), **settled)
    file = decided.write(out or Path(f"{given.name_of(model, data)}.yaml"), overwrite=force)
    _told(given.Configured(decided.config, "", str(decided)), quiet=False)
    typer.echo(f"written: {file}")


@app.command()
def demo(
    out: given.Out = None,
    override: given.Overrides = None,
    only: given.Only = "*",
    no_timing: given.NoTiming = False,
    no_evaluation: given.NoEvaluation = False,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Run the benchmark of the embedded model and data set, which needs no network."""
    loaded = qb.load_config("demo", set=given.overrides(override, no_timing, no_evaluation))
    _run(loaded, out or Path("runs") / "demo", only, quiet, verbose)


@app.command()
def tune(
    target: given.Target,
    data: given.Data = None,
    out: given.SearchOut = None,
    max_drop: given.MaxDrop = None,
    max_size: given.MaxSize = None,
    max_memory: given.MaxMemory = None,
    max_evaluations: given.MaxEvaluations = None,
    max_time: given.MaxTime = None,
    train: given.Train = 0.0,
    thorough: given.Thorough = False,
    screen_only: given.ScreenOnly = False,
    only: given.Candidates = "*",
    override: given.Overrides = None,
    task: given.TaskName = None,
    text_column: given.TextColumns = None,
    label_column: given.LabelColumns = None,
    eval_split: given.EvalSplit = None,
    calibration_split: given.CalibrationSplit = None,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Find the fastest version of a model on this machine that loses no more than allowed.

    `quantbench tune ./my-model reviews.csv --max-drop accuracy=0.005`, or `quantbench tune mine.yaml`.

    Chooses runtime, precision and placement of int8. Says first, within about a minute of the export, which
    candidates are in question here, and goes on with these. Tunes on the calibration split, validates once on the
    other, writes `tune.md` and `models/best` to deploy. A second call goes on where the first was interrupted.
    """
    given.log_to_console(quiet, verbose)
    settled = given.settled_by(task, text_column, label_column, eval_split, calibration_split)
    config, name = _told(given.configured(target, data, settled, override or [], tuned=True), quiet)
    most = {"max_drop": max_drop, "max_size": max_size, "max_memory": max_memory}
    spent = {"max_time": max_time, "max_evaluations": max_evaluations, "train": train}
    extent = {"only": only, "thorough": thorough, "screen_only": screen_only}
    screened = None if quiet or screen_only else _tell_screening
    _search(
        config, out or Path("runs") / f"tune-{name}", progress=not quiet, screened=screened, **most, **spent, **extent
    )


def _search(config: qb.Config, folder: Path, **asked: Any) -> None:
    try:
        found = qb.tune(config, out=folder, **asked)
    except KeyboardInterrupt:
        given.error_console.print("interrupted; what was found is kept, the same command goes on from there")
        raise typer.Exit(errors.EXIT_INTERRUPTED) from None
    typer.echo(found.answer)
    typer.echo(f"report: {folder / 'tune.md'}")


def _tell_screening(text: str) -> None:
    """Say which candidates are in question, as soon as that is known."""
    typer.echo(f"{text.replace('**', '')}\n")


def _told(decided: given.Configured, quiet: bool) -> tuple[qb.Config, str]:
    """Say what was decided, if anything was; the configuration, and a name for its output folder."""
    if decided.told and not quiet:
        given.error_console.print(decided.told, markup=False, highlight=False, soft_wrap=True)
    return decided.config, decided.name


def _run(config: qb.Config, folder: Path, only: str, quiet: bool, verbose: bool) -> None:
    given.log_to_console(quiet, verbose)
    try:
        finished = qb.run(config, out=folder, only=only, progress=not quiet)
    except KeyboardInterrupt as stop:
        given.error_console.print(given.interrupted(folder, str(stop)), markup=False, soft_wrap=True)
        raise typer.Exit(errors.EXIT_INTERRUPTED) from None
    typer.echo(finished)
    typer.echo(f"card: {folder / 'card.md'}")
    raise typer.Exit(errors.EXIT_SOME_FAILED if finished.failed else errors.EXIT_DONE)


@app.command()
def plan(
    config: given.ConfigFile,
    out: given.Out = None,
    override: given.Overrides = None,
    only: given.Only = "*",
    no_timing: given.NoTiming = False,
    no_evaluation: given.NoEvaluation = False,
) -> None:
    """List the runs of a configuration, what they share and how long they will take, without starting any."""
    loaded = given.loaded_from(config, given.overrides(override, no_timing, no_evaluation))
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
    qb.load_results(folder, figures=True).write()
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
        (False, False): errors.EXIT_DONE,
        (True, False): errors.EXIT_SLOWER,
        (False, True): errors.EXIT_WORSE,
        (True, True): errors.EXIT_SLOWER_AND_WORSE,
    }
    raise typer.Exit(codes[bool(found.slower), bool(found.worse)])


app.command()(cli_check.check)


@app.command()
def why(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of an earlier run.")],
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Glob over run names. Default: the run that lost most.")
    ] = "",
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Explain what breaks a static int8 model: the tensors at fault, what sets their ranges, and what mends it.

    A static model rounds every activation to 256 numbers between the extremes that calibration saw. If padding, a mask
    or a single channel stretches that range, all real values fall on a few of them. `why` switches the rounding of
    each tensor on and off, finds the few whose rounding does the damage, looks where their extremes stand, and then
    tries every node-exclusion group, calibration without padding and percentile ranges, each alone.

    Prints the answer and writes it to DIR/why.md: `quantbench why runs/demo`, or of some runs only
    `quantbench why runs/mine '*static*'`. Takes a minute or more; it looks at predictions, not at time.
    """
    given.log_to_console(quiet, verbose)
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
    typer.echo(f"priority          {found.priority}, of timed processes")
    typer.echo(f"allocator         {found.allocator}, in timed processes")
    for limit in found.limits:
        typer.echo(f"limit             {limit}")
    typer.echo(f"system            {found.system}")
    for name, version in found.versions.items():
        typer.echo(f"{name:<17} {version}")
    if check:
        _check_machine()


def _check_machine() -> None:
    given.error_console.print("Checking this machine, up to 60 s", highlight=False)
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
        errors.check_platform()
        app()
    except qb.BadInput as error:
        for mistake in error.mistakes:
            _print_error(str(mistake))
        sys.exit(errors.EXIT_BAD_INPUT)
    except qb.QuantbenchError as error:
        _print_error(str(error))
        sys.exit(errors.EXIT_ERROR)


def _print_error(text: str) -> None:
    given.error_console.print(f"error: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
