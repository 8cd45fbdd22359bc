"""The frozen records that flow from a configuration to what the user reads; see also ``settings``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, JsonValue, PrivateAttr

from quantbench.schema.base import Record, digest
from quantbench.schema.settings import DATASET, InputLength, Settings

SCHEMA_VERSION = 1
"""Version of the JSON documents ``results/<key>.json`` and ``summary.json``."""


class Run(Record):
    """One combination, fully resolved.

    ``key`` is the hash of the settings' canonical JSON; ``benchmarked`` repeats this run's values of the benchmarked
    parameters in the order of the configuration.
    """

    name: str
    key: str
    settings: Settings
    benchmarked: dict[str, JsonValue] = Field(default_factory=dict)


class Skipped(Record):
    """A combination that is not run, and why."""

    benchmarked: dict[str, JsonValue]
    reason: str


class Plan(Record):
    """The runs still to be done, those already done, and the combinations skipped with the reason."""

    runs: tuple[Run, ...]
    done: tuple[Run, ...] = ()
    skipped: tuple[Skipped, ...] = ()


class Job(Record):
    """What a launcher hands to a worker: one run, and where there lies what its settings name.

    ``places`` maps a model's or a data set's path as written in the settings to its path on the worker's machine;
    names that are not in it mean there what they mean here.
    """

    run: Run
    places: dict[str, str] = Field(default_factory=dict)


class ArmSpec(Record):
    """What a timed or evaluated arm executes: a runtime, a model on disk and the runtime's options."""

    runtime: str
    path: str
    sha256: str
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """What tells it from others, wherever its file lies."""
        return digest(self.model_dump(mode="json", exclude={"path"}))


class Artifact(Record):
    """An optimized model on disk and what it really is.

    Attributes:
        path: relative to the output folder.
        recipe: the choices that made it, with ``auto`` resolved.
        excluded: names of the nodes selected by each exclusion group.
        operators: number of operators that compute on quantized inputs, by the float operator's type.
        executed: operators of the graph that the session really runs after its own optimization, by type.
        graph: hash of the computation, independent of names and order (see ``fingerprint.computation_hash``).

    """

    path: str
    sha256: str
    bytes: int
    recipe: dict[str, JsonValue]
    excluded: dict[str, tuple[str, ...]]
    operators: dict[str, int]
    executed: dict[str, int]
    graph: str


class Slot(Record):
    """Consecutive timed calls of one arm and what the machine did meanwhile.

    Attributes:
        launch: which start of the processes it belongs to.
        round: slots of different arms in the same launch and round are neighbours in time and are compared.
        order: its place among all slots of the launch.
        nanoseconds: of each call.
        waited_nanoseconds: of each call, what it was longer by because its threads waited for a CPU that others had;
            empty where none did, or nothing is known.
        load: load average over a minute at the end.
        steal_seconds: time that the hypervisor took from all CPUs meanwhile; None where the system does not tell.
        involuntary_switches: how often this process was put off a CPU meanwhile.
        mhz: the highest frequency of a used CPU at the end; None where the system does not tell.

    """

    launch: int = 0
    round: int
    order: int
    nanoseconds: tuple[int, ...]
    waited_nanoseconds: tuple[int, ...] = ()
    load: float = 0.0
    steal_seconds: float | None = None
    involuntary_switches: int = 0
    mhz: float | None = None


class ArmLatency(Record):
    """Raw samples of one arm at one shape.

    ``load_seconds``, ``first_call_seconds`` and ``peak_memory_bytes`` (largest resident size of the process so far) are
    one value per launch and stand apart from the samples.
    """

    slots: tuple[Slot, ...]
    load_seconds: tuple[float, ...]
    first_call_seconds: tuple[float, ...]
    peak_memory_bytes: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """Timed in all slots together."""
        return sum(sum(slot.nanoseconds) for slot in self.slots) / 1e9


