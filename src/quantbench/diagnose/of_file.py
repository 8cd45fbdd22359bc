"""What breaks a file with fixed ranges that somebody else made: the same search, without what only a run knows.

Nobody knows the samples that set its ranges, nor how to make it again: nothing is said of padding, nothing is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx

from quantbench.diagnose import observe
from quantbench.diagnose.damage import Meter, evenly_spaced
from quantbench.diagnose.faults import Case, SwitchableModel, explained, suspects
from quantbench.diagnose.records import Diagnosis
from quantbench.graph import external
from quantbench.pipeline.context import Context
from quantbench.pipeline.judge import BATCH, Judged
from quantbench.pipeline.load import Loaded, load_rows, prepare
from quantbench.plugins import registry
from quantbench.plugins.examples import Inputs
from quantbench.plugins.protocols import Task
from quantbench.schema.settings import Settings

SAMPLE, SCREENED = 24, 4
"""Examples of both samples: fewer than of a run, so that a small model takes seconds."""
MOST = 8
"""Tensors at fault that are explained, the most damaging ones: in a file that is broken throughout there are many."""


def has_fixed_ranges(found: Judged) -> bool:
    """Whether a file's ranges can be the cause of what it loses."""
    return found.scores is not None and found.verdict == "worse" and bool(found.contents and found.contents.ranges)


def unexplained(found: Judged, task: Task) -> str | None:
    """Why nothing can be said of a file with fixed ranges; None where it can be looked into."""
    wired = found.wiring
    if wired is None or wired.batch is not None or wired.length is not None:
        return "a file of a fixed shape is not looked into; export it with free axes"
    if any(item.name != item.source or item.type != "int64" for item in wired.inputs):
        return "a file whose inputs have other names or types than the tokenizer's is not looked into"
    if wired.long != tuple(1 in axes for axes in task.OUTPUTS.values()):
        return "a file that gives embeddings is not looked into; quantize the one that gives states of tokens"
    return None


def diagnose_file(found: Judged, settings: Settings, loaded: Loaded, context: Context) -> Diagnosis:
    """Explain what breaks a file of which :func:`unexplained` says nothing.

    Returns:
        The diagnosis, without remedies; without faults where rounding activations changes no prediction of the sample.

    """
    assert found.wiring is not None and found.spec is not None, "it was run"
    model, task = loaded.model, registry.task(settings.task)
    data = load_rows(settings.sources, "eval", model, context).data
    original: Any = registry.runtime(model.original.runtime).load(model.original, context.threads)

    def reference(inputs: Inputs) -> list[Any]:
        return list(original.predict(inputs)[: len(task.OUTPUTS)])

    def meter(count: int) -> Meter:
        examples = prepare(settings.sources, data.select(evenly_spaced(len(data), count)), model)
        return Meter(task, examples, model.processor, task.likelihood(settings), reference, BATCH)

    whole, screen = meter(SAMPLE), meter(SCREENED)
    int8 = external.read(found.path)
    case = Case(
        context=context,
        model=int8,
        switchable=SwitchableModel(int8, context.threads, _names(int8, found.wiring.outputs)),
        examples=observe.unpadded(whole.examples, model.processor),
        meter=whole,
        screen=screen,
    )
    seen = suspects(case)
    if len(seen.names) > MOST:
        worst = seen.names[:MOST]
        seen = replace(seen, names=worst, kept=whole.measure(case.switchable.sparing(worst)))
    session = registry.runtime(found.runtime).load(found.spec, context.threads)
    return Diagnosis(
        run=found.path.name,
        examples=(len(whole.examples.inputs), len(screen.examples.inputs)),
        file=whole.measure(session.predict),
        rounded=seen.whole,
        weights=seen.floor,
        kept=seen.kept,
        recovered=seen.recovered,
        tensors=tuple(seen.tensors.values()),
        faults=tuple(explained(case, seen, None, {})),
        remedies=(),
    )


def _names(model: onnx.ModelProto, places: Sequence[int]) -> list[str]:
    """Names of some outputs."""
    return [model.graph.output[place].name for place in places]
