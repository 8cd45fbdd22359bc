"""What plug-ins must provide, checked: for authors of tasks, runtimes and quantizers, and for the tests here."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, cast

from quantbench.errors import QuantbenchError
from quantbench.plugins import protocols, registry
from quantbench.plugins.examples import Processor
from quantbench.plugins.protocols import Quantizer, Runtime, Task
from quantbench.schema.settings import Dataset, FrameworkArgs, Options, Settings, TaskArgs
from quantbench.served.protocols import ServedProcessor, ServedRuntime, ServedTask

DRAWS = 7
"""Rows of weights that a task's metrics are computed for, together and one by one."""
NEAR = 1e-12

Outcomes = Sequence[tuple[Sequence[str], Any]]


class NotConforming(QuantbenchError, AssertionError):
    """A plug-in lacks something; ``faults`` has a sentence for everything that it lacks."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def check_task(task: Task | str, *, outcomes: Outcomes = ()) -> None:
    """Check that a task has what quantbench asks of it.

    Args:
        task: the module, an object with the same members, or the name of an installed one.
        outcomes: pairs of columns and an array of shape (examples, columns) as ``score`` gives them, on which
            ``metrics`` must say the same of a row of weights alone and among others.

    Raises:
        NotConforming: with every fault.

    """
    found = registry.task(task) if isinstance(task, str) else task
    faults = [*plugin_faults(found, protocols.Task)]
    if not faults:
        faults += [
            *member_faults(found.SERVED, ServedTask),
            *member_faults(found.PROCESSOR.SERVED, ServedProcessor),
            *member_faults(found.PROCESSOR, Processor, of_class=True),
            *_args_faults(found, TaskArgs),
        ]
    if not faults:
        faults += [
            *_metric_faults(found, task if isinstance(task, str) else "task"),
        ]
        for columns, values in outcomes:
            faults += _weight_faults(found, columns, values)
    _raise(faults)


def check_runtime(runtime: Runtime | str) -> None:
    """Check that a runtime has what quantbench asks of it.

    Args:
        runtime: the module, an object with the same members, or the name of an installed one.

    Raises:
        NotConforming: with every fault.

    """
    found = registry.runtime(runtime) if isinstance(runtime, str) else runtime
    faults = [*plugin_faults(found, protocols.Runtime)]
    if not faults:
        faults += member_faults(found.SERVED, ServedRuntime)
        faults += _args_faults(found, FrameworkArgs)
        faults += [f"QUANTIZERS names none for {name}" for name in found.OPERATORS if name not in found.QUANTIZERS]
    _raise(faults)


def check_quantizer(quantizer: Quantizer | str) -> None:
    """Check that a quantizer has what quantbench asks of it.

    Args:
        quantizer: the module, an object with the same members, or the name of an installed one.

    Raises:
        NotConforming: with every fault.

    """
    found = registry.quantizer(quantizer) if isinstance(quantizer, str) else quantizer
    _raise([*plugin_faults(found, protocols.Quantizer)])


def plugin_faults(plugin: object, protocol: type) -> Iterator[str]:
    """What a plug-in of any kind lacks of its protocol, or says of itself in more than a line."""
    yield from member_faults(plugin, protocol)
    name = _name(plugin)
    if not plugin.__doc__:
        yield f"{name} has no docstring"
    summary = str(getattr(plugin, "SUMMARY", ""))
    if not summary or "\n" in summary or summary.endswith("."):
        yield f"SUMMARY of {name} must be one line without a full stop"


def member_faults(thing: object, protocol: type, of_class: bool = False) -> Iterator[str]:
    """Members of a protocol that are missing, and functions with other parameters; ``of_class`` counts ``self``."""
    name = _name(thing)
    methods = {
        key: value for key, value in vars(protocol).items() if inspect.isfunction(value) and not key.startswith("_")
    }
    attributes = [] if of_class else list(inspect.get_annotations(protocol))  # instances have them
    for member in (*attributes, *methods):
        if not hasattr(thing, member):
            yield f"{name} has no {member}"
        elif member in methods:
            wanted = list(inspect.signature(methods[member]).parameters)[0 if of_class else 1 :]
            given = list(inspect.signature(getattr(thing, member)).parameters)
            if given != wanted:
                yield f"{name}.{member} takes ({', '.join(given)}); must take ({', '.join(wanted)})"


def _name(thing: object) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__)).rpartition(".")[2]


def _args_faults(plugin: Task | Runtime, shared: type[Options]) -> Iterator[str]:
    """Options must be those of the kind and others, each with a default that JSON can hold, and nothing else."""
    args = plugin.Args
    if not (isinstance(args, type) and issubclass(args, shared)):
        yield f"Args must be a class below {shared.__name__}"
        return
    if args.model_config.get("extra") != "forbid":
        yield f'Args takes any option; write class Args({shared.__name__}, extra="forbid")'
    if not args.__doc__:
        yield "Args has no docstring, which says what the options are"
    for name, field in shared.model_fields.items():
        mine = args.model_fields[name]
        if (mine.annotation, mine.default) != (field.annotation, field.default):
            yield f"Args has another {name} than all have; say in RULES what cannot be"
    required = [name for name, field in args.model_fields.items() if field.is_required()]
    if required:
        yield f"Args has no default for {', '.join(required)}"
    elif args.model_validate_json(args().model_dump_json()) != args():
        yield "Args reads its own defaults as something else than it writes"


def _metric_faults(task: Task, name: str) -> Iterator[str]:
    """Metrics that are reported by default must be among those that there are, the limit on one that is reported."""
    cases = (Dataset(path="-", ref_keys=refs) for refs in (("-",), ()))
    found = [Settings(task=name, model_name_or_path="-", dataset=dataset) for dataset in cases]
    yield from dict.fromkeys(fault for settings in found for fault in _faults_of(task, settings))


def _faults_of(task: Task, settings: Settings) -> Iterator[str]:
    usual, known = set(task.default_metrics(settings)), set(task.known_metrics(settings))
    if not usual <= known <= set(task.METRICS):
        yield "default_metrics must be among known_metrics, and these among METRICS"
        return
    metric, drop = task.default_limit(settings)
    if metric not in {value for item in usual for value in task.METRICS[item]}:
        yield f"default_limit is on {metric}, which default_metrics do not report"
    if not drop > 0:
        yield f"default_limit must be more than 0, not {drop}"


def _weight_faults(task: Task, columns: Sequence[str], outcomes: Any) -> Iterator[str]:
    """A row of weights must give the same alone and among others: intervals are made of many at once."""
    import numpy as np

    values = np.asarray(outcomes, dtype=float)
    weights = np.random.default_rng(0).integers(0, 3, (DRAWS, len(values))).astype(float)
    together = task.metrics(columns, values, weights)
    for number, row in enumerate(weights):
        alone = cast(dict[str, float], task.metrics(columns, values, row))
        for name, value in alone.items():
            if not np.isclose(together[name][number], value, rtol=1e-6, atol=NEAR, equal_nan=True):
                yield f"metrics gives {name} {together[name][number]} among other rows of weights and {value} alone"


def _raise(faults: Sequence[str]) -> None:
    if faults:
        raise NotConforming(faults)
