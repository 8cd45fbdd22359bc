"""quantbench: which int8 version of a transformer encoder to deploy on this CPU, measured.

``import quantbench as qb``; what is in ``__all__`` is public, and ``docs/api.md`` shows it at work. A name is looked up
when it is first used, so that importing the package loads no library that does the work. Nothing here prints; what
goes wrong on the way is told to the logger ``quantbench``. Functions raise :class:`BadInput`, whose ``mistakes`` hold
all that is wrong with what they were given, before anything is written.
"""

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from quantbench.schema.version import __version__

if TYPE_CHECKING:
    from quantbench.api.benchmark import Benchmark, UnknownRun, load_results, merge
    from quantbench.api.checking import Check, check
    from quantbench.api.comparing import Comparison, compare
    from quantbench.api.configs import config, load_config
    from quantbench.api.conformance import NotConforming, check_quantizer, check_runtime, check_task
    from quantbench.api.deciding import Decision, decide
    from quantbench.api.deploying import deploy
    from quantbench.api.diagnosing import Diagnoses, diagnose
    from quantbench.api.listing import exclusions, metrics, runtimes, tasks
    from quantbench.api.machine import cache_folder, cache_size, check_machine, clear_cache, cpus_used, environment
    from quantbench.api.plans import Plan, plan
    from quantbench.api.running import run
    from quantbench.api.timing import Timing, time
    from quantbench.api.tuning import Search, Version, tune
    from quantbench.errors import ArmFailed, BadInput, Interrupted, Mistake, QuantbenchError, RunFailed
    from quantbench.schema.results import Environment, Result
    from quantbench.schema.settings import Config

__all__ = [
    "ArmFailed",
    "BadInput",
    "Benchmark",
    "Check",
    "Comparison",
    "Config",
    "Decision",
    "Diagnoses",
    "Environment",
    "Interrupted",
    "Mistake",
    "NotConforming",
    "Plan",
    "QuantbenchError",
    "Result",
    "RunFailed",
    "Search",
    "Timing",
    "UnknownRun",
    "Version",
    "__version__",
    "cache_folder",
    "cache_size",
    "check",
    "check_machine",
    "check_quantizer",
    "check_runtime",
    "check_task",
    "clear_cache",
    "compare",
    "config",
    "cpus_used",
    "decide",
    "deploy",
    "diagnose",
    "environment",
    "exclusions",
    "load_config",
    "load_results",
    "merge",
    "metrics",
    "plan",
    "run",
    "runtimes",
    "tasks",
    "time",
    "tune",
]

_WHERE = {
    "api.benchmark": ("Benchmark", "UnknownRun", "load_results", "merge"),
    "api.checking": ("Check", "check"),
    "api.comparing": ("Comparison", "compare"),
    "api.configs": ("config", "load_config"),
    "api.conformance": ("NotConforming", "check_quantizer", "check_runtime", "check_task"),
    "api.deciding": ("Decision", "decide"),
    "api.deploying": ("deploy",),
    "api.diagnosing": ("Diagnoses", "diagnose"),
    "api.listing": ("exclusions", "metrics", "runtimes", "tasks"),
    "api.machine": ("cache_folder", "cache_size", "check_machine", "clear_cache", "cpus_used", "environment"),
    "api.plans": ("Plan", "plan"),
    "api.running": ("run",),
    "api.timing": ("Timing", "time"),
    "api.tuning": ("Search", "Version", "tune"),
    "errors": ("ArmFailed", "BadInput", "Interrupted", "Mistake", "QuantbenchError", "RunFailed"),
    "schema.results": ("Environment", "Result"),
    "schema.settings": ("Config",),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

logging.getLogger("quantbench").addHandler(logging.NullHandler())  # a library's warnings are not printed unasked


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module 'quantbench' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"quantbench.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, used or not."""
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package, in which a public name is never hidden by the folder of the same name.

    Importing ``quantbench.tune.search`` makes Python bind the folder ``tune`` here, over the function; ``from
    quantbench.tune import search`` does not look here, so that the folder needs no such binding.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _MODULES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