class Noise(Record):
    """How far a model was from itself in several starts of two processes.

    ``ratios`` are the logarithms of the ratio of the two, one per start, none where a session's own launches tell;
    ``measured_at``, in files ``measured``, is the time of the end, UTC, as ISO 8601 writes it. ``fastest_ms`` is the
    least that an undisturbed call of the model has taken on this machine, then or in a session since, ``session_ms``
    what it took in the session of a result.
    """

    ratios: tuple[float, ...] = ()
    measured_at: str = Field(validation_alias="measured", serialization_alias="measured")
    fastest_ms: float | None = None
    session_ms: float | None = None


class Latency(Record):
    """Raw samples per arm at one shape.

    Beside the arms of the run there is ``null``, the original once more in another process: what its ratio to the first
    differs from 1 is noise. ``extended`` says that the duration was measured twice to narrow the intervals. ``noise``
    is what the machine's cache knows of the float export against itself; None where that was not measured.
    ``input_length`` is None where inputs have no length, as images.
    """

    batch_size: int
    input_length: InputLength | None
    arms: dict[str, ArmLatency]
    slot_seconds: float = 0.0
    extended: bool = False
    noise: Noise | None = None

    @property
    def mixed(self) -> bool:
        """Whether calls differ in length."""
        return self.input_length == DATASET


class Scores(Record):
    """Metric values of one arm over the evaluation examples.

    ``changed`` counts the examples whose prediction differs from the original's. ``outcomes`` has one row per example
    with what is named in ``columns``, from which every metric can be computed again over any resample.
    ``batch_size`` is the size of the batches of consecutive examples that a model was scored in whose answers depend on
    its batch; None for others, which were scored in sorted batches. ``notes`` are doubts that the values raise.
    """

    metrics: dict[str, float]
    examples: int
    changed: int = 0
    columns: tuple[str, ...]
    outcomes: tuple[tuple[int | float, ...], ...]
    batch_size: int | None = None
    notes: tuple[str, ...] = ()


class Environment(Record):
    """The machine and the libraries that a result was measured with.

    ``cores`` are the CPUs that can be used at the same time, ``physical_cores`` the cores that they are on (None where
    an earlier version did not look), ``cpus`` the numbers of all that may be used, in the order in which threads are
    given to them. ``limits`` says what holds the process to less than the machine has. ``cap`` is the level of
    ``supported_instructions`` that libraries were held to where they could be, ``host`` the machine's network name.
    ``priority`` is that of timed processes, ``high`` or ``normal``; None where an earlier version did not record it.
    ``allocator`` says what their C library does with memory that was freed.
    """

    cpu_model: str
    architecture: str
    instruction_sets: tuple[str, ...]
    cores: int
    physical_cores: int | None = None
    cpus: tuple[int, ...] = ()
    memory_bytes: int
    limits: tuple[str, ...] = ()
    system: str
    versions: dict[str, str]
    load: tuple[float, float, float] | None = None
    cap: str | None = None
    host: str = ""
    priority: str | None = None
    allocator: str = "default"

    @property
    def threads(self) -> int:
        """Threads where none are set: one per physical core, and no more than can be used."""
        return self.physical_cores or self.cores


class Failure(Record):
    """Why a run has no measurements."""

    stage: str
    reason: str


class Result(Record):
    """One self-sufficient document per run.

    ``evaluations`` is how many of its arms were evaluated for it, rather than found in the cache. ``job`` is what the
    launcher says of where it ran: the name of a job, the node of a cluster, attempts. ``original`` is what runs the
    original, which speedups are over: PyTorch if it is a checkpoint.
    """

    schema_version: int = SCHEMA_VERSION
    run: Run
    environment: Environment
    sources: dict[str, str] = Field(default_factory=dict)
    model_type: str = ""
    original: str = "pytorch"
    failure: Failure | None = None
    artifact: Artifact | None = None
    float_artifact: dict[str, JsonValue] = Field(default_factory=dict)
    scores: dict[str, Scores] = Field(default_factory=dict)
    evaluations: int = 0
    latency: tuple[Latency, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    job: dict[str, JsonValue] = Field(default_factory=dict)
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """The output folder that it was read from, which its artifact's path is relative to; None for a loose one."""
        return self._folder

    @property
    def done(self) -> bool:
        """Whether the run was measured to its end."""
        return self.failure is None
