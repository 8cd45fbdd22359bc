"""A benchmark's results as an object: a sequence of runs that knows its card, its tables and its pictures."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, overload

from quantbench.analysis import ahead
from quantbench.api import frames
from quantbench.api._reporters import load_bars
from quantbench.api.plots import Plots
from quantbench.config.keys import combinations
from quantbench.config.plan import make_plan
from quantbench.errors import BadInput, Mistake
from quantbench.plugins import registry
from quantbench.results import merge as merging
from quantbench.results.store import Store
from quantbench.schema.base import canonical_json
from quantbench.schema.results import Result, Skipped
from quantbench.schema.settings import Config
from quantbench.system import copies
from quantbench.system.garbage import uncollected
from quantbench.system.writing import write_atomically
from quantbench.tune import state

if TYPE_CHECKING:
    import pandas

FILE_REPORTS = ("card", "summary")
Rows = Literal["runs", "calls"]


class UnknownRun(BadInput, KeyError):
    """No run has this name; the message has the nearest one that there is."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show it in quotes


class Benchmark(Sequence[Result]):
    """Results of one configuration, in the order of its grid.

    ``bench[0]`` is a result, ``bench["static"]`` the one of that run (the first where several machines measured it),
    ``bench[:2]`` a Benchmark of these alone: its figures are judged by themselves, as if nothing else had been
    measured. ``print(bench)`` shows the table of ``quantbench run``, a notebook the card.

    Attributes:
        config: the configuration.
        folder: the output folder.
        merged: what :func:`merge` took and left out; None where nothing was merged.

    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        results: Iterable[Result],
        *,
        asked: frozenset[str] | None = None,
        merged: merging.Merged | None = None,
        temporary: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.config, self.folder, self.merged = config, folder, merged
        self._results = tuple(in_order(config, results))
        self._asked, self._temporary = asked, temporary
        for result in self._results:
            result._folder = folder

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, which: int | str) -> Result: ...
    @overload
    def __getitem__(self, which: slice) -> Benchmark: ...
    def __getitem__(self, which: int | str | slice) -> Result | Benchmark:
        """A result by its place or its run's name, or a Benchmark of a slice.

        Raises:
            UnknownRun: if no run has the name; it is a KeyError.
            IndexError: if there is no such place.

        """
        if isinstance(which, slice):
            chosen = self._results[which]
            return Benchmark(self.config, self.folder, chosen, asked=self._asked, temporary=self._temporary)
        if isinstance(which, int):
            return self._results[which]
        for result in self._results:
            if result.run.name == which:
                return result
        names = [result.run.name for result in self._results]
        near = difflib.get_close_matches(which, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = f"no run has this name; {hint}there is: {', '.join(names) or 'none'}"
        raise UnknownRun([Mistake(which, message)])

    def __contains__(self, which: object) -> bool:
        """Whether there is such a result, or a run of that name."""
        return any(which in (result.run.name, result) for result in self._results)

    @property
    def failed(self) -> tuple[Result, ...]:
        """Results without measurements, of the runs that were asked for; ``failure.reason`` says why."""
        return tuple(r for r in self._results if not r.done and (self._asked is None or r.run.key in self._asked))

    @cached_property
    def skipped(self) -> tuple[Skipped, ...]:
        """Combinations of the configuration that are not run, and why."""
        return make_plan(self.config).skipped

    @property
    def card(self) -> str:
        """The benchmark card as Markdown with its front matter, as ``card.md`` has it."""
        return self.rendered("card")

    @property
    def plot(self) -> Plots:
        """Pictures; they need the extra ``plots``."""
        return Plots(self._results)

    def to_dataframe(self, rows: Rows = "runs") -> pandas.DataFrame:
        """The figures of ``summary.json``, or raw samples.

        Args:
            rows: ``runs``, a row per run × shape: the run's name, the benchmarked parameters, ``status``, and for each
                metric ``f1_original``, ``f1_optimized`` and ``f1_loss`` (original minus optimized) with ``_low`` and
                ``_high``, 95 %; ``pytorch_ms``, ``onnx_float_ms`` and ``optimized_ms`` (means);
                ``speedup_over_pytorch`` and ``speedup_over_onnx_float`` (above 1 the optimized model is faster) with
                ``_low``, ``_high`` and ``_verdict``; ``noise_floor``, ``bytes`` of the model, ``reason`` of a failure.
                ``calls``, a row per timed call: ``run``, shape, ``arm``, ``round`` of slots that are neighbours in
                time, ``order``, ``call`` within the slot, ``milliseconds``.

        Raises:
            BadInput: if there are no such rows, or pandas is not installed.

        """
        if rows == "runs":
            return frames.frame(frames.runs(self._results), ("run",))
        if rows == "calls":
            return frames.frame(frames.calls(self._results), frames.CALLS)
        raise BadInput([Mistake(f"to_dataframe({rows!r})", "there is 'runs' and 'calls'")])

    def write(self) -> None:
        """Write ``card.md`` and ``summary.json`` into the folder again.

        Raises:
            BadInput: if the folder holds a search, whose reports say more than a benchmark's.

        """
        if (self.folder / state.FILE).exists():
            message = "holds a search; its report is tune.md, which the same call of 'quantbench tune' writes again"
            raise BadInput([Mistake(str(self.folder), message)])
        write_reports(self)

    def rendered(self, report: str) -> str:
        """The text of a report by its name: ``card``, ``summary``, ``table`` or one of a package of your own."""
        load_bars()
        with uncollected():
            return registry.report(report).render(self.config, self._results, self.skipped)

    def _repr_markdown_(self) -> str:
        """The card without its front matter, which is for the hub."""
        return self.card.partition("\n---\n")[2].lstrip()

    def __str__(self) -> str:
        return self.rendered("table")

    def __repr__(self) -> str:
        failed = sum(not result.done for result in self._results)
        return f"<Benchmark of {len(self)} runs{f', {failed} failed' if failed else ''}, in {str(self.folder)!r}>"


def write_reports(bench: Benchmark) -> None:
    """Write the card and the summary into the benchmark's folder; side by side where there is much to say."""
    with uncollected():
        ahead.compute(bench)
    works = [partial(bench.rendered, name) for name in FILE_REPORTS]
    rendered = copies.results_of(works) if len(bench) >= ahead.FEWEST else (work() for work in works)
    for name, text in zip(FILE_REPORTS, rendered, strict=True):
        write_atomically(bench.folder / registry.report(name).FILE, text.encode())


