"""What the user may set, as frozen records, and the base of all records.

Every record is immutable, refuses unknown fields (but for options, which belong to plug-ins) and holds tuples rather
than lists. Field names are those of the reference card wherever it has one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from quantbench.schema.base import Record

Positive = Annotated[int, Field(gt=0, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
DATASET = "dataset"
"""The input length that stands for batches of the evaluation set with their own lengths and padding."""


def _input_length(value: object) -> object:
    """A positive whole number or the word ``dataset``, refused with one message."""
    if value == DATASET:
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("int_type", f"Input should be a valid integer or '{DATASET}'")
    if value <= 0:
        raise PydanticCustomError("greater_than", "Input should be greater than 0")
    return value


InputLength = Annotated[int | Literal["dataset"], PlainValidator(_input_length)]
ActivationType = Literal["auto", "uint8", "int8"]
Precision = Literal["float32", "bfloat16"]
Mode = Literal["float", "dynamic", "static"]
"""How one product with constant weights is computed: in float, or in int8 with ranges found at run time or before."""


class Dataset(Record):
    """Where the examples come from and which columns hold what."""

    path: Annotated[str, Field(min_length=1)]
    name: str | None = None
    revision: str | None = None
    eval_split: str = "validation"
    data_keys: dict[str, str] = Field(default_factory=dict)
    ref_keys: tuple[str, ...] = ()
    calibration_split: str | None = None
    label_names: tuple[str, ...] | None = None
    label_map: dict[str, str] = Field(default_factory=dict)


class Calibration(Record):
    """How the ranges of activations are found.

    ``percentile`` and ``averaging_constant`` have ONNX Runtime's defaults. ``stride`` belongs to ``sampling:
    strided``: every stride-th example is taken; without it the examples are spread evenly over the split.
    """

    method: Literal["minmax", "entropy", "percentile", "mse"] = "minmax"
    num_calibration_samples: Positive = 100
    moving_average: Flag = False
    averaging_constant: Annotated[float, Field(gt=0, le=1)] = 0.01
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.999
    padding: Literal["none", "max_length"] = "none"
    sampling: Literal["first", "random", "strided"] = "random"
    stride: Positive | None = None
    seed: Annotated[int, Field(ge=0, strict=True)] = 0


class Options(Record):
    """Options of a plug-in. Which there are, each says in its ``Args``, a record below this one that allows no others.

    In settings they stand here as they are written, or completed (see ``plugins.options``), as JSON has them.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)


def _as_held(value: object) -> object:
    """The record of a plug-in's options as JSON, which is what settings hold."""
    return value.model_dump(mode="json") if isinstance(value, Options) else value


class TaskArgs(Options):
    """Options of the task."""


class FrameworkArgs(Options):
    """Options of the runtime, and those that every runtime has.

    ``opset`` is that of the float export, ``precision`` that of whatever is not int8.
    """

    opset: Annotated[int, Field(strict=True)] = 17
    precision: Precision = "float32"


class Placement(Record):
    """Where ``quantization_approach: mixed`` computes in int8, product by product.

    ``default`` is the mode of every MatMul and Gemm with constant weights but those that ``matmuls`` names: globs over
    node names, of which the last that matches counts. ``smooth_quant`` migrates scales of outlying channels from
    activations into weights (SmoothQuant, Xiao et al. 2023), 0 not at all, 1 wholly. ``merge`` makes one product of
    those that read the same tensor, such as query, key and value. ``operators: onnxruntime`` writes attention and
    static products with ONNX Runtime's own operators (domain com.microsoft) where ``standard`` has several of ONNX.
    """

    default: Mode = "dynamic"
    matmuls: dict[str, Mode] = Field(default_factory=dict)
    smooth_quant: Annotated[float, Field(ge=0, le=1)] = 0.0
    merge: Flag = False
    operators: Literal["standard", "onnxruntime"] = "standard"


