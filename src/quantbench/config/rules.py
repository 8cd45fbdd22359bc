"""Rules over more than one parameter: what cannot be, although each value is fine by itself.

A rule names the parameters that it looks at, so that a grid in which it forbids only some combinations can skip those
and a value that can never run is a mistake. Rules of a task, a runtime or a quantizer stand in its file; here
they are asked with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

from quantbench.config.keys import explained
from quantbench.plugins import arguments, options, registry
from quantbench.plugins.former import FORMER_DEFAULTS
from quantbench.plugins.options import PLACES, RUNTIMES, TASKS, Place
from quantbench.plugins.protocols import Rule
from quantbench.schema.settings import Placement, Settings
from quantbench.system import instruction_sets

MIN_OPSET = 11
MAX_OPSET = 20
"""Range of the TorchScript-based exporter of PyTorch (``torch.onnx``, ``ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET``)."""
PER_CHANNEL_MIN_OPSET = 13
"""``DequantizeLinear`` takes an axis since opset 13 (ONNX operator specification)."""


def _opset(settings: Settings) -> str | None:
    opset = settings.framework_args.opset
    if MIN_OPSET <= opset <= MAX_OPSET:
        return None
    word = "old" if opset < MIN_OPSET else "new"
    return f"opset {opset} is too {word}; the exporter writes {MIN_OPSET} to {MAX_OPSET}, set one of these"


def _per_channel(settings: Settings) -> str | None:
    opset = settings.framework_args.opset
    if not settings.per_channel or not settings.calibrated or opset >= PER_CHANNEL_MIN_OPSET:
        return None
    return (
        f"per_channel: true needs opset {PER_CHANNEL_MIN_OPSET} or newer, framework_args.opset is {opset}; "
        "raise it or set per_channel: false"
    )


def _calibration_split(settings: Settings) -> str | None:
    if not settings.calibrated or settings.dataset.calibration_split:
        return None
    return (
        f"{settings.quantization_approach} quantization needs dataset.calibration_split, the split from which ranges "
        "are collected; set it, such as calibration_split: train, or use quantization_approach: dynamic"
    )


def _examples(name: str, asked: Callable[[Settings], bool], settings: Settings) -> str | None:
    if not asked(settings) or settings.dataset.calibration_split:
        return None
    return (
        f"{name} needs dataset.calibration_split, whose examples it looks at; set it, such as "
        f"calibration_split: train, or leave {name} out"
    )


def _activation_type(settings: Settings) -> str | None:
    if settings.quantization_approach in ("static", "none") or settings.activation_type != "int8":
        return None
    approach = settings.quantization_approach
    return f"{approach} quantization has uint8 activations only (DynamicQuantizeLinear); use auto or uint8"


def _backend_args(settings: Settings) -> str | None:
    known = registry.launcher(settings.backend.name).Args.model_fields
    wrong = [name for name in settings.backend.args if name not in known]
    return registry.unknown_name(wrong[0], known, f"argument of backend {settings.backend.name}") if wrong else None


def _of_launchers() -> Iterator[Rule]:
    """A rule for every argument that some launcher has."""
    launchers = map(registry.launcher, registry.names("launchers"))
    for name in dict.fromkeys(arg for launcher in launchers for arg in launcher.Args.model_fields):
        yield Rule((f"backend.args.{name}", "backend.name"), partial(_backend_arg, name))


def _backend_arg(name: str, settings: Settings) -> str | None:
    found = arguments.mistakes(registry.launcher(settings.backend.name).Args, settings.backend.args)
    return f"{name}: {found[name]}" if name in found else None


def _supported_instructions(settings: Settings) -> str | None:
    level = settings.backend.args.get(instruction_sets.KEY)
    if level is None or (isinstance(level, str) and level in instruction_sets.LEVELS):
        return None
    return registry.unknown_name(str(level), ["null", *instruction_sets.LEVELS], instruction_sets.KEY)


def _mixed_types(settings: Settings) -> str | None:
    if settings.activation_type != "int8" or settings.weight_type != "uint8":
        return None
    return "ONNX Runtime has no kernels for int8 activations with uint8 weights; use int8 or auto for weight_type"


def _moving_average(settings: Settings) -> str | None:
    calibration = settings.calibration
    if not calibration.moving_average or calibration.method == "minmax":
        return None
    return f"moving_average belongs to method minmax, not {calibration.method}; remove one of them"


def _averaged_products(settings: Settings) -> str | None:
    if settings.quantization_approach != "mixed" or not settings.calibrated or not settings.calibration.moving_average:
        return None
    return "moving_average is there for quantization_approach static only, not for mixed; remove one of them"


def _stride(settings: Settings) -> str | None:
    if settings.calibration.stride is None or settings.calibration.sampling == "strided":
        return None
    return f"stride belongs to sampling strided, not {settings.calibration.sampling}; remove one of them"


def _framework(settings: Settings) -> str | None:
    known = registry.runtime(settings.framework).OPERATORS
    if settings.quantization_approach in known:
        return None
    there = ", ".join(known)
    return (
        f"framework {settings.framework} has no models of quantization_approach {settings.quantization_approach}, "
        f"only: {there}; choose one of these or another framework"
    )


def _placement(settings: Settings) -> str | None:
    if settings.quantization_approach == "mixed" or settings.placement == Placement():
        return None
    return f"placement belongs to quantization_approach mixed, not {settings.quantization_approach}; remove one of them"


def _mse(settings: Settings) -> str | None:
    if settings.calibration.method != "mse" or settings.quantization_approach == "mixed":
        return None
    return "calibration method mse is there for quantization_approach mixed only; use minmax, entropy or percentile"


def _of_options(place: Place) -> Iterator[Rule]:
    """A rule for every option that some task or some runtime has: others do without."""
    for option in place.options():
        yield Rule((f"{place.key}.{option}", place.named_by), partial(_option, place, option))


def _option(place: Place, option: str, settings: Settings) -> str | None:
    """Options of other plug-ins must be at their defaults, or at those that folders were written with."""
    given, name = place.given(settings), getattr(settings, place.named_by)
    if option not in given or place.has(name, option) or options.says_nothing(place, option, given[option]):
        return None
    key = f"{place.key}.{option}"
    if key in FORMER_DEFAULTS and given[option] == FORMER_DEFAULTS[key]:
        return None
    owners = " and ".join(place.owners(option))
    return f"{key} belongs to {place.named_by} {owners}, not {name}; remove it"


def _fitting_option(place: Place, option: str, settings: Settings) -> str | None:
    """Of plug-ins that a grid names some may take a value that others do not."""
    given, name = place.given(settings), getattr(settings, place.named_by)
    wrong = options.errors(place, name, option, given[option]) if option in given and place.has(name, option) else ()
    return explained(".".join([place.key, *map(str, wrong[0]["loc"])]), wrong[0]) if wrong else None


def _metrics(settings: Settings) -> str | None:
    """Metrics that are not there for the kind of labels; see the task's ``default_metrics``."""
    task = registry.task(settings.task)
    wrong = [name for name in settings.metrics if name not in task.known_metrics(settings)]
    if not wrong:
        return None
    why = "is not for this kind of labels" if settings.dataset.ref_keys else "needs labels, dataset.ref_keys names none"
    return f"metric {wrong[0]} {why}; there is: {', '.join(task.known_metrics(settings))}"


