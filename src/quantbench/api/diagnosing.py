"""The whole job behind ``why``: what breaks the int8 models of finished runs, and what mends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.analysis import losses
from quantbench.api._reporters import reporter
from quantbench.api.benchmark import Benchmark, load_results
from quantbench.api.running import checked
from quantbench.config.plan import matches
from quantbench.errors import BadInput, Mistake
from quantbench.schema.results import Result
from quantbench.schema.settings import Settings
from quantbench.system import cache, onnx_files
from quantbench.system.files import content_sha256
from quantbench.system.writing import write_atomically

if TYPE_CHECKING:
    from quantbench.diagnose.records import Diagnosis, Fault, Remedy


@dataclass(frozen=True)
class Diagnoses:
    """What breaks int8 models of finished runs; a notebook shows the text of ``quantbench why``.

    Attributes:
        results: the runs that were looked at.
        found: their diagnoses in the same order; None for a run that loses nothing beyond chance.
        path: the file ``why.md``, which has the text.

    """

    results: tuple[Result, ...]
    found: tuple[Diagnosis | None, ...]
    path: Path

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The tensors at fault, of every run the most damaging first."""
        return tuple(fault for diagnosis in self.found if diagnosis for fault in diagnosis.faults)

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """What was tried, each measure alone; ``recovered`` is the share of the damage that is gone then."""
        return tuple(remedy for diagnosis in self.found if diagnosis for remedy in diagnosis.remedies)

    def __str__(self) -> str:
        from quantbench.reports import _why

        return _why.text(self.results, self.found)

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<Diagnoses of {len(self.results)} runs: {len(self.faults)} tensors at fault>"


def diagnose(subject: Result | Benchmark | str | Path, *, only: str = "", progress: bool = False) -> Diagnoses:
    """Find the tensors whose rounding does the damage, what sets their ranges, and what mends it.

    Takes a minute or more, and writes what it finds to ``why.md`` in the output folder.

    Args:
        subject: a result that was read from a folder, a Benchmark, or its folder.
        only: which runs of a Benchmark, as for :func:`quantbench.run`; where it is empty, the run that lost most.
        progress: whether bars are shown on standard error.

    Raises:
        BadInput: if there is no such run, none with fixed ranges of activations, or its files have changed since;
            nothing is written then.

    """
    bench = _benchmark_of(subject)
    if isinstance(subject, Result):
        chosen = _fixed([subject], f"RUN {subject.run.name}", bench.folder)
    else:
        chosen = _explainable(bench, only, bench.folder)
    told = reporter(progress)
    context = checked(bench.config, (result.run.settings for result in chosen), chosen, told)
    from quantbench.diagnose.run import diagnose_all  # after the cap, which libraries read when they are loaded
    from quantbench.reports import _why

    with cache.alone(context.cache.folder, told):
        found = diagnose_all(chosen, bench.folder, context)
    done = Diagnoses(tuple(chosen), tuple(found), bench.folder / _why.FILE)
    write_atomically(done.path, str(done).encode())
    return done


def _benchmark_of(subject: Result | Benchmark | str | Path) -> Benchmark:
    if isinstance(subject, Benchmark):
        return subject
    if not isinstance(subject, Result):
        return load_results(subject)
    if subject.folder is None:
        message = "was read from no folder, so that its model cannot be found; take it from qb.load_results(folder)"
        raise BadInput([Mistake(f"run {subject.run.name}", message)])
    return load_results(subject.folder)


def _explainable(results: Sequence[Result], only: str, folder: Path) -> list[Result]:
    """The finished runs with fixed ranges that are named, or the one of all that lost most."""
    done = [result for result in results if result.scores]
    if not done:
        timed_only = any(result.done for result in results)
        message = (
            "that was evaluated (max_eval_samples: 0 leaves it out); run one" if timed_only else "to explain; run it"
        )
        raise BadInput([Mistake(str(folder), f"holds no finished run {message} first")])
    named = [result for result in done if matches(result.run, only or "*")]
    if not named:
        names = ", ".join(result.run.name for result in done)
        raise BadInput([Mistake(f"RUN {only}", f"matches no finished run; there is: {names}")])
    fixed = _fixed(named, f"RUN {only}" if only else str(folder), folder)
    return fixed if only else [max(fixed, key=lambda result: losses.loss(result)[1])]


def _fixed(named: Sequence[Result], where: str, folder: Path) -> list[Result]:
    """Those of the named runs whose ranges can be explained, their files as the runs left them."""
    fixed = [result for result in named if result.scores and has_fixed_ranges(result.run.settings)]
    if not fixed:
        names = ", ".join(f"{result.run.name} ({result.run.settings.quantization_approach})" for result in named)
        message = "there are no ranges to explain: activations are rounded with ranges fixed by calibration only by "
        message += f"quantization_approach: static, or mixed with static products, of onnxruntime; there is: {names}"
        raise BadInput([Mistake(where, message)])
    for result in fixed:
        _check_file(result, folder)
    return fixed


def has_fixed_ranges(settings: Settings) -> bool:
    """Whether a run's model rounds activations with ranges that calibration fixed, in a file that can be read."""
    if settings.framework != "onnxruntime":
        return False
    if settings.quantization_approach == "mixed":
        return "static" in {settings.placement.default, *settings.placement.matmuls.values()}
    return settings.quantization_approach == "static"


def _check_file(result: Result, folder: Path) -> None:
    artifact = result.artifact
    assert artifact is not None, "a finished run has an artifact"
    path = folder / artifact.path
    if not path.is_file() or content_sha256(onnx_files.files(path)) != artifact.sha256:
        what = "has changed since the run" if path.is_file() else "is gone"
        again = f"delete results/{result.run.key}.json and run again, only this run is repeated"
        raise BadInput([Mistake(str(path), f"{what}; {again}")])
