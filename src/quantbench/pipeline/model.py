"""A model as it is opened: checked, with its processor, its whole configuration and a fingerprint of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.pipeline import arms, given_file, room
from quantbench.pipeline.context import Context
from quantbench.plugins import registry
from quantbench.plugins.examples import Inputs, Processor
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Sources
from quantbench.sources import adapters, given_files, model_files
from quantbench.sources.checkpoints import count_values
from quantbench.sources.hub import mistake
from quantbench.sources.models import (
    check_architecture,
    check_config,
    check_kind,
    check_model_folder,
    count_in_files,
    locate_model,
    model_fingerprint,
)

EXPORT_SHAPE = (2, 8)
"""Batch size and tokens of the input that a model is exported with, and tried on first."""
TRIED_LENGTH = 128
"""Tokens of the longer input that a model is tried on, if its limit allows for so many."""


@dataclass(frozen=True)
class Model:
    """A model on disk with its processor (a tokenizer, for one), its configuration, and its arm as it was given.

    ``weights`` is how many numbers its files hold, ``notes`` what a card says of where it came from, ``opset`` that of
    an original that is an ONNX file; None of a checkpoint.
    """

    folder: Path
    config: dict[str, Any]
    processor: Processor
    original: ArmSpec
    weights: int
    notes: tuple[str, ...] = ()
    opset: int | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of its files."""
        return self.original.sha256

    def tried(self, shape: tuple[int, int]) -> list[Inputs]:
        """Drawn inputs of a shape, and one as long as the model takes, up to ``TRIED_LENGTH``."""
        return _tried(self.processor, self.config, shape)


def _tried(processor: Processor, config: dict[str, Any], shape: tuple[int, int]) -> list[Inputs]:
    limit = processor.max_length(config) or TRIED_LENGTH
    shapes = [shape, (1, min(limit, TRIED_LENGTH))] if processor.HAS_LENGTH else [shape]
    return [processor.exact_inputs(*each, seed=0) for each in shapes]


def open_model(sources: Sources, context: Context) -> Model:
    """Open a model for the task of the sources; an adapter is merged into its base.

    Args:
        sources: of a run.
        context: see there.

    Raises:
        BadInput: at ``model_name_or_path``, if it cannot be found, must not be loaded or does not fit into memory.

    """
    task, trusted, pickled = registry.task(sources.task), sources.trust_remote_code, sources.allow_pickled_weights
    name, memory = sources.model_name_or_path, context.environment.memory_bytes
    folder = locate_model(context.place(name), pickled, trusted)
    if (file := given_files.find(folder)) is not None:
        return _of_file(file, sources, context)
    adapter = adapters.find(folder, pickled, context.places)
    if adapter is not None:
        if problem := room.to_load(count_in_files(adapter.base), memory):
            raise mistake("model_name_or_path", f"the base of adapter {name!r} cannot be loaded: {problem}")
        folder = adapters.merge(adapter, context.cache.folder, pickled)
    check_kind(folder, head=bool(task.ARCHITECTURE_SUFFIX))
    config = check_model_folder(folder, pickled, trusted)
    check_architecture(config, name, sources.task, task.AUTO_CLASS, task.ARCHITECTURE_SUFFIX)
    weights = count_in_files(folder)
    if room.to_load(weights, memory):  # files may hold more than the task's class loads
        weights = count_values(folder, task.AUTO_CLASS, trusted)
    if problem := room.to_load(weights, memory):
        raise mistake("model_name_or_path", f"model {name!r} cannot be loaded: {problem}")
    original = arms.original(sources, folder, adapter.fingerprint if adapter else model_fingerprint(folder))
    notes = (adapter.note(name),) if adapter else ()
    return Model(
        folder, _full_config(folder, config, trusted), task.PROCESSOR(folder, trusted), original, weights, notes
    )


def _of_file(file: Path, sources: Sources, context: Context) -> Model:
    """Open an ONNX file as the original, with the configuration and the tokenizer that lie with it."""
    task, trusted, name = registry.task(sources.task), sources.trust_remote_code, sources.model_name_or_path
    folder = given_files.home(file)
    config = check_config(folder, trusted)
    check_architecture(config, name, sources.task, task.AUTO_CLASS, task.ARCHITECTURE_SUFFIX)
    given_file.check(file)
    weights = sum(part.stat().st_size for part in model_files.files(file)) // room.FLOAT_BYTES
    if problem := room.to_load(weights, context.environment.memory_bytes):
        raise mistake("model_name_or_path", f"model {name!r} cannot be loaded: {problem}")
    config, processor = _full_config(folder, config, trusted), task.PROCESSOR(folder, trusted)
    labels = len(config.get("id2label") or ())
    tried = _tried(processor, config, EXPORT_SHAPE)
    found = given_file.open_file(file, folder, sources, tried, labels, context.threads)
    return Model(folder, config, processor, found.original, weights, (found.note,), found.opset)


def _full_config(folder: Path, config: dict[str, Any], trust_remote_code: bool) -> dict[str, Any]:
    """The model's configuration with the defaults of its class, which ``config.json`` may leave out."""
    from transformers import AutoConfig

    loaded = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    return {**config, **loaded.to_dict()}