class Pruning(Record):
    """How many neurons and heads are taken before anything is quantized.

    ``ffn`` is the share of neurons of feed-forward layers, ``heads`` that of heads of attentions, by what they cost
    over all layers: those go first that a Fisher score says are worth least (Kwon et al. 2022). Scores, and the weights
    that make up for what was taken, come from ``samples`` of the calibration split, drawn by ``seed``, without labels.
    """

    ffn: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    heads: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    samples: Positive = 384
    seed: Annotated[int, Field(ge=0, strict=True)] = 0

    @property
    def shares(self) -> dict[str, float]:
        """By kind of unit."""
        return {"ffn": self.ffn, "heads": self.heads}

    @property
    def takes(self) -> bool:
        """Whether anything is taken."""
        return any(self.shares.values())


class AwareTrainingArgs(Record):
    """How weights learn, rounded as they will be, to give what the original gives, without labels.

    ``minutes`` of training, at ``learning_rate`` at its highest, on ``samples`` of the calibration split drawn by
    ``seed``.
    """

    minutes: Annotated[float, Field(gt=0, le=1440)] = 5.0
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    samples: Positive = 5000
    seed: Annotated[int, Field(ge=0, strict=True)] = 0


LEAST_COMPARED = 5.0
"""Seconds per arm below which starting processes only to compare them would take longer than timing them."""
USUAL_STARTS, FEWEST_STARTS = 8, 3
"""Launches of a benchmark, and the fewest that tell by themselves what launches differ by."""


class TimeBenchmarkArgs(Record):
    """How long each arm is timed, in seconds, after how many untimed calls, and on how many threads.

    The duration is shared by ``launches``, each of which starts all processes anew: by default ``USUAL_STARTS`` of
    them, fewer where starting would take longer than timing, or one where it is shorter than ``LEAST_COMPARED``. Timing
    ends sooner where the 95 % interval of every speedup is no wider than ``precision`` to either side, and lasts twice
    as long where one is.
    """

    duration: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 15
    warmup_runs: Annotated[int, Field(ge=0, strict=True)] = 10
    num_threads: Positive | None = None
    launches: Positive | None = None
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.02
    seed: Annotated[int, Field(ge=0, strict=True)] = 0

    @property
    def starts(self) -> int:
        """How many launches share the duration, where models load quickly."""
        return self.launches or (USUAL_STARTS if self.duration >= LEAST_COMPARED else 1)

    @property
    def compares_launches(self) -> bool:
        """Whether a model is started against itself, too, as there are too few launches to tell what they differ by."""
        return self.duration >= LEAST_COMPARED and self.starts < FEWEST_STARTS


class Backend(Record):
    """Which launcher executes the runs, and its arguments."""

    name: str = "local"
    args: dict[str, JsonValue] = Field(default_factory=dict)


R = TypeVar("R", bound=Record)


def part(whole: Record, kind: type[R]) -> R:
    """The fields of ``kind`` of a record that has them all, as a record of that kind alone."""
    return kind.model_construct(**{name: getattr(whole, name) for name in kind.model_fields})


class Sources(Record):
    """What is looked at: a model, what it does, and the examples for it."""

    task: str
    model_name_or_path: Annotated[str, Field(min_length=1)]
    dataset: Dataset
    task_args: Annotated[TaskArgs, BeforeValidator(_as_held)] = TaskArgs()
    trust_remote_code: Flag = False
    allow_pickled_weights: Flag = False


class Recipe(Record):
    """How the optimized model is made and executed."""

    quantization_approach: Literal["static", "dynamic", "mixed", "none"] = "dynamic"
    operators_to_quantize: Annotated[tuple[str, ...], Field(min_length=1)] = ("MatMul",)
    node_exclusion: tuple[str, ...] = ()
    per_channel: Flag = False
    activation_type: ActivationType = "auto"
    weight_type: ActivationType = "auto"
    calibration: Calibration = Calibration()
    placement: Placement = Placement()
    pruning: Pruning = Pruning()
    positions: Literal["all", "read"] = "all"
    """Where tensors are computed: everywhere, or at the positions only that something reads."""
    embedding_tables: Literal["float32", "int8", "int4"] = "float32"
    """Numbers of the tables in which tokens are looked up, a scale per row where they are not float32."""
    framework: str = "onnxruntime"
    framework_args: Annotated[FrameworkArgs, BeforeValidator(_as_held)] = FrameworkArgs()
    aware_training: Flag = False
    aware_training_args: AwareTrainingArgs = AwareTrainingArgs()

    @property
    def calibrated(self) -> bool:
        """Whether the optimized model needs activations that were looked at beforehand."""
        if self.quantization_approach == "mixed":
            modes = {self.placement.default, *self.placement.matmuls.values()}
            return "static" in modes or self.placement.smooth_quant > 0
        return self.quantization_approach == "static"

    @property
    def reads_calibration(self) -> bool:
        """Whether the optimized model is made with the calibration split."""
        return self.calibrated or self.pruning.takes or self.aware_training

    @property
    def has_dynamic_products(self) -> bool:
        """Whether some product of the optimized model finds the range of its activations at run time."""
        if self.quantization_approach == "mixed":
            return "dynamic" in {self.placement.default, *self.placement.matmuls.values()}
        return self.quantization_approach == "dynamic"


