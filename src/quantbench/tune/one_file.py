"""One file from tokens to the embedding: a model's modules brought into its graph, and held against what was scored.

What other programs look for beside it is laid down by ``readers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.errors import RunFailed
from quantbench.pipeline import predict
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import Loaded, load_rows
from quantbench.plugins import registry
from quantbench.plugins.quantizing import NoEmbedding
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings
from quantbench.served import modules

SHARE = 1e-4
"""Of the largest number of the embeddings, or of 1: ten times what sums in float32 differed by from those in float64 in
the tests, where a random Dense adds 192 numbers; another pooling or weight shows as a hundredth and more."""
BATCHES = 5
"""Batches of the evaluation split that are compared, from the one with the longest text to that with the shortest."""
STATES = 1
"""Place of the states of tokens among the outputs: the script goes on from these in float64, as was scored."""
TEXTS = 50
"""Texts whose tokens are compared, the longest among them."""


@dataclass(frozen=True)
class OneFile:
    """What became of a model's file.

    Attributes:
        path: of the file, relative to the folder.
        files: it and those that belong to it; none where it is as it was scored.
        reason: why its modules stand behind it and not within; empty where they are within.
        prompt: tokens in front of every text that it leaves out.
        width: numbers of the state of a token.
        dimension: numbers of an embedding.

    """

    path: str
    files: tuple[Path, ...]
    reason: str
    prompt: int
    width: int
    dimension: int


def embeds(args: Mapping[str, Any]) -> bool:
    """Whether a task embeds every text alike, from what it is served with; queries and passages have other prompts."""
    return {"steps", "prompt"} <= args.keys()


def write(
    folder: Path, settings: Settings, about: Mapping[str, Any], spec: ArmSpec, loaded: Loaded, context: Context
) -> OneFile:
    """Replace the model in a folder to deploy by one that gives embeddings, where that can be.

    Args:
        folder: with the model and its tokenizer.
        settings: of its run.
        about: what ``serving.json`` is to say.
        spec: the arm that was scored.
        loaded: the model as it was given, and the scored examples.
        context: where the work is done.

    Raises:
        RunFailed: if it gives other embeddings than those that were scored.

    """
    quantizer = registry.quantizer_for(settings.framework, settings.quantization_approach)
    assert quantizer is not None, "rules refuse what cannot be made"
    args, whole = about["args"], registry.runtime(settings.framework).LOADS_FOLDER
    processor: Any = loaded.model.processor
    prompt = processor.leading(args["prompt"]) if modules.leaves_out_prompt(args["steps"]) else 0
    width, dimension = _sizes(spec, settings, loaded, context)
    path, precision = folder / quantizer.FILE, settings.framework_args.precision
    try:
        if precision != "float32" and not whole:
            raise NoEmbedding(f"it is computed in {precision}, in which sums over tokens would not be those scored")
        written = quantizer.write_embedding(path, modules.head(args["steps"], folder), prompt, folder)
    except NoEmbedding as error:
        return OneFile(about["model"], (), str(error), prompt, width, dimension)
    kept = quantizer.files(written)
    for file in quantizer.files(path):
        if file not in kept:
            file.unlink()
    _hold(written, settings, about, spec, loaded, context)
    return OneFile(written.relative_to(folder).as_posix(), kept, "", prompt, width, dimension)


def _sizes(spec: ArmSpec, settings: Settings, loaded: Loaded, context: Context) -> tuple[int, int]:
    """Numbers of a token's state and of an embedding, of the shortest example."""
    examples, processor = loaded.examples, loaded.model.processor
    index = int(np.argmin(examples.costs))
    session = registry.runtime(spec.runtime).load(spec, context.threads)
    outputs = session.predict(processor.collate([examples.inputs[index]]))
    return np.shape(outputs[0])[-1], len(registry.task(settings.task).decode(outputs, 0, examples, index))


def _hold(
    written: Path, settings: Settings, about: Mapping[str, Any], spec: ArmSpec, loaded: Loaded, context: Context
) -> None:
    """Hold that a file gives the embeddings that were scored, in batches as they were scored in."""
    task, runtime = registry.task(settings.task), registry.runtime(settings.framework)
    examples, processor = loaded.examples, loaded.model.processor
    scored = registry.runtime(spec.runtime).load(spec, context.threads)
    made = runtime.SERVED.load(str(written), about["options"], context.threads)
    for group in compared(examples.costs, about["batch_size"]):
        batch = processor.collate([examples.inputs[index] for index in group])
        outputs = scored.predict(batch)
        wanted = np.asarray([task.decode(outputs, row, examples, index) for row, index in enumerate(group)])
        found = np.asarray(made.predict(batch)[0])
        allowed = SHARE * max(1.0, float(np.abs(wanted).max()))
        apart = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
        if not apart <= allowed:
            most = max(examples.costs[index] for index in group)
            raise RunFailed(
                f"the file to deploy gives embeddings that differ from those scored by {apart:.3g} in a batch of "
                f"{len(group)} with at most {most} tokens, where rounding explains {allowed:.1g}: nothing is deployed; "
                "the model that was scored is in the folder of its run"
            )


def compared(costs: Sequence[int], batch_size: int | None) -> list[list[int]]:
    """Batches as they were scored in, from the one with the longest input to the one with the shortest."""
    groups = sorted(predict.groups(costs, batch_size), key=lambda group: -max(costs[index] for index in group))
    places = np.linspace(0, len(groups) - 1, BATCHES).round().astype(int)
    return [groups[place] for place in dict.fromkeys(places.tolist())]


def hold_tokens(folder: Path, settings: Settings, about: Mapping[str, Any], loaded: Loaded, context: Context) -> bool:
    """Hold that the tokenizer in a folder gives the tokens that were scored; whether ``tokenizer.json`` alone will do.

    Raises:
        RunFailed: if it does not.

    """
    from tokenizers import Tokenizer

    scored: Any = loaded.model.processor
    texts = [about["args"]["prompt"] + text for text in _texts(settings, loaded, context)]
    if not texts:
        return True
    wanted = scored.inputs(scored.encode(texts))
    deployed = scored.SERVED.load(folder, about["facts"])
    if deployed.inputs(deployed.encode(texts)) != wanted:
        raise RunFailed(
            "the tokenizer to deploy gives other tokens than those that were scored: nothing is deployed; the model "
            "that was scored is in the folder of its run"
        )
    alone = Tokenizer.from_file(str(folder / "tokenizer.json"))
    padded = alone.padding is not None
    alone.no_padding()
    return padded and [list(item.ids) for item in alone.encode_batch(texts)] == [
        list(item["input_ids"]) for item in wanted
    ]


def _texts(settings: Settings, loaded: Loaded, context: Context) -> list[str]:
    """Texts of the evaluation split from the longest to the shortest; none where no data are read."""
    if not predict.needs_examples(settings):
        return []
    rows = load_rows(settings.sources, "eval", loaded.model, context).data
    columns = set(settings.dataset.data_keys.values())
    found = sorted({text for column in columns for text in rows[column]}, key=lambda text: (-len(text), text))
    places = np.linspace(0, len(found) - 1, TEXTS).round().astype(int)
    return [found[place] for place in dict.fromkeys(places.tolist())]
