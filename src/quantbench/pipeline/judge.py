"""Judge a model file of any origin: whether it loads, what it takes and gives, and whether it keeps the quality.

A file is loaded and run in a process of its own, so that one that crashes its runtime is a verdict like others. Files
are scored in batches of a few examples in the data's own order, padded as a server would pad them: a file that does not
heed its mask answers otherwise there, and is looked for by ``heeding`` as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from quantbench.analysis.intervals import Interval, paired_bootstrap
from quantbench.errors import ArmFailed, RunFailed, first_line
from quantbench.graph.embedding import OUTPUT as POOLED
from quantbench.graph.view import Graph
from quantbench.pipeline import arms, heeding, wiring
from quantbench.pipeline.context import Context
from quantbench.pipeline.evaluate import predictions
from quantbench.pipeline.load import Loaded, evaluated, load_rows, prepare
from quantbench.pipeline.predict import predict
from quantbench.pipeline.wiring import Unfit, Wanted
from quantbench.plugins import registry
from quantbench.plugins.examples import Inputs, ManyInputs, Prediction
from quantbench.plugins.protocols import Session
from quantbench.plugins.signature import Signature, Wiring
from quantbench.quantize.contents import Contents, contents
from quantbench.runtimes._wired import Wired
from quantbench.schema.results import ArmSpec, Scores
from quantbench.schema.settings import FrameworkArgs, Settings
from quantbench.served.tokens import OFFSET_TYPES
from quantbench.sources import labels as names_of_labels
from quantbench.sources import model_files
from quantbench.timing.process import ArmProcess

logger = logging.getLogger("quantbench")

Verdict = Literal["keeps", "worse", "undecided", "not judged", "does not load"]
BATCH = 4
"""Examples in one batch of a file that is scored."""
MOVED = 0.05
"""Most that answers may move by padding, as a share of their spread, beside what the original's do: rounding of
float16 moves them by less than a hundredth."""
ROOM_OF_RANGES = 0.1
"""What they may move by beside that where ranges are found at run time, over padding too: some 0.02 in MiniLM."""
STATES = "last_hidden_state"
"""Output of token states, of which a file may give the embedding instead."""
SAME_LENGTH = 1e-2
"""Most that lengths of embeddings differ from 1 where these are normalized, in number types of few bits too."""


@dataclass(frozen=True)
class Judged:
    """A file and what is known of it.

    Attributes:
        path: of the file.
        verdict: ``keeps`` or ``worse`` where the whole interval of every limited metric's loss lies within its limit,
            or that of one beyond it; ``undecided`` between; ``not judged`` where it is no form of the original or
            cannot be run; ``does not load``.
        reason: for the verdict, where it is not the interval alone.
        notes: what a reader must know of it.
        bytes: of its files.
        runtime: that loads it; empty where none does.
        contents: what is quantized in it; None where that cannot be read.
        executed: operators that its session runs, by type.
        original: scores of the original on the same examples.
        scores: of the file.
        differences: file minus original of every metric, with paired intervals.
        spec: the arm that is timed; None where it cannot be.
        wiring: how it is fed.

    """

    path: Path
    verdict: Verdict
    reason: str = ""
    notes: tuple[str, ...] = ()
    bytes: int = 0
    runtime: str = ""
    contents: Contents | None = None
    executed: Mapping[str, int] = field(default_factory=dict)
    original: Scores | None = None
    scores: Scores | None = None
    differences: Mapping[str, Interval] = field(default_factory=dict)
    spec: ArmSpec | None = None
    wiring: Wiring | None = None


class Judge:
    """Judges files against one original, which is loaded once.

    Args:
        settings: of the original, its task and its data.
        loaded: the original and the examples.
        limits: the most that a metric may drop, by metric.
        context: see there.

    """

    def __init__(self, settings: Settings, loaded: Loaded, limits: Mapping[str, float], context: Context) -> None:
        self.settings, self.loaded, self.limits, self.context = settings, loaded, limits, context
        self._task = registry.task(settings.task)
        self._session: Session | None = None

    def judge(self, path: Path) -> Judged:
        """Everything about a file but its speed."""
        found = Judged(path, "does not load", bytes=path.stat().st_size)
        runtimes = {ending: name for name in registry.names("runtimes") for ending in registry.runtime(name).ENDINGS}
        problem = model_files.unloadable(path, runtimes)
        if problem is not None:
            return replace(found, reason=problem)
        runtime = runtimes[path.suffix.lower()]
        size = sum(part.stat().st_size for part in model_files.files(path))
        spec = _plain(path, runtime, self.settings)
        found = replace(found, bytes=size, runtime=runtime, contents=_contents(path))
        process: ArmProcess | None = None
        try:
            process = ArmProcess(path.name, spec, self.context.threads)
            process.load()
            found = replace(found, verdict="not judged")
            return self._loaded(found, spec, process)
        except RunFailed as error:
            return replace(found, reason=_without_name(str(error), path.name))
        finally:
            if process is not None:
                process.close()

    def _loaded(self, found: Judged, spec: ArmSpec, process: ArmProcess) -> Judged:
        """A file whose process has loaded it."""
        with suppress(ArmFailed):  # of a process that died the next question tells
            found = replace(found, executed=process.ask("executed"))
        signature = Signature.model_validate_json(process.ask("signature"))
        wired, kept = self._wired(signature, process)
        spec = spec.model_copy(update={"options": {**spec.options, **wired.option()}})
        notes = (*_notes(signature, wired, self.loaded), *kept.notes)
        found = replace(found, spec=spec, wiring=wired, notes=notes)
        session = Wired(_There(process), wired)
        loaded, size = Loaded(self.loaded.model, kept.examples), 1 if wired.batch == 1 else BATCH
        original = predictions(loaded.model.original, self.settings.task, loaded, "the original", self.context).rows
        try:
            rows = self._predicted(session, loaded, found.path.name, size)
        except (ArmFailed, Unfit):
            raise
        except RunFailed as error:
            return replace(found, verdict="worse", reason=str(error))
        if STATES in self._task.OUTPUTS and not any(wired.long):
            found = replace(found, notes=(*found.notes, *_lengths(rows, original)))
        found = self._scored(found, loaded, rows, original, size)
        if size == 1 or wired.length is not None or not loaded.model.processor.HAS_LENGTH:
            return found
        dynamic = found.contents is not None and found.contents.dynamic
        reason = self._unheeded(session, wired.long, ROOM_OF_RANGES if dynamic else 0.0)
        if reason:
            return replace(found, verdict="worse", reason=reason)
        asked = found.verdict == "worse" or (found.verdict == "undecided" and dynamic)
        return self._alone(found, session, loaded, original) if asked else found

    def _unheeded(self, session: Session, long: Sequence[bool], room: float) -> str | None:
        """That answers depend on padding, where the original's do not; ``room`` is allowed beside ``MOVED``."""
        model = self.loaded.model
        assert self._session is not None, "it has run on the batch that was tried"
        texts = heeding.padding(self.loaded.examples, model.processor, model.config)
        try:
            mine = heeding.moved(session.predict, texts, long)
        except (RunFailed, ValueError):  # it takes no texts of this length, as the original does
            return None
        its = heeding.moved(self._session.predict, texts, [1 in axes for axes in self._task.OUTPUTS.values()])
        if not mine > MOVED + room + its:  # so of no numbers, too, which scores tell
            return None
        return (
            f"its answers depend on padding: padded to {texts.width} tokens they move by {100 * mine:.0f} % of their "
            f"spread, the original's by {100 * its:.0f} %, so it does not heed its mask"
        )

    def _wired(self, signature: Signature, process: ArmProcess) -> tuple[Wiring, _Kept]:
        """How the file is fed, and the examples that it takes."""
        processor = self.loaded.model.processor
        _, length = wiring.fixed(signature, processor.HAS_LENGTH)
        kept = self._kept(length)
        costs = kept.examples.costs
        order = sorted(range(len(costs)), key=lambda index: costs[index])
        many = kept.examples.samples[:2] if isinstance(kept.examples, ManyInputs) else ()  # of a search both kinds
        chosen = list(dict.fromkeys([order[len(order) // 2], order[0], *many]))
        batch = processor.collate([kept.examples.inputs[index] for index in chosen])
        tokens = getattr(processor, "facts", None)
        config = self.loaded.model.config
        offset = int(config.get("pad_token_id") or 0) + 1 if config.get("model_type") in OFFSET_TYPES else 0
        facts = wiring.Facts(tokens.padding_id, tokens.padding_left, offset) if tokens else wiring.Facts()
        wanted = self._wanted(batch, chosen, kept.examples)
        return wiring.wire(signature, batch, wanted, facts, _There(process).predict), kept

    def _kept(self, length: int | None) -> _Kept:
        """The examples that a file of a fixed length takes."""
        examples = self.loaded.examples
        if length is None or max(examples.costs) <= length:
            return _Kept(examples)
        rows = load_rows(self.settings.sources, "eval", self.loaded.model, self.context)
        data = rows.data.select(range(evaluated(rows, self.settings.max_eval_samples)))
        make = partial(prepare, self.settings.sources, model=self.loaded.model)
        fitting = [index for index in range(len(data)) if max(make(data.select([index])).costs) <= length]
        left_out = len(data) - len(fitting)
        if not fitting:
            raise Unfit(f"takes {length} tokens, and every example has more")
        note = f"{left_out} of {len(data)} examples are longer, and are left out of its scores"
        return _Kept(make(data.select(fitting)), (note,))

    def _wanted(self, batch: Inputs, chosen: list[int], examples: Any) -> list[list[Wanted]]:
        """What the original gives on a batch; of embeddings the vectors first, then the states of tokens."""
        if self._session is None:
            spec = self.loaded.model.original
            self._session = registry.runtime(spec.runtime).load(spec, self.context.threads)
        values = self._session.predict(batch)
        wanted = [
            Wanted(name, value, 1 in axes)
            for (name, axes), value in zip(self._task.OUTPUTS.items(), values, strict=False)
        ]
        if STATES not in self._task.OUTPUTS:
            return [wanted]
        vectors = [self._task.decode(values, row, examples, index) for row, index in enumerate(chosen)]
        pooled = [Wanted(POOLED, np.asarray(vectors), long=False)]
        several = len(set(getattr(examples, "prompts", ()))) > 1  # of queries and passages, and a file knows one length
        return [wanted, pooled] if several else [pooled, wanted]

    def _predicted(self, session: Session, loaded: Loaded, name: str, batch_size: int) -> list[Prediction]:
        examples, processor = loaded.examples, loaded.model.processor
        count = len(examples.inputs)
        with self.context.reporter.stage(f"Evaluating {name} on {count} examples", count) as advance:
            try:
                return predict(_Finite(session), self._task, examples, processor, advance, batch_size)
            except (ValueError, IndexError) as error:  # outputs of other batches have another shape than that tried
                raise Unfit(f"cannot be run on all examples: {first_line(error)}") from error

    def _scored(
        self, found: Judged, loaded: Loaded, rows: list[Prediction], original: list[Prediction], size: int
    ) -> Judged:
        """The verdict by scores of predictions that were made in batches of a size."""
        before, after = (self._task.score(loaded.examples, given, original) for given in (original, rows))
        labels = names_of_labels.of_model(loaded.model.config)
        asked = self.settings.metrics or self._task.default_metrics(self.settings, labels)
        names = dict.fromkeys(value for name in asked for value in self._task.METRICS[name])
        metrics = partial(self._task.metrics, before.columns)
        changes = paired_bootstrap(before.outcomes, after.outcomes, metrics)
        differences = {name: changes[name] for name in names}
        kept = {name: before.metrics[name] for name in names}, {name: after.metrics[name] for name in names}
        return replace(
            found,
            verdict=verdict(differences, self.limits),
            original=before.model_copy(update={"metrics": kept[0]}),
            scores=after.model_copy(update={"metrics": kept[1], "batch_size": size}),
            differences=differences,
        )

    def _alone(self, found: Judged, session: Session, loaded: Loaded, original: list[Prediction]) -> Judged:
        """What a file is on one example at a time, where batches say that it is worse, or leave it open.

        Ranges that are found at run time depend on what shares a batch: there, single examples decide what is open.
        """
        rows = self._predicted(session, loaded, f"{found.path.name}, one by one,", 1)
        alone = self._scored(found, loaded, rows, original, 1)
        if found.verdict == "undecided":
            note = f"scored one by one, as its ranges depend on what shares a batch; batches of {BATCH} leave it open"
            return replace(alone, notes=(*found.notes, note))
        if alone.verdict == "worse":
            return found
        return replace(found, reason=f"in batches of {BATCH} only; one by one: {alone.verdict}")


@dataclass(frozen=True)
class _Kept:
    """Examples that a file takes, and what a reader must know of them."""

    examples: Any
    notes: tuple[str, ...] = ()


class _Finite:
    """A session whose outputs must not be infinite, which a prediction may hide."""

    def __init__(self, session: Session) -> None:
        self._session, self.prepare = session, session.prepare

    def predict(self, inputs: Inputs) -> list[Any]:
        """Outputs of one batch."""
        found = self._session.predict(inputs)
        if any(np.isinf(array).any() for array in found):
            raise RunFailed("the model answers infinite numbers where it is scored; something overflows")
        return found


class _There:
    """A session in the process of a file."""

    def __init__(self, process: ArmProcess) -> None:
        self._process = process

    def predict(self, inputs: Inputs) -> list[Any]:
        """Outputs of one batch."""
        found: list[Any] = self._process.ask("predict", dict(inputs))
        return found

    def prepare(self, inputs: Inputs) -> Callable[[], object]:
        """A call that runs one batch."""
        return partial(self.predict, inputs)


def verdict(differences: Mapping[str, Interval], limits: Mapping[str, float]) -> Verdict:
    """What intervals say of limits on the loss; see :class:`Judged`."""
    if any(differences[metric].high < -limit for metric, limit in limits.items()):
        return "worse"
    if all(differences[metric].low >= -limit for metric, limit in limits.items()):
        return "keeps"
    return "undecided"


def _plain(path: Path, runtime: str, settings: Settings) -> ArmSpec:
    """The arm of a file by itself, with its runtime's defaults."""
    own = settings if settings.framework == runtime else settings.model_copy(update={"framework_args": FrameworkArgs()})
    own = own.model_copy(update={"framework": runtime})
    return arms.arm(runtime, path.absolute(), model_files.fingerprint(path), own)


def _contents(path: Path) -> Contents | None:
    """What is quantized in a file that is read as a graph; None of one that cannot be."""
    if path.suffix.lower() != model_files.ONNX:
        return None
    try:
        return contents(Graph.read(path))
    except Exception as error:  # of the parser, for what may stand in a file: whether it loads is asked elsewhere
        logger.debug("%s cannot be looked into: %s", path, first_line(error))
        return None


def _without_name(text: str, name: str) -> str:
    """A failure's text without the name of its process, which is that of the file."""
    line = text.strip().splitlines()[0]
    return line.replace(f"arm {name}: ", "", 1).replace(f"arm {name} ", "its process ", 1)


def _notes(signature: Signature, wired: Wiring, loaded: Loaded) -> list[str]:
    """What is unlike the original in what a file takes and gives."""
    given = set(loaded.examples.inputs[0])
    taken = {item.source for item in wired.inputs}
    renamed = [f"{item.name} as {item.source}" for item in wired.inputs if item.name != item.source]
    places = [signature.outputs[place].name for place in wired.outputs]
    found = []
    if wired.batch is not None:
        rows = "1 row" if wired.batch == 1 else f"{wired.batch} rows"
        found.append(f"takes {rows} at a time, and is run as often as needed")
    if wired.length is not None:
        found.append(f"takes {wired.length} tokens: shorter texts are padded to that, which its times include")
    found += [f"reads {', '.join(renamed)}"] if renamed else []
    found += [f"takes no {name}" for name in sorted(given - taken) if name in ("attention_mask", "token_type_ids")]
    if len(signature.outputs) > len(places):
        found.append(f"{', '.join(places)} is read of its {len(signature.outputs)} outputs")
    return found


def _lengths(rows: list[Prediction], original: list[Prediction]) -> list[str]:
    """The note on embeddings of a file that are normalized where the original's are not, or the other way round."""
    mine, its = (bool((np.abs(np.linalg.norm(part, axis=1) - 1) < SAME_LENGTH).all()) for part in (rows, original))
    if mine == its:
        return []
    return [f"gives embeddings that are {'' if mine else 'not '}normalized, unlike the original"]