def _input_lengths(settings: Settings) -> str | None:
    if registry.task(settings.task).PROCESSOR.HAS_LENGTH:
        return None
    if settings.input_lengths == Settings.model_fields["input_lengths"].default:
        return None
    return f"inputs of {settings.task} have no length, shapes are batch_sizes alone; remove input_lengths"


def _nothing_measured(settings: Settings) -> str | None:
    if settings.is_timed or settings.is_evaluated:
        return None
    return "batch_sizes: [] leaves timing out and max_eval_samples: 0 evaluation: nothing is left to measure; keep one"


def _own_operators(settings: Settings) -> str | None:
    approach, operators = settings.quantization_approach, settings.placement.operators
    own = registry.runtime(settings.framework).OWN_OPERATORS and operators == settings.framework
    if approach != "mixed" or operators == "standard" or own:
        return None
    return f"placement.operators {operators} are not known to framework {settings.framework}; use standard"


def _smoothed_ranges(settings: Settings) -> str | None:
    smoothed = settings.calibrated and settings.placement.smooth_quant > 0
    if not smoothed or settings.calibration.method == "minmax":
        return None
    return f"with placement.smooth_quant ranges are minmax, not {settings.calibration.method}; remove one of them"


def _of_plugins(place: Place) -> Iterator[Rule]:
    """The rules of every task or every runtime, each asked for its own settings only."""
    for name in registry.names(place.kind):
        for rule in place.rules(name):
            yield Rule(rule.keys, partial(_if_named, place.named_by, name, rule))


