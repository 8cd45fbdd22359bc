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
from quantbench.system import copies

FEWEST = 100
"""Of fewer results a report is made as soon as processes are."""
TOGETHER = 25
"""Results that a process is given at a time."""


class Question(NamedTuple):
    """A function of those whose values are kept, its record and what else it is asked with."""

    function: Callable[..., Any]
    record: Record
    args: tuple[object, ...] = ()


def compute(results: Sequence[Result]) -> None:
    """Answer what reports ask of all results, several at a time; nothing where processes cannot be copied."""
    done = [result for result in results if result.done]
    if len(done) < FEWEST or not copies.possible():
        return
    answers(done[0])  # what all share is made once, and then found
    works = [partial(answers, result) for result in done]
    for result, found in zip(done, copies.results_of(works, TOGETHER), strict=True):
        for question, answer in zip(questions(result), found, strict=True):
            memo.put(question.function, question.record, question.args, answer)


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
