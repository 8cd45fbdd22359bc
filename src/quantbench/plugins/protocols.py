"""What a plug-in implements, a protocol for every kind, and what passes between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import JsonValue

from quantbench.plugins.arguments import LauncherArgs
from quantbench.plugins.examples import Examples, Inputs, Prediction, Processor
from quantbench.plugins.quantizing import Candidate, Inspection, QuantizerInputs, Reads
from quantbench.plugins.signature import Signature
from quantbench.schema.reporter import Reporter
from quantbench.schema.results import ArmSpec, Environment, Result, Run, Scores, Skipped
from quantbench.schema.settings import Config, FrameworkArgs, Mode, Precision, Recipe, Settings, Sources, TaskArgs
from quantbench.served.protocols import ServedRuntime, ServedTask

if TYPE_CHECKING:
    from quantbench.graph.view import Graph
    from quantbench.served.modules import Head

Likelihood = Literal["categorical", "bernoulli", "gaussian"]
"""What a model's outputs are: logits of one of many, logits of each of many, or numbers."""


@dataclass(frozen=True)
class Rule:
    """A rule over several parameters: what cannot be, although each value is fine by itself.

    Attributes:
        keys: dotted keys of the parameters that it looks at, first the one to blame, so that of a grid only the
            combinations that it forbids are skipped.
        check: gives a message that says what to do, or None where the settings are fine; pure.

    """

    keys: tuple[str, ...]
    check: Callable[[Settings], str | None]


