"""What there is to choose from; plug-ins of other packages are among it."""

from __future__ import annotations

from collections.abc import Mapping

from quantbench.plugins import registry


def tasks() -> dict[str, str]:
    """Tasks by name, with a line of what each is."""
    return {name: registry.task(name).SUMMARY for name in registry.names("tasks")}


def runtimes() -> dict[str, str]:
    """Runtimes by name (what stands under ``framework``), with a line of what each is."""
    return {name: registry.runtime(name).SUMMARY for name in registry.names("runtimes")}


def exclusions() -> dict[str, str]:
    """Node-exclusion groups by name, with a line of what each is."""
    return {name: registry.exclusion(name).SUMMARY for name in registry.names("exclusions")}


def metrics() -> dict[str, Mapping[str, tuple[str, ...]]]:
    """For every task the metrics by name, and the values that each reports."""
    return {name: registry.task(name).METRICS for name in registry.names("tasks")}