def _if_named(named_by: str, name: str, rule: Rule, settings: Settings) -> str | None:
    return rule.check(settings) if getattr(settings, named_by) == name else None


def _of_quantizers() -> Iterator[Rule]:
    """The rules of every quantizer, each asked for settings whose model it makes."""
    for name in registry.names("quantizers"):
        for rule in registry.quantizer(name).RULES:
            yield Rule(rule.keys, partial(_if_quantizer, name, rule))


def _if_quantizer(name: str, rule: Rule, settings: Settings) -> str | None:
    maker = registry.runtime(settings.framework).QUANTIZERS.get(settings.quantization_approach)
    return rule.check(settings) if maker == name else None


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, those of plug-ins among them."""
    return (
        Rule(("framework_args.opset",), _opset),
        Rule(("per_channel", "framework_args.opset", "quantization_approach"), _per_channel),
        Rule(("quantization_approach", "dataset.calibration_split"), _calibration_split),
        Rule(("pruning", "dataset.calibration_split"), partial(_examples, "pruning", lambda s: s.pruning.takes)),
        Rule(
            ("aware_training", "dataset.calibration_split"),
            partial(_examples, "aware_training", lambda s: s.aware_training),
        ),
        Rule(("activation_type", "quantization_approach"), _activation_type),
        Rule(("weight_type", "activation_type"), _mixed_types),
        Rule(("backend.args",), _backend_args),
        *_of_launchers(),
        Rule((f"backend.args.{instruction_sets.KEY}",), _supported_instructions),
        Rule(("framework", "quantization_approach"), _framework),
        *_of_options(RUNTIMES),
        *_of_quantizers(),
        *_of_options(TASKS),
        *_of_plugins(TASKS),
        Rule(("metrics", "task", "task_args"), _metrics),
        Rule(("input_lengths", "task"), _input_lengths),
        Rule(("batch_sizes", "max_eval_samples"), _nothing_measured),
        *_of_plugins(RUNTIMES),
        Rule(("placement.operators", "quantization_approach", "framework"), _own_operators),
        Rule(("placement", "quantization_approach"), _placement),
        Rule(("calibration.method", "quantization_approach"), _mse),
        Rule(("placement.smooth_quant", "calibration.method"), _smoothed_ranges),
        Rule(("calibration.moving_average", "calibration.method"), _moving_average),
        Rule(("calibration.moving_average", "quantization_approach"), _averaged_products),
        Rule(("calibration.stride", "calibration.sampling"), _stride),
    )


@cache
def _fitting_rules() -> tuple[Rule, ...]:
    """That the values of options fit the plug-in that reads them: no other rule could read them otherwise."""
    return tuple(
        Rule((f"{place.key}.{option}", place.named_by), partial(_fitting_option, place, option))
        for place in PLACES
        for option in place.options()
    )


def broken(settings: Settings, among: Sequence[Rule] | None = None) -> list[tuple[Rule, str]]:
    """The rules that these settings break, with their messages; of all rules, or of those ``among`` which to ask."""
    return _told(settings, _fitting_rules()) or _told(settings, all_rules() if among is None else among)


def _told(settings: Settings, among: Sequence[Rule]) -> list[tuple[Rule, str]]:
    return [(rule, message) for rule in among if (message := rule.check(settings)) is not None]
