"""Time files that were judged against their original, all that fit into memory in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantbench.pipeline.context import Context
from quantbench.pipeline.judge import Judged
from quantbench.pipeline.load import Loaded
from quantbench.pipeline.measure import shapes
from quantbench.pipeline.room import PROCESS_BYTES
from quantbench.schema.results import Latency
from quantbench.schema.settings import Settings
from quantbench.sources import model_files
from quantbench.timing.session import Shape
from quantbench.timing.several import time_against

WEIGHTS = (".safetensors", ".bin")
"""Endings of a checkpoint's weights."""


@dataclass(frozen=True)
class Times:
    """How long files take.

    Attributes:
        latencies: raw samples by shape; arms are ``pytorch`` for the original, ``null`` for the same once more, and the
            places of files among those that were given.
        failures: why a file was not timed, by its place.

    """

    latencies: tuple[Latency, ...] = ()
    failures: Mapping[int, str] = field(default_factory=dict)


def time_files(files: Sequence[Judged], settings: Settings, loaded: Loaded, context: Context) -> Times:
    """Time all files that can be run, at every shape that they take.

    Args:
        files: judged ones; those without an arm are passed over.
        settings: whose shapes and timing arguments count.
        loaded: the original and its examples.
        context: see there.

    """
    latencies: list[Latency] = []
    failures: dict[int, str] = {}
    if not settings.is_timed:
        return Times()
    original, args = loaded.model.original, settings.time_benchmark_args
    for together in _fitting(files, loaded, context):
        for places, at in _alike(files, together, shapes(settings, loaded)):
            arms = {str(place): spec for place in places if (spec := files[place].spec) is not None}
            what = f"Timing {len(arms)} file(s) and the original"
            found = time_against(
                original, arms, at, args, context.environment, context.cache.folder, context.reporter, what
            )
            latencies += found.latencies
            failures |= {int(name): why for name, why in found.failures.items() if name.isdecimal()}
            if not found.latencies:  # an original that fails takes all with it
                why = next(iter(found.failures.values()))
                failures |= {place: why for place in places if place not in failures}
    return Times(tuple(latencies), failures)


def _fitting(files: Sequence[Judged], loaded: Loaded, context: Context) -> Iterator[list[int]]:
    """Places of the files that are timed together: all, unless half of the memory does not hold their processes."""
    weights = [path for path in loaded.model.folder.iterdir() if path.suffix in WEIGHTS]
    if loaded.model.opset is not None:
        weights = model_files.files(Path(loaded.model.original.path))
    own = 2 * (PROCESS_BYTES + 2 * sum(path.stat().st_size for path in weights))
    together: list[int] = []
    needed = own
    for place, found in enumerate(files):
        if found.spec is None:
            continue
        more = PROCESS_BYTES + 2 * found.bytes
        if together and needed + more > context.environment.memory_bytes // 2:
            yield together
            together, needed = [], own
        together.append(place)
        needed += more
    if together:
        yield together


def _alike(
    files: Sequence[Judged], places: Sequence[int], at: Sequence[Shape]
) -> Iterator[tuple[list[int], list[Shape]]]:
    """Files with the shapes that all of them take; of a fixed length only shapes that are no longer."""
    groups: dict[tuple[int, ...], list[Shape]] = {}
    for shape in at:
        able = tuple(place for place in places if _takes(files[place], shape))
        groups.setdefault(able, []).append(shape)
    yield from ((list(able), found) for able, found in groups.items() if able)


def _takes(found: Judged, shape: Shape) -> bool:
    length = found.wiring.length if found.wiring else None
    if length is None:
        return True
    return all(batch["input_ids"].shape[1] <= length for batch in shape.batches)
