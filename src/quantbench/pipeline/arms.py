"""Arms: a model on disk with the options that a runtime loads it with, the same wherever it is scored or timed."""

from __future__ import annotations

from pathlib import Path

from quantbench.plugins import registry
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings, Sources, part

ORIGINAL = "pytorch"
"""The runtime of a checkpoint as it was given."""


def arm(runtime: str, path: Path, sha256: str, settings: Settings) -> ArmSpec:
    """The arm of a file, with the options that the settings give it."""
    return ArmSpec(runtime=runtime, path=str(path), sha256=sha256, options=registry.runtime(runtime).options(settings))


def original(sources: Sources, path: Path, fingerprint: str, runtime: str = ORIGINAL) -> ArmSpec:
    """The arm of the model in a folder, or of a file, as it was given, in float32 with its runtime's defaults."""
    settings = Settings.model_validate(dict(part(sources, Sources)))
    return arm(runtime, path, fingerprint, settings)


def in_float32(settings: Settings) -> Settings:
    """The settings of an arm that is there for comparison, whatever precision the optimized model has."""
    args = settings.framework_args.model_copy(update={"precision": "float32"})
    return settings.model_copy(update={"framework_args": args})