def load_results(folder: str | Path, *, figures: bool = False) -> Benchmark:
    """The results that an earlier call has written into a folder.

    Args:
        folder: of a benchmark.
        figures: whether those of many results are computed while these are read, by all cores, as a card asks for them.

    Raises:
        BadInput: if it holds no benchmark, or a document is damaged or of another version.

    """
    store = Store(Path(folder))
    computing = ahead.Ahead() if figures else None
    results = store.results(computing.add if computing is not None else None)
    if computing is not None:
        with uncollected():
            computing.finish()
    return Benchmark(store.config(), store.folder, results)


def merge(folders: Iterable[str | Path], out: str | Path) -> Benchmark:
    """Unite folders of one configuration, which may differ in its backend, and write the card of all of it.

    Args:
        folders: output folders; a run that several hold from alike machines is taken once.
        out: a new folder, or one that was merged before.

    Returns:
        The results of ``out``; ``merged`` says how many were taken and which were left out.

    Raises:
        BadInput: if a folder holds no benchmark, or the configurations differ in more than the backend; nothing is
            written then.

    """
    done = merging.merge([Path(folder) for folder in folders], Path(out))
    store = Store(Path(out))
    found = Benchmark(store.config(), store.folder, store.results(), merged=done)
    found.write()
    return found


def in_order(config: Config, results: Iterable[Result]) -> list[Result]:
    """Results in the order of the configuration's grid."""
    order = {canonical_json(values): number for number, (values, _) in enumerate(combinations(config))}
    return sorted(results, key=lambda result: order.get(canonical_json(result.run.benchmarked), len(order)))
