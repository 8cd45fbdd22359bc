"""A model as it is opened: checked, with its processor, its whole configuration and a fingerprint of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.pipeline import arms, room
from quantbench.plugins import registry
from quantbench.plugins.examples import Inputs, Processor
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Sources
from quantbench.sources.checkpoints import count_values
from quantbench.sources.hub import mistake
from quantbench.sources.models import (
    check_architecture,
    check_kind,
    check_model_folder,
    count_in_files,
    locate_model,
    model_fingerprint,
)

TRIED_LENGTH = 128
"""Tokens of the longer input that a model is tried on, if its limit allows for so many."""


@dataclass(frozen=True)
class Model:
    """A model on disk with its processor (a tokenizer, for one), its configuration, and its arm as it was given.

    ``weights`` is how many numbers its files hold.
    """

    folder: Path
    config: dict[str, Any]
    processor: Processor
    original: ArmSpec
    weights: int

    @property
    def fingerprint(self) -> str:
        """Hash of its files."""
        return self.original.sha256

    def tried(self, shape: tuple[int, int]) -> list[Inputs]:
        """Drawn inputs of a shape, and one as long as the model takes, up to ``TRIED_LENGTH``."""
        limit = self.processor.max_length(self.config) or TRIED_LENGTH
        shapes = [shape, (1, min(limit, TRIED_LENGTH))] if self.processor.HAS_LENGTH else [shape]
        return [self.processor.exact_inputs(*each, seed=0) for each in shapes]


def open_model(name: str, place: str, sources: Sources, memory: int) -> Model:
    """Open a model for the task of the sources.

    Args:
        name: what the settings call it, for messages.
        place: where it lies: ``name``, or where that was shipped to.
        sources: of a run.
        memory: bytes that there are.

    Raises:
        BadInput: at ``model_name_or_path``, if it cannot be found, must not be loaded or does not fit into memory.

    """
    task, trusted = registry.task(sources.task), sources.trust_remote_code
    folder = locate_model(place, sources.allow_pickled_weights, trusted)
    check_kind(folder, head=bool(task.ARCHITECTURE_SUFFIX))
    config = check_model_folder(folder, sources.allow_pickled_weights, trusted)
    check_architecture(config, name, sources.task, task.AUTO_CLASS, task.ARCHITECTURE_SUFFIX)
    weights = count_in_files(folder)
    if room.to_load(weights, memory):  # files may hold more than the task's class loads
        weights = count_values(folder, task.AUTO_CLASS, trusted)
    if problem := room.to_load(weights, memory):
        raise mistake("model_name_or_path", f"model {name!r} cannot be loaded: {problem}")
    original = arms.original(sources, folder, model_fingerprint(folder))
    return Model(folder, _full_config(folder, config, trusted), task.PROCESSOR(folder, trusted), original, weights)


def _full_config(folder: Path, config: dict[str, Any], trust_remote_code: bool) -> dict[str, Any]:
    """The model's configuration with the defaults of its class, which ``config.json`` may leave out."""
    from transformers import AutoConfig

    loaded = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    return {**config, **loaded.to_dict()}
