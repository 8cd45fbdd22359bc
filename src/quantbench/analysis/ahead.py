"""What the reports of many results ask for, computed before by all cores; the reports then find it kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from quantbench.analysis import losses, speedups, undisturbed
from quantbench.analysis.undisturbed import Ratio
from quantbench.schema import memo
from quantbench.schema.base import Record
from quantbench.schema.results import Result
from quantbench.system.copies import Copy, possible
from quantbench.system.environment import usable_cores

FEWEST = 100
"""Of fewer results a report is made as soon as processes are."""
TOGETHER = 100
"""Results that a copy is given at least: to copy a process that holds thousands takes as long as a few answers."""
PARTS = 2
"""Copies per core, one after another, that share what is left in the end, so that none waits long for another."""


class Question(NamedTuple):
    """A function of those whose values are kept, its record and what else it is asked with."""

    function: Callable[..., Any]
    record: Record
    args: tuple[object, ...] = ()


class Ahead:
    """Answers what reports ask of results as they come, beside what this process does; where it can be copied."""

    def __init__(self) -> None:
        self._waiting: list[Result] = []
        self._begun: list[tuple[list[Result], Copy[list[list[Any]]]]] = []

    def add(self, result: Result) -> None:
        """Take one more; the first are begun once there are as many as are worth it."""
        if not result.done or not possible() or _kept(result):
            return
        self._waiting.append(result)
        if len(self._waiting) >= (TOGETHER if self._begun else FEWEST) and self._free(usable_cores() - 1):
            self._begin(TOGETHER)

    def finish(self) -> None:
        """Wait for all answers, by all cores, and keep them where the reports look; nothing for few results."""
        if not self._begun and len(self._waiting) < FEWEST:
            return
        share = -(-len(self._waiting) // (PARTS * usable_cores()))
        while self._waiting or self._begun:
            while self._waiting and self._free(usable_cores()):
                self._begin(max(TOGETHER, share))
            results, copy = self._begun.pop(0)
            for result, found in zip(results, copy.result(), strict=True):
                for question, answer in zip(questions(result), found, strict=True):
                    memo.put(question.function, question.record, question.args, answer)

    def _free(self, cores: int) -> bool:
        """Whether one more may work beside those that do; one always may."""
        return sum(copy.at_work for _, copy in self._begun) < max(1, cores)

    def _begin(self, count: int) -> None:
        if not self._begun:
            answers(self._waiting[0])  # what all share is made once, and then found
        results, self._waiting = self._waiting[:count], self._waiting[count:]
        self._begun.append((results, Copy(partial(_all_answers, results))))


def compute(results: Sequence[Result]) -> None:
    """Answer what reports ask of all results, several at a time; nothing where processes cannot be copied."""
    ahead = Ahead()
    for result in results:
        ahead.add(result)
    ahead.finish()


def _all_answers(results: Sequence[Result]) -> list[list[Any]]:
    return [answers(result) for result in results]


def _kept(result: Result) -> bool:
    """Whether its answers are known, or it has no questions."""
    return all(memo.has(question.function, question.record, question.args) for question in questions(result))


def questions(result: Result) -> Iterator[Question]:
    """What takes long to find of a result."""
    if result.scores:
        yield Question(losses.differences, result)
    for latency in result.latency:
        for pair in speedups.COMPARED:
            yield Question(speedups.log_ratio, latency, pair)
        yield Question(speedups.noise_floor, latency)
        for arm in latency.arms.values():
            yield Question(undisturbed.undisturbed_ms, arm, (latency.mixed,))
            yield Question(speedups.mean_ms, arm)
            yield Question(speedups.drift, arm)
            for percent in (50, 90, 99):
                yield Question(speedups.percentile_ms, arm, (percent,))


def answers(result: Result) -> list[Any]:
    """The answers to all questions, as the reports' own functions give them."""
    found = [question.function(question.record, *question.args) for question in questions(result)]
    for ratio in (answer for answer in found if isinstance(answer, Ratio)):
        _ = ratio.p_value  # found with its interval, and sent along
    return found
