"""``README.md`` of an embedding model to deploy: what its file gives, and how programs load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantbench.served.modules import leaves_out_prompt
from quantbench.tune import readers
from quantbench.tune.one_file import OneFile

FILE = "README.md"


def render(folder: Path, about: Mapping[str, Any], file: OneFile, alone: bool) -> str:
    """The whole text as Markdown.

    Args:
        folder: with everything else.
        about: what ``serving.json`` says.
        file: the model's.
        alone: whether ``tokenizer.json`` by itself gives the tokens that were scored.

    """
    within = not file.reason
    onnx = within and file.path.endswith(".onnx")
    parts = [
        f"# An embedding model of {file.dimension} numbers",
        _made(about, file),
        "" if alone else _TOKENS,
        _script(),
        _onnxruntime(about, file) if onnx and alone else "",
        _sentence_transformers(file) if within else _original(file),
        _fastembed(about, file) if onnx and about["facts"]["limit"] else "",  # which wants one
        _inference(folder, about) if onnx else "",
        _javascript(about) if onnx else "",
        _vespa(about, file) if onnx else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_TOKENS = (
    "**`tokenizer.json` by itself splits texts, or pads, otherwise than transformers does with this model**, so that "
    "programs that read this file alone give other embeddings."
)


def _made(about: Mapping[str, Any], file: OneFile) -> str:
    limit, prompt = about["facts"]["limit"], about["args"]["prompt"]
    steps = ", ".join(_step(step) for step in about["args"]["steps"])
    lines = [
        f"An embedding is made of a text's tokens by {steps}."
        + (f" What lies behind {limit} tokens is cut off." if limit else "")
        + (f" Before every text stands the prompt `{prompt}`." if prompt else "")
    ]
    if file.reason:
        told = f"That is not within the model's file: {file.reason}. `served/` does it, and `modules.json` says it."
        return "\n\n".join([*lines, told])
    lines.append(
        f"All but the prompt is within `{file.path}`: its output `sentence_embedding` is the embedding, float32 of "
        f"shape (batch, {file.dimension}); `last_hidden_state` are the states of tokens, for programs that do the rest."
    )
    if leaves_out_prompt(about["args"]["steps"]):
        lines.append(
            f"Its pooling leaves out the prompt: the first {file.prompt} tokens of every text. **With another prompt, "
            "or none, that is wrong** unless the number of its tokens, the special ones before it counted, is given as "
            "the input `prompt_length`, int64 of shape (), which ONNX Runtime takes."
        )
    return "\n\n".join(lines)


def _step(step: Mapping[str, Any]) -> str:
    if step["kind"] == "Pooling":
        return f"pooling ({' and '.join(step['modes'])})"
    return "normalization to length 1" if step["kind"] == "Normalize" else str(step["kind"])


def _script() -> str:
    return '## The script\n\n    python infer.py "a text"        # needs NumPy, transformers and the runtime'


def _onnxruntime(about: Mapping[str, Any], file: OneFile) -> str:
    given = f"{about['args']['prompt']!r} + text" if about["args"]["prompt"] else "text"
    return f"""## ONNX Runtime and tokenizers alone

    import numpy, onnxruntime, tokenizers

    session = onnxruntime.InferenceSession("{file.path}")
    tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
    batch = tokenizer.encode_batch([{given} for text in texts])
    values = {{"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}}
    inputs = {{
        item.name: numpy.array([getattr(row, values[item.name]) for row in batch]) for item in session.get_inputs()
    }}
    (embeddings,) = session.run(["sentence_embedding"], inputs)"""


def _sentence_transformers(file: OneFile) -> str:
    backend = "onnx" if file.path.endswith(".onnx") else "openvino"
    return f"""## sentence-transformers

    SentenceTransformer(folder, backend="{backend}").encode(texts)

It needs optimum for that, and pools by itself."""


def _original(file: OneFile) -> str:
    if file.path != ".":
        return ""
    return "## sentence-transformers\n\n    SentenceTransformer(folder).encode(texts)"


def _fastembed(about: Mapping[str, Any], file: OneFile) -> str:
    return f"""## fastembed

    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="mine", dim={file.dimension}, model_file="{file.path}", sources=ModelSource(hf="mine"),
        pooling=PoolingType.DISABLED, normalization=False,
    )
    TextEmbedding("mine", specific_model_path=folder).embed(texts)

Pooling is disabled because it is done.{_by_hand(about)}"""


def _inference(folder: Path, about: Mapping[str, Any]) -> str:
    name = readers.default_prompt(folder)
    options = f" --default-prompt-name {name}" if name is not None and about["args"]["prompt"] else ""
    ignored = ""
    if not readers.one_switch(folder):
        options += " --pooling mean"
        ignored = " It wants the name of a pooling that it knows, and takes `sentence_embedding` all the same."
    return f"""## text-embeddings-inference

    text-embeddings-router --model-id FOLDER --dtype float32{options}

in a build with ONNX Runtime (the feature `ort`), as its images for CPUs are.{ignored} It brings embeddings
to length 1 unless a request says `"normalize": false`."""


def _javascript(about: Mapping[str, Any]) -> str:
    return f"""## transformers.js

    const tokenizer = await AutoTokenizer.from_pretrained(folder);
    const model = await AutoModel.from_pretrained(folder, {{ dtype: "fp32" }});
    const {{ sentence_embedding }} = await model(await tokenizer(texts, {{ padding: true, truncation: true }}));

`dtype: "fp32"` stands for the file's name, `onnx/model.onnx`, whatever numbers are in it. The pipeline
`feature-extraction` pools states of tokens by itself.{_by_hand(about)}"""


def _vespa(about: Mapping[str, Any], file: OneFile) -> str:
    prompt = str(about["args"]["prompt"])
    told = ""
    if prompt.endswith(" "):
        told = f"\n        <prepend><query>{prompt[:-1]}</query></prepend>"
    elif prompt:
        told = "\n        <!-- Vespa puts a blank behind what it prepends, which this model's prompt has not -->"
    limit = about["facts"]["limit"] or 512
    return f"""## Vespa

    <component id="mine" type="hugging-face-embedder">
        <transformer-model path="{file.path}"/>
        <tokenizer-model path="tokenizer.json"/>
        <transformer-output>sentence_embedding</transformer-output>
        <pooling-strategy>none</pooling-strategy>
        <max-tokens>{limit}</max-tokens>{told}
    </component>

A field of the type `tensor<float>(x[{file.dimension}])` takes it."""


def _by_hand(about: Mapping[str, Any]) -> str:
    prompt = about["args"]["prompt"]
    return f" The prompt `{prompt}` is to be put before every text." if prompt else ""
