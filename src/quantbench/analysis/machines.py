"""Which results were measured on alike machines."""

from __future__ import annotations

from collections.abc import Iterable

from quantbench.schema.results import Environment, Result

IDENTITY = ("cpu_model", "instruction_sets", "cap", "cores", "allocator", "versions")
"""What two environments must share for their results to be compared."""


def unlike(first: Environment, second: Environment) -> list[str]:
    """What keeps two environments from being compared, one text each."""
    found = []
    for key in IDENTITY:
        one, other = getattr(first, key), getattr(second, key)
        if key == "versions":
            names = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
            found += [f"{name} {one.get(name, 'none')} against {other.get(name, 'none')}" for name in names]
        elif one != other:
            found.append(f"{key} {one} against {other}")
    if first.physical_cores != second.physical_cores and first.physical_cores and second.physical_cores:
        found.append(f"physical cores {first.physical_cores} against {second.physical_cores}")
    return found


def by_machine(results: Iterable[Result]) -> list[list[Result]]:
    """Results in groups of alike environments, in order; only those of one group are ever compared."""
    groups: list[list[Result]] = []
    for result in results:
        alike = (group for group in groups if not unlike(group[0].environment, result.environment))
        group = next(alike, None)
        if group is None:
            groups.append([result])
        else:
            group.append(result)
    return groups
