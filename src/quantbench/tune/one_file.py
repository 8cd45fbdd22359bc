"""One file from tokens to the embedding: a model's modules brought into its graph, and held against what was scored.

What other programs look for beside it is laid down by ``readers``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.errors import RunFailed
from quantbench.graph.embedding import PROMPT
from quantbench.pipeline import predict
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import Loaded, load_rows
from quantbench.plugins import registry
from quantbench.plugins.quantizing import NoEmbedding
from quantbench.schema.results import ArmSpec
from quantbench.schema.settings import Settings
from quantbench.served import modules
from quantbench.served.feature_extraction import TEXT, prompts
from quantbench.sources import judgments

SHARE = 1e-4
"""Of the largest number of the embeddings, or of 1: ten times what sums in float32 differed by from those in float64 in
the tests, where a random Dense adds 192 numbers; another pooling or weight shows as a hundredth and more."""
BATCHES = 5
"""Batches of the evaluation split that are compared for each kind of text, from the longest text to the shortest."""
STATES = 1
"""Place of the states of tokens among the outputs: the script goes on from these in float64, as was scored."""
TEXTS = 50
"""Texts of each kind whose tokens are compared, the longest among them."""
QUERY, PASSAGE = "query", "passage"
"""Kinds of texts, where a search was scored."""


@dataclass(frozen=True)
class OneFile:
    """What became of a model's file.

    Attributes:
        path: of the file, relative to the folder.
        files: it and those that belong to it; none where it is as it was scored.
        reason: why its modules stand behind it and not within; empty where they are within.
        lengths: tokens of the prompts in front of texts that it leaves out, by the kind of text; 0 where it has all.
        width: numbers of the state of a token.
        dimension: numbers of an embedding.

    """

    path: str
    files: tuple[Path, ...]
    reason: str
    lengths: Mapping[str, int]
    width: int
    dimension: int


def embeds(args: Mapping[str, Any]) -> bool:
    """Whether a task embeds texts each by itself, from what it is served with."""
    return "steps" in args


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
    lengths = _lengths(args, loaded.model.processor)
    width, dimension = _sizes(spec, settings, loaded, context)
    path, precision = folder / quantizer.FILE, settings.framework_args.precision
    written = None
    try:
        if precision != "float32" and not whole:
            raise NoEmbedding(f"it is computed in {precision}, in which sums over tokens would not be those scored")
        head = modules.head(args["steps"], folder)
        written = quantizer.write_embedding(path, head, unasked(lengths), folder)
        _hold(written, settings, about, spec, loaded, context)
    except NoEmbedding as error:
        if written is not None:
            _remove(folder, quantizer.files(written))
        return OneFile(about["model"], (), str(error), lengths, width, dimension)
    kept = quantizer.files(written)
    _remove(folder, [file for file in quantizer.files(path) if file not in kept])
    return OneFile(written.relative_to(folder).as_posix(), kept, "", lengths, width, dimension)


def _remove(folder: Path, files: Sequence[Path]) -> None:
    """Remove files, and what folder below the deployed one they leave empty."""
    for file in files:
        file.unlink()
        if file.parent != folder and not any(file.parent.iterdir()):
            file.parent.rmdir()


def unasked(lengths: Mapping[str, int]) -> int:
    """The length of the prompt that a file leaves out where nobody says another: that of passages, which are many."""
    return lengths[PASSAGE if PASSAGE in lengths else TEXT]


def _lengths(args: Mapping[str, Any], processor: Any) -> dict[str, int]:
    left_out = modules.leaves_out_prompt(args["steps"])
    return {kind: processor.leading(text) if left_out else 0 for kind, text in prompts(args).items()}


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
    """Hold that a file gives the embeddings that were scored, of every kind of text, in the batches of then.

    Raises:
        NoEmbedding: if texts of two kinds leave out prompts of two lengths, and the runtime cannot be told which.

    """
    task, runtime = registry.task(settings.task), registry.runtime(settings.framework)
    examples, processor = loaded.examples, loaded.model.processor
    scored = registry.runtime(spec.runtime).load(spec, context.threads)
    made = runtime.SERVED.load(str(written), about["options"], context.threads)
    lengths = _lengths(about["args"], processor)
    kinds = [QUERY if index < getattr(examples, "queries", 0) else PASSAGE for index in range(len(examples.costs))]
    for group in compared(examples.costs, about["batch_size"], kinds):
        batch = processor.collate([examples.inputs[index] for index in group])
        outputs = scored.predict(batch)
        wanted = np.asarray([task.decode(outputs, row, examples, index) for row, index in enumerate(group)])
        found = _embedded(made, batch, [lengths.get(kinds[index], unasked(lengths)) for index in group], lengths)
        allowed = SHARE * max(1.0, float(np.abs(wanted).max()))
        apart = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
        if not apart <= allowed:
            most = max(examples.costs[index] for index in group)
            raise RunFailed(
                f"the file to deploy gives embeddings that differ from those scored by {apart:.3g} in a batch of "
                f"{len(group)} with at most {most} tokens, where rounding explains {allowed:.1g}: nothing is deployed; "
                "the model that was scored is in the folder of its run"
            )


def _embedded(
    session: Any, batch: Mapping[str, Any], own: Sequence[int], lengths: Mapping[str, int]
) -> np.ndarray[Any, Any]:
    """The embeddings of a batch, each text with the length of its ``own`` prompt, which is one of ``lengths``.

    Raises:
        NoEmbedding: if the length makes no difference to any text, where it must.

    """
    known = dict.fromkeys(lengths.values())
    found = {length: np.asarray(session.predict({**batch, PROMPT: np.asarray(length)})[0]) for length in known}
    first, *others = found.values()
    if others and all(np.array_equal(first, other) for other in others):
        told = " and ".join(f"{length} in front of a {kind}" for kind, length in lengths.items())
        message = f"its pooling leaves out the tokens of the prompt ({told}), and its runtime cannot be told how many"
        raise NoEmbedding(message)
    return np.stack([found[length][row] for row, length in enumerate(own)])


def compared(costs: Sequence[int], batch_size: int | None, kinds: Sequence[str]) -> list[list[int]]:
    """Batches as they were scored in with each kind of input, from the longest input to the shortest."""
    groups = sorted(predict.groups(costs, batch_size), key=lambda group: -max(costs[index] for index in group))
    found: dict[int, list[int]] = {}
    for kind in dict.fromkeys(kinds):
        those = [place for place, group in enumerate(groups) if kind in {kinds[index] for index in group}]
        found |= {those[at]: groups[those[at]] for at in np.linspace(0, len(those) - 1, BATCHES).round().astype(int)}
    return list(found.values())


def hold_tokens(folder: Path, settings: Settings, about: Mapping[str, Any], loaded: Loaded, context: Context) -> bool:
    """Hold that the tokenizer in a folder gives the tokens that were scored; whether ``tokenizer.json`` alone will do.

    Raises:
        RunFailed: if it does not.

    """
    from tokenizers import Tokenizer

    scored: Any = loaded.model.processor
    texts = list(_texts(settings, about, loaded, context))
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


def _texts(settings: Settings, about: Mapping[str, Any], loaded: Loaded, context: Context) -> Iterator[str]:
    """Texts of the evaluation split with their prompts, of each kind from the longest to the shortest.

    There are none where no data are read.
    """
    if not predict.needs_examples(settings):
        return
    rows = load_rows(settings.sources, "eval", loaded.model, context).data
    before = prompts(about["args"])
    for kind, prompt in before.items():
        of_kind = [key for key in settings.dataset.data_keys if len(before) == 1 or (key == QUERY) == (kind == QUERY)]
        columns = {settings.dataset.data_keys[key] for key in of_kind if key != judgments.QUERY_ID}
        cells = (passage.text for column in columns for cell in rows[column] for passage in judgments.passages(cell))
        found = sorted({text for text in cells if text is not None}, key=lambda text: (-len(text), text))
        places: list[int] = np.linspace(0, len(found) - 1, TEXTS).round().astype(int).tolist() if found else []
        yield from (prompt + found[place] for place in dict.fromkeys(places))
