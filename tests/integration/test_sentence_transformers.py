"""Folders of sentence-transformers: embeddings are those of ``SentenceTransformer.encode``, whatever modules there are.

The reference is sentence-transformers itself, on the same folder. Models are random, of a fixed seed.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support import stages
from tests.support.sentence_combinations import (
    COMBINATIONS,
    PROMPTED,
    WIDTH,
    Combination,
    behind,
    dense,
    pooled,
    short,
    write,
)

from quantbench.config.load import build_config
from quantbench.errors import BadInput
from quantbench.served import feature_extraction
from quantbench.served.tokens import Facts


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return stages.context_at(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_embeddings_are_those_of_sentence_transformers(context, tmp_path, name, record_property):
    from sentence_transformers import SentenceTransformer

    asked = COMBINATIONS[name]
    data, given = write(tmp_path, asked)
    settings = build_config(data, {}, "test.yaml").base
    found = np.asarray(stages.predictions(stages.original(settings, context), settings, context).rows)
    right = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(given, batch_size=7, **asked.encode)
    assert found.shape == right.shape
    record_property("difference", float(np.abs(found - right).max()))
    np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-5)
    assert (len({tuple(row) for row in right.round(4)}) > 1) == asked.varies


def refused(data, context):
    """What a run of these settings is refused with."""
    with pytest.raises(BadInput) as error:
        stages.examples(build_config(data, {}, "test.yaml").base, context)
    return str(error.value)


def without(place):
    return lambda folder: (folder / place).unlink()


def pickled(folder):
    torch.save({}, folder / "2_Dense" / "pytorch_model.bin")


def truncated(folder):
    file = folder / "2_Dense" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


WITH_DENSE = dense("2_Dense", WIDTH, 16)
REFUSED = {
    "a module that is not known": (behind("WeightedLayerPooling"), "names the module WeightedLayerPooling"),
    "a module of somebody's own": (
        Combination(files={"modules.json": [{"type": "my.code.Head"}]}),
        "names the module my.code.Head",
    ),
    "no pooling": (
        Combination(files={"modules.json": [{"type": "sentence_transformers.models.Transformer", "path": ""}]}),
        "lists no Pooling",
    ),
    "a Dense before any pooling": (
        Combination(
            files={
                "modules.json": [
                    {"type": f"sentence_transformers.models.{kind}", "path": path}
                    for kind, path in (("Transformer", ""), ("Dense", "2_Dense"), ("Pooling", "1_Pooling"))
                ]
            },
            write=(WITH_DENSE,),
        ),
        "has a Dense that reads sentence_embedding",
    ),
    "a pooling that is not known": (Combination(pooled=pooled("median")), "pools by median"),
    "an activation that is not known": (
        behind("Dense", write=(dense("2_Dense", WIDTH, 16, activation_function="my.code.Swish"),)),
        "has the activation my.code.Swish",
    ),
    "no weights": (behind("Dense", write=(WITH_DENSE, without("2_Dense/model.safetensors"))), "is not there"),
    "pickled weights": (
        behind("Dense", write=(WITH_DENSE, without("2_Dense/model.safetensors"), pickled)),
        "2_Dense/pytorch_model.bin",
    ),
    "weights of another shape": (
        behind("Dense", write=(WITH_DENSE, lambda f: (f / "2_Dense" / "config.json").write_text('{"in_features": 7}'))),
        "has linear.weight of shape [16, 32]",
    ),
    "damaged weights": (behind("Dense", write=(WITH_DENSE, truncated)), "or damaged; fetch it again"),
    "a name that is no prompt": (
        Combination(files=PROMPTED, asked={"prompt": "qurey"}),
        "has the prompts query, passage",
    ),
    "a name where there are no prompts": (Combination(asked={"prompt": "passage"}), "has no prompts"),
    "another pooling than the folder's": (
        Combination(pooled=pooled("mean", "max"), asked={"pooling": "mean"}),
        "says mean and max",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_done_is_refused_by_its_name(context, tmp_path, name):
    asked, says = REFUSED[name]
    assert says in refused(write(tmp_path, asked)[0], context)


class Words:
    """A tokenizer without special tokens, of texts of at most three words."""

    facts = Facts(limit=3, padding_id=0)
    folder = Path()

    def encode(self, given):
        return [text.split()[:3] for text in given]

    def inputs(self, encoded):
        return [{"input_ids": words} for words in encoded]

    def leading(self, prompt):
        return len(prompt.split())


def test_a_prompt_that_leaves_nothing_of_a_text_is_refused():
    step = {"kind": "Pooling", "reads": "token_embeddings", "writes": "sentence_embedding", "modes": ["mean"]}
    args = {"steps": [{**step, "include_prompt": False}], "prompt": "the rain: "}
    rows = [{"primary": "a b"}, {"primary": "a", "secondary": ""}]
    with pytest.raises(ValueError, match="row 2 has no token behind the 2 of the prompt"):
        feature_extraction.encode(rows, Words(), args)
    found = feature_extraction.encode(rows, Words(), {**args, "steps": [{**step, "include_prompt": True}]})
    assert (found.costs, found.prompt) == ([3, 3, 2], 0)


def test_the_note_says_what_was_declared(context, tmp_path):
    asked = Combination(
        (("2_Dense", "Dense"),),
        pooled("cls", "mean", include_prompt=False),
        {**short(9), **PROMPTED},
        (dense("2_Dense", 2 * WIDTH, 16),),
        {"prompt": "passage"},
    )
    data, _ = write(tmp_path, asked)
    examples = stages.examples(build_config(data, {}, "test.yaml").base, context)
    assert (
        "Embeddings are made as modules.json of the model says: pooling cls and mean without the prompt, Dense from "
        "64 to 16 with Tanh, not normalized, texts of at most 9 tokens, before every text the prompt 'bank bank team '"
    ) in examples.notes