class Evaluation(Record):
    """What is scored."""

    metrics: tuple[str, ...] = ()
    max_eval_samples: Annotated[int, Field(ge=0, strict=True)] | None = None
    """Of the evaluation split; none leaves evaluation out."""

    @property
    def is_evaluated(self) -> bool:
        """Whether there are examples to score."""
        return self.max_eval_samples != 0


class Timing(Record):
    """What is timed, and for how long."""

    batch_sizes: tuple[Positive, ...] = (4,)
    """Of the shapes to time; none leaves timing out."""
    input_lengths: Annotated[tuple[InputLength, ...], Field(min_length=1)] = (64,)
    time_benchmark_args: TimeBenchmarkArgs = TimeBenchmarkArgs()

    @property
    def is_timed(self) -> bool:
        """Whether there is a shape to time."""
        return bool(self.batch_sizes)


ORDER = (
    *("task", "model_name_or_path", "dataset", "task_args", "metrics", "max_eval_samples", "quantization_approach"),
    *("operators_to_quantize", "node_exclusion", "per_channel", "activation_type", "weight_type", "calibration"),
    *(
        "placement",
        "pruning",
        "positions",
        "embedding_tables",
        "framework",
        "framework_args",
        "aware_training",
        "aware_training_args",
        "batch_sizes",
    ),
    *("input_lengths", "time_benchmark_args", "backend", "trust_remote_code", "allow_pickled_weights"),
)
"""Parameters as files list them."""


class Settings(Timing, Evaluation, Recipe, Sources):
    """Every parameter of one run, each with one value, as flat as a user writes them.

    A step of the work takes the part that it depends on. What reads :class:`Sources` can be handed the whole, too;
    what is kept by its inputs is handed the part alone, so that nothing else can matter.
    """

    backend: Backend = Backend()

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The parameters in the order of the reference card, whatever part they belong to."""
        data = handler(self)
        return {name: data[name] for name in sorted(data, key=ORDER.index)}

    @property
    def sources(self) -> Sources:
        """The model, its task and its data."""
        return part(self, Sources)

    @property
    def recipe(self) -> Recipe:
        """How the optimized model is made and executed."""
        return part(self, Recipe)

    @property
    def evaluation(self) -> Evaluation:
        """What is scored."""
        return part(self, Evaluation)

    @property
    def timing(self) -> Timing:
        """What is timed."""
        return part(self, Timing)


class Dimension(Record):
    """One benchmarked parameter: a dotted key and the values to try."""

    key: str
    values: tuple[JsonValue, ...]


class Config(Record):
    """What the user wrote, validated.

    ``base`` holds the first value of every benchmarked parameter. ``lines`` says where each dotted key was set, for
    messages, and ``places`` where there lies what relative paths name, as written: both are not part of what the
    configuration is, so that it is the same wherever it is read.
    """

    base: Settings
    dimensions: tuple[Dimension, ...] = ()
    source: str = Field(default="", exclude=True)
    lines: dict[str, str] = Field(default_factory=dict, exclude=True)
    places: dict[str, str] = Field(default_factory=dict, exclude=True)

    def where(self, key: str) -> str:
        """``file:line`` of a dotted key, fixed or benchmarked, of its nearest parent, or of the whole file."""
        for dimension in self.dimensions:
            if dimension.key == key:
                return self.lines.get(f"benchmarked.{key}", self.source)
        while key:
            if key in self.lines:
                return self.lines[key]
            key = key.rpartition(".")[0]
        return self.source
