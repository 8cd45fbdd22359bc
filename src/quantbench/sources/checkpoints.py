"""Checkpoints as PyTorch modules: the one place that loads weights, and what tells whether all of them were there.

transformers draws weights that a file lacks at random and says so in a warning only. Here nothing is drawn that could
be measured: :func:`drawn` names what a checkpoint lacks, :func:`take_part` which of that the used outputs depend on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantbench.errors import RunFailed, first_line
from quantbench.served.pytorch import accepted, class_for, read

LISTED = 4
"""Names of weights in a message; of more it says how many there are."""


@dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode, and the names of its weights that its files do not hold.

    Attributes:
        model: the transformers module.
        missing: names that stand in no file; those that transformers ties or lists as of no use are not among them.
        mismatched: names whose shape in the file is another one, with the file's shape and the module's.

    """

    model: Any
    missing: tuple[str, ...]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names of all weights that come from the random generator and not from a file."""
        return tuple(sorted({*self.missing, *self.mismatched}))


def load_checkpoint(folder: str | Path, options: Mapping[str, Any], config: Any = None) -> Loaded:
    """Load a folder as transformers does, with the report that transformers makes of it.

    What is missing is drawn from a fixed seed, so that no two loads differ whatever was drawn before.

    Args:
        folder: of the checkpoint.
        options: of a PyTorch arm: ``auto_class`` names the class of transformers that chooses the module's, by the
            task; ``precision`` the type that the weights are given, float32 where it is left out;
            ``trust_remote_code`` lets code of the folder run, ``allow_pickled_weights`` weights be pickles.
        config: of transformers, in place of the folder's own.

    """
    model, report = read(folder, options, config)
    mismatched = {str(name): (tuple(found), tuple(wanted)) for name, found, wanted in report["mismatched_keys"]}
    return Loaded(model, tuple(sorted(map(str, report["missing_keys"]))), mismatched)


def run_once(model: Any, inputs: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
    """The named outputs of one batch of arrays, as tensors.

    Raises:
        RunFailed: if the model gives no such output.

    """
    import torch

    with torch.inference_mode():
        result = model(**{name: torch.from_numpy(inputs[name]) for name in accepted(model, inputs)})
    return named(result, outputs)


def named(result: Any, outputs: Sequence[str]) -> list[Any]:
    """The named outputs of what a model returned.

    Raises:
        RunFailed: if there is no such output.

    """
    given = [name for name, value in result.items() if value is not None]
    lacking = [name for name in outputs if name not in given]
    if lacking:
        raise RunFailed(f"the model gives no output {lacking[0]!r}, which the task needs; it gives {', '.join(given)}")
    return [result[name] for name in outputs]


def take_part(loaded: Loaded, batches: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> tuple[str, ...]:
    """Names of the weights that were drawn and that the named outputs depend on.

    A weight takes no part if the outputs are the same to the bit with not-a-number in its place: poolers that nobody
    reads, the mask token of image models. All are tried at once, and one by one only if they make a difference.

    Args:
        loaded: the module with what was drawn.
        batches: inputs as arrays.
        outputs: names of the outputs that are used.

    """
    import torch

    def run() -> list[Any]:
        return [value for batch in batches for value in run_once(loaded.model, batch, outputs)]

    weights = dict(loaded.model.named_parameters(remove_duplicate=False)) | dict(loaded.model.named_buffers())
    names = [name for name in loaded.drawn if name in weights and weights[name].is_floating_point()]
    others = tuple(name for name in loaded.drawn if name not in names)
    before = run()

    def matters(chosen: Sequence[str]) -> bool:
        kept = [weights[name].detach().clone() for name in chosen]
        with torch.no_grad():
            for name in chosen:
                weights[name].fill_(math.nan)
            same = all(torch.equal(one, other) for one, other in zip(before, run(), strict=True))
            for name, values in zip(chosen, kept, strict=True):
                weights[name].copy_(values)
        return not same

    if names and matters(names):
        return (*others, *(name for name in names if matters([name])))
    return others


def complex_operator(model: Any, inputs: Mapping[str, Any], outputs: Sequence[str]) -> str | None:
    """The first operator that gives complex numbers, as Fourier transforms do; None if there is none."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    found: list[str] = []

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if any(isinstance(value, torch.Tensor) and value.is_complex() for value in tree_leaves(result)):
                found.append(str(func).removeprefix("aten.").partition(".")[0].strip("_"))
            return result

    with Watch():  # type: ignore[no-untyped-call]
        run_once(model, inputs, outputs)
    return found[0] if found else None


def absent(loaded: Loaded, names: Sequence[str]) -> str:
    """Words for weights that were drawn: the first few by name, with their shapes where these differ."""
    told = [
        f"{name} (the file has {_shape(loaded.mismatched[name][0])}, the model {_shape(loaded.mismatched[name][1])})"
        if name in loaded.mismatched
        else name
        for name in names[:LISTED]
    ]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(told)}{more}"


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _numbers(loaded: Loaded, batches: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> bool:
    """Whether a module gives numbers throughout for inputs without padding."""
    return not any(bool(value.isnan().any()) for batch in batches for value in run_once(loaded.model, batch, outputs))


def count_values(folder: Path, auto_class: str, trust_remote_code: bool) -> int:
    """Numbers that a checkpoint's module holds, tied ones once, without loading any."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model = class_for(auto_class, config).from_config(config, trust_remote_code=trust_remote_code)
    return sum(weight.numel() for weight in model.parameters())


def problems(loaded: Loaded, batches: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> list[str]:
    """Why a loaded checkpoint is not the model that its folder says, in words; nothing where it is.

    Args:
        loaded: the module.
        batches: inputs as arrays, to try it on.
        outputs: names of the outputs that the task uses.

    """
    name = type(loaded.model).__name__
    lacking = f"; its files lack {absent(loaded, loaded.drawn)}" if loaded.drawn else ""
    try:
        names = take_part(loaded, batches, outputs)
    except RunFailed as error:
        return [f"{name} is what its config.json names: {error}{lacking}"]
    except Exception as error:  # whatever code of models raises
        shape = " x ".join(str(size) for size in next(iter(batches[0].values())).shape)
        return [f"{name} cannot be run on an input of {shape}: {first_line(error)}{lacking}"]
    if not names and not _numbers(loaded, batches, outputs):
        return [f"{name} answers NaN, which is no number, on an ordinary input: its weights are broken; save it anew"]
    if not names:
        return []
    return [
        f"its files lack weights of {name}, which would be drawn at random: {absent(loaded, names)}; give the "
        "checkpoint that was saved after fine-tuning, or name in config.json the architecture that it was saved from"
    ]
