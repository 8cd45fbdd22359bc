"""Folders of sentence-transformers: embeddings are those of ``SentenceTransformer.encode``, whatever modules there are.

The reference is sentence-transformers itself, on the same folder. Models are random, of a fixed seed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from datasets import Dataset
from tests.support import stages
from tests.support.deployed import deployed
from tests.support.sentence_models import texts, write_dense, write_layer_norm, write_sentence_model

from quantbench.config.load import build_config
from quantbench.errors import BadInput
from quantbench.graph.embedding import with_embedding
from quantbench.served import command, feature_extraction
from quantbench.served.tokens import Facts

WIDTH = 32
ALL = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
NORMALIZE = ("9_Normalize", "Normalize")
PROMPTS = {"prompts": {"query": "the rain : ", "passage": "bank bank team "}, "default_prompt_name": "query"}
PROMPTED = {"config_sentence_transformers.json": PROMPTS}
TORCH = "torch.nn.modules."


def short(words):
    return {"sentence_bert_config.json": {"max_seq_length": words}}


def dense(place, *sizes, **config):
    return lambda folder: write_dense(folder / place, *sizes, **config)


def norm(place, size):
    return lambda folder: write_layer_norm(folder / place, size)


@dataclass(frozen=True)
class Combination:
    """What a folder has, what is asked of us, and how sentence-transformers is asked for the same.

    Attributes:
        modules: folder and kind of those behind the pooling.
        pooled: settings of the pooling.
        files: further JSON files.
        write: what makes the folders of modules with weights.
        asked: our ``task_args``.
        encode: arguments of ``encode``.
        words: least and most in a text.
        change: of texts.
        varies: whether texts have different embeddings.

    """

    modules: tuple[tuple[str, str], ...] = (NORMALIZE,)
    pooled: Any = field(default_factory=dict)
    files: Any = field(default_factory=dict)
    write: tuple[Callable[[Path], Any], ...] = ()
    asked: Any = field(default_factory=dict)
    encode: Any = field(default_factory=dict)
    words: tuple[int, int] = (1, 30)
    change: Callable[[str], str] = str
    varies: bool = True


def pooled(*modes, **further):
    return {"pooling_mode": modes[0] if len(modes) == 1 else list(modes), **further}


def behind(*kinds, **further):
    """Modules numbered from 2."""
    return Combination(modules=tuple((f"{n}_{kind}", kind) for n, kind in enumerate(kinds, start=2)), **further)


COMBINATIONS = {
    **{mode: Combination((), pooled(mode)) for mode in ALL},
    **{f"{mode} without the prompt": Combination((), pooled(mode, include_prompt=False), PROMPTED) for mode in ALL},
    "all poolings in another order": Combination((), pooled(*ALL[::-1])),
    "switches of former versions": Combination(
        pooled={"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    ),
    "all poolings without the prompt": Combination(pooled=pooled(*ALL, include_prompt=False), files=PROMPTED),
    "normalized": Combination(),
    "Dense": behind("Dense", "Normalize", write=(dense("2_Dense", WIDTH, 16),)),
    "Dense alone, without bias": behind(
        "Dense", write=(dense("2_Dense", WIDTH, 48, bias=False, activation_function=f"{TORCH}linear.Identity"),)
    ),
    "several Dense, residual": behind(
        *("Dense", "Dense", "Dense", "Normalize"),
        write=(
            dense("2_Dense", WIDTH, WIDTH, use_residual=True, activation_function=f"{TORCH}activation.ReLU"),
            dense("3_Dense", WIDTH, 24, seed=2, use_residual=True, activation_function=f"{TORCH}activation.GELU"),
            dense("4_Dense", 24, 8, seed=3),
        ),
    ),
    "normalized before a Dense": behind("Normalize", "Dense", write=(dense("3_Dense", WIDTH, 16),)),
    "concatenation into a Dense": behind(
        "Dense", pooled=pooled("mean", "max"), write=(dense("2_Dense", 2 * WIDTH, 16),), files=PROMPTED
    ),
    "a Dense of tokens and one of texts": Combination(
        (("2_Dense", "Dense"), ("3_Pooling", "Pooling"), ("4_Dense", "Dense"), NORMALIZE),
        write=(
            dense("2_Dense", WIDTH, 16, module_input_name="token_embeddings"),
            dense("4_Dense", 16, 12, module_output_name="sentence_embedding"),
        ),
        files={"3_Pooling/config.json": {"embedding_dimension": 16, "pooling_mode": "weightedmean"}},
    ),
    "LayerNorm and Dropout": behind("LayerNorm", "Dropout", write=(norm("2_LayerNorm", WIDTH),)),
    "bfloat16 in a Dense": behind("Dense", write=(dense("2_Dense", WIDTH, 16, kind=torch.bfloat16),)),
    "float16 in a Dense": behind("Dense", write=(dense("2_Dense", WIDTH, 16, kind=torch.float16),)),
    **{
        f"activation {name}": behind(
            "Dense", write=(dense("2_Dense", WIDTH, 16, activation_function=f"{TORCH}activation.{name}"),)
        )
        for name in ("Tanh", "ReLU", "Sigmoid", "GELU", "SiLU", "ELU", "LeakyReLU")
    },
    "short texts": Combination(files=short(9)),
    "short texts with a prompt that is left out": Combination(
        pooled=pooled("mean", "cls", include_prompt=False), files={**short(7), **PROMPTED}
    ),
    "a prompt as long as the limit": Combination(
        pooled=pooled("mean", include_prompt=False), files={**short(4), **PROMPTED}, varies=False
    ),
    "in lower case": Combination(
        files={"sentence_bert_config.json": {"do_lower_case": True}}, change=lambda text: f"[SEP] {text.upper()} ΑΣ"
    ),
    "default prompt": Combination(files=PROMPTED),
    "prompt by name": Combination(
        files=PROMPTED, asked={"prompt": "passage"}, encode={"prompt_name": "passage"}, words=(1, 4)
    ),
    "prompt as text": Combination(
        files=PROMPTED, asked={"prompt": "the team: "}, encode={"prompt": "the team: "}, words=(1, 4)
    ),
    "no prompt instead of the default": Combination(
        pooled=pooled("mean", include_prompt=False), files=PROMPTED, asked={"prompt": ""}, encode={"prompt": ""}
    ),
    "a prompt that every model has": Combination(
        files=PROMPTED, asked={"prompt": "document"}, encode={"prompt_name": "document"}
    ),
}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return stages.context_at(tmp_path_factory.mktemp("cache"))


def write(root, asked):
    """The folder of the combination, data and our settings."""
    files = dict(asked.files)
    if "pooling_mode" in asked.pooled:
        files["1_Pooling/config.json"] = {"embedding_dimension": WIDTH, **asked.pooled}
    model = write_sentence_model(root / "model", modules=asked.modules, files=files, **asked.pooled)
    for make in asked.write:
        make(model)
    given = [asked.change(text) for text in texts(asked.words)]
    (root / "data").mkdir()
    for split in ("train", "validation"):
        Dataset.from_dict({"text": given}).to_parquet(root / "data" / f"{split}.parquet")
    dataset = {"path": str(root / "data"), "data_keys": {"primary": "text"}, "ref_keys": []}
    settings = {"task": "feature-extraction", "model_name_or_path": str(model), "dataset": dataset}
    return {**settings, "task_args": asked.asked}, given


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


@pytest.mark.parametrize(
    "name", ["several Dense, residual", "all poolings without the prompt", "a Dense of tokens and one of texts"]
)
def test_one_file_gives_the_embeddings_of_sentence_transformers(tmp_path, name):
    """The deployed graph with the modules behind it, on a batch of texts of all lengths."""
    from onnxruntime import InferenceSession
    from sentence_transformers import SentenceTransformer

    data, given = write(tmp_path, COMBINATIONS[name])
    folder, *_ = deployed(tmp_path, {**data, "quantization_approach": "none", "batch_sizes": []})
    about, processor = command.read(folder).about, command.read(folder).processor()
    encoded = feature_extraction.encode([{"primary": text} for text in given], processor, about["args"])
    model = onnx.load(folder / about["model"])
    whole = with_embedding(model, encoded.head.steps, encoded.head.weights, encoded.prompt)
    session = InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = processor.collate(encoded.inputs)
    (found,) = session.run(["sentence_embedding"], {item.name: batch[item.name] for item in session.get_inputs()})
    right = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(given)
    np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-5)