class Task(Protocol):
    """A task: how its examples are read, predicted, scored and described.

    ``METRICS`` maps the metric names that a user may ask for to the values that each reports, all of which are better
    when they are higher. ``Args`` is what may stand in ``task_args``: options by their types, each with a default.
    ``RULES`` are asked for settings with this task only. ``OUTPUTS`` maps the outputs of a model to their axes that are
    free. ``LIBRARIES`` must be installed, through the extra ``EXTRA`` where it names one.
    ``SERVED`` is its file for deployed models, by which it encodes and decodes itself.
    """

    SUMMARY: str
    PIPELINE_TAG: str
    AUTO_CLASS: str
    ARCHITECTURE_SUFFIX: str
    DATA_KEYS: tuple[str, ...]
    Args: type[TaskArgs]
    RULES: tuple[Rule, ...]
    METRICS: Mapping[str, tuple[str, ...]]
    OUTPUTS: Mapping[str, Mapping[int, str]]
    PROCESSOR: type[Processor]
    LIBRARIES: tuple[str, ...]
    EXTRA: str
    SERVED: ServedTask

    def known_metrics(self, sources: Sources) -> tuple[str, ...]:
        """Those of ``METRICS`` that there are for this kind of labels."""
        ...

    def default_metrics(self, sources: Sources, labels: Sequence[str] = ()) -> tuple[str, ...]:
        """Metric names that are reported where none are asked for; ``labels`` of the model where it is known."""
        ...

    def default_limit(self, sources: Sources, labels: Sequence[str] = ()) -> tuple[str, float]:
        """The value that a limit on the loss is on where none is given, and the limit; ``labels`` as above."""
        ...

    def likelihood(self, sources: Sources) -> Likelihood:
        """What the outputs are."""
        ...

    def check(self, settings: Settings, features: Any, split: str, labels: Sequence[str]) -> list[tuple[str, str]]:
        """Mistakes as (dotted key, message): columns and labels that do not fit."""
        ...

    def check_model(self, sources: Sources, model_config: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Mistakes as (dotted key, message): what the model's outputs are taken for, against its ``config.json``."""
        ...

    def references(self, sources: Sources, dataset: Any, labels: Sequence[str]) -> Sequence[Any]:
        """What is right for each row of a whole split, None where the row has no label; raises ``cells.Unusable``."""
        ...

    def prepare(self, sources: Sources, dataset: Any, processor: Any, model_config: Any) -> Examples:
        """Make the inputs of every example once, aligned with its references.

        ``dataset`` holds rows that count, with the columns ``cells.READ``, where they have a label, and ``cells.ROW``.
        Of the rows that are evaluated, ``cells.whole`` gives the whole split that they are of.
        """
        ...

    def serving(self, sources: Sources, processor: Any, model_config: Mapping[str, Any]) -> dict[str, JsonValue]:
        """The arguments of ``SERVED``, here and beside a deployed model, as JSON has them."""
        ...

    def decode(self, outputs: Sequence[Any], row: int, encoded: Any, index: int) -> Prediction:
        """The prediction for input ``index``, from row ``row`` of a batch's outputs."""
        ...

    def score(self, examples: Any, predictions: Sequence[Prediction], original: Sequence[Prediction]) -> Scores:
        """Metric values and per-example outcomes of predictions in the inputs' order, beside the original's."""
        ...

    def metrics(self, columns: Sequence[str], outcomes: Any, weights: Any) -> dict[str, Any]:
        """Metric values over weighted examples: numbers, or arrays of shape (draws,).

        Args:
            columns: what the outcomes are, from ``Scores``.
            outcomes: array of shape (examples, columns).
            weights: how often each example counts, whole numbers of shape (examples,), or (draws, examples).

        """
        ...


class Session(Protocol):
    """A model that a runtime has loaded."""

    def predict(self, inputs: Inputs) -> list[Any]:
        """Outputs of one batch as arrays."""
        ...

    def prepare(self, inputs: Inputs) -> Callable[[], object]:
        """A call without arguments that runs one batch; everything it needs exists beforehand."""
        ...


class Runtime(Protocol):
    """What executes a model.

    ``QUANTIZERS`` maps each quantization approach that models for it can be made with to the quantizer that makes them,
    ``OPERATORS`` to the operators that can then be named. ``LOADS_FOLDER`` says that a model is the folder of its file.
    ``ENDINGS`` are those of files of any origin that it loads, tells the :meth:`signature` of and runs behind a wiring.
    ``FAST_PRODUCTS`` are the modes of int8 that it computes faster than float in ``mixed`` models; ``OWN_OPERATORS``
    says that ``placement.operators`` may be its name. ``Args`` is what may stand in ``framework_args``: options by
    their types, each with a default. ``RULES`` are asked for settings with this runtime only. ``LIBRARIES`` must be
    installed, by the extra ``EXTRA`` if that is not empty; their versions are recorded. ``FLOAT_RUNTIME`` names the
    runtime that runs the float ONNX export in the arm ``onnx-float``: itself, or another where it reads no ONNX.
    ``EXECUTED`` says in a card what :meth:`executed` counts, and is empty if that is nothing; ``EXECUTED_ALONE`` says
    it where no other runtime stands beside it, and may be empty. ``SERVED`` is its file for deployed models, by which
    it loads them itself.
    """

    SUMMARY: str
    OPERATORS: Mapping[str, tuple[str, ...]]
    QUANTIZERS: Mapping[str, str]
    LOADS_FOLDER: bool
    ENDINGS: tuple[str, ...]
    FAST_PRODUCTS: tuple[Mode, ...]
    OWN_OPERATORS: bool
    Args: type[FrameworkArgs]
    RULES: tuple[Rule, ...]
    LIBRARIES: tuple[str, ...]
    EXTRA: str
    FLOAT_RUNTIME: str
    EXECUTED: str
    EXECUTED_ALONE: str
    SERVED: ServedRuntime

    def options(self, settings: Settings) -> dict[str, JsonValue]:
        """What an arm of these settings is loaded with, beside its file."""
        ...

    def executed(self, spec: ArmSpec, scratch: Path) -> dict[str, int]:
        """Operators that a session of ``spec`` really runs, by type; ``scratch`` is a folder for files on the way."""
        ...

    def precisions(self, instruction_sets: Collection[str]) -> tuple[Precision, ...]:
        """What ``tune`` is to try for whatever is not int8 on a host that has these, the most promising first."""
        ...

    def is_integer(self, operator: str) -> bool:
        """Whether an operator, as :meth:`executed` names it, computes on 8-bit integers."""
        ...

    def why_float(self, settings: Settings) -> str:
        """Why it may compute a quantized model in float, and what to do about it: a sentence without its full stop."""
        ...

    def notes(self, settings: Settings, environment: Environment) -> tuple[str, ...]:
        """What a reader must know of a run on this machine: what was not capped, which precision is emulated."""
        ...

    def load(self, spec: ArmSpec, num_threads: int) -> Session:
        """Load the model of ``spec`` on ``num_threads`` threads."""
        ...

    def signature(self, session: Any) -> Signature:
        """What the file takes and gives that a session has loaded without a wiring."""
        ...


class Quantizer(Protocol):
    """What makes a run's model: the files that the runtime loads, from the float model.

    ``FILE`` is the name of the main file. ``DECIDES`` maps the dotted keys of parameters that it decides by itself to
    the values that say nothing. ``RULES`` are asked for settings whose model it makes only. ``NOTE`` is what a reader
    must know of all its models; it may be empty. ``LIBRARIES`` must be installed, through the extra ``EXTRA`` if that
    is not empty; their versions are recorded.
    """

    SUMMARY: str
    FILE: str
    DECIDES: Mapping[str, JsonValue]
    RULES: tuple[Rule, ...]
    NOTE: str
    LIBRARIES: tuple[str, ...]
    EXTRA: str

    def files(self, path: Path) -> tuple[Path, ...]:
        """All files of a model by its main file, which comes first: their content is what the model is."""
        ...

    def reads(self, settings: Recipe) -> Reads:
        """What it must be given of the calibration split."""
        ...

    def write(self, settings: Recipe, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
        """Write the model's files; what it chose, by the names of the settings where they have one.

        Equal arguments write equal bytes.

        Raises:
            RunFailed: if there can be no such model.

        """
        ...

    def inspect(self, path: Path) -> Inspection:
        """Look at a model that was written."""
        ...

    def write_embedding(self, path: Path, head: Head, prompt: int, folder: Path) -> Path:
        """Write a copy of a model that was written, with the modules behind it within; its main file.

        Its first output is the embedding, float32 of shape (batch, width); what it had comes behind, unchanged.

        Args:
            path: the main file of the model, which gives states of tokens.
            head: the modules.
            prompt: tokens in front of every text that some pooling leaves out.
            folder: to write to, where programs that know such models look for them.

        Raises:
            NoEmbedding: if that cannot be, with the reason.

        """
        ...

    def candidates(self, base: Settings) -> list[Candidate]:
        """What ``tune`` is to try of its models, each from ``base``, whose framework and approach lead here."""
        ...


class Exclusion(Protocol):
    """A named rule that selects nodes to keep in float."""

    SUMMARY: str

    def select(self, graph: Graph) -> set[str]:
        """Names of the nodes that belong to the group."""
        ...


class Output(Protocol):
    """Where results go: models to ``models/<run name>`` below ``folder``; ``places`` are those of ``results.Job``."""

    folder: Path
    places: Mapping[str, str]


@dataclass(frozen=True)
class LaunchContext:
    """What a launcher works with.

    Attributes:
        output: where results go.
        environment: what this machine is.
        reporter: told of long work.
        execute: executes runs in this process, with shared preparation, yielding each result as it comes.

    """

    output: Output
    environment: Environment
    reporter: Reporter
    execute: Callable[[Sequence[Run]], Iterable[Result]]


class Launcher(Protocol):
    """Where runs execute.

    ``Args`` is what may stand in ``backend.args``: its fields' descriptions complete "must …". ``REMOTE`` says that
    runs execute elsewhere, so that what this machine is does not matter. ``LIBRARIES`` must be installed here, through
    the extra ``EXTRA`` if that is not empty.
    """

    SUMMARY: str
    Args: type[LauncherArgs]
    REMOTE: bool
    LIBRARIES: tuple[str, ...]
    EXTRA: str

    def requests(self, runs: Sequence[Run], output: Output) -> list[dict[str, JsonValue]]:
        """What :meth:`launch` would ask for, a document per run; nothing is done."""
        ...

    def launch(self, runs: Sequence[Run], context: LaunchContext) -> Iterable[Result]:
        """Execute runs, yielding each result as it comes.

        Connects before it returns; the work begins when the results are asked for.

        Raises:
            BadInput: if nothing can be launched there.

        """
        ...


class Report(Protocol):
    """Results to text."""

    SUMMARY: str
    FILE: str

    def render(self, config: Config, results: Sequence[Result], skipped: Sequence[Skipped]) -> str:
        """The whole text of the report; pure."""
        ...
