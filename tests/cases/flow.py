"""How a run goes: in what batches models are scored, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from datasets import Dataset
from seqeval.metrics import f1_score
from tests.cases.case import DEFAULTS, Answer, case
from tests.support.fitted import save, tiny_config, tiny_tokenizer, write_splits
from tests.support.tiny_tasks import WORDS
from transformers import AutoTokenizer, DistilBertModel

import quantbench as qb
from quantbench import embedded
from quantbench.config.load import load_config
from quantbench.results.store import Store
from quantbench.schema.results import Result

SENTENCES = 100
OUTLIER = "1996"


def run(folder: Path, settings: dict[str, Any]) -> Result:
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump({**DEFAULTS, **settings}), encoding="utf-8")
    qb.run(load_config(file), out=folder / "out")
    (result,) = Store(folder / "out").results()
    assert result.failure is None, result.failure
    return result


def session_of(folder: Path, result: Result) -> onnxruntime.InferenceSession:
    assert result.artifact is not None
    path = folder / "out" / result.artifact.path
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def inputs_of(session: onnxruntime.InferenceSession, encoded: Any) -> dict[str, Any]:
    return {item.name: np.asarray(encoded[item.name], dtype=np.int64) for item in session.get_inputs()}


@case("dynamic int8 of the demo, one sentence at a time", "onnxruntime on the run's file, seqeval")
def sentences_alone(folder: Path) -> Answer:
    settings = {"task": "token-classification", "model_name_or_path": "demo", "dataset": "demo"}
    result = run(folder, {**settings, "max_eval_samples": SENTENCES})
    session, tokenizer = session_of(folder, result), AutoTokenizer.from_pretrained(embedded.MODEL)
    names = yaml.safe_load((Path(embedded.MODEL) / "config.json").read_text())["id2label"]
    split = Dataset.from_parquet(str(embedded.DATA / "test.parquet")).select(range(SENTENCES))
    told = getattr(split.features["ner_tags"], "feature", split.features["ner_tags"])
    said, true = [], []
    for words, tags in zip(split["tokens"], split["ner_tags"], strict=True):
        encoded = tokenizer([words], is_split_into_words=True, return_tensors="np", truncation=True)
        best = session.run(None, inputs_of(session, encoded))[0][0].argmax(-1)
        ids = encoded.word_ids(0)
        said.append([names[str(int(best[ids.index(place)]))] for place in range(len(words))])
        true.append([told.int2str(tag) for tag in tags])
    got = result.scores["optimized"].metrics["f1"]
    return Answer(got, f1_score(true, said), f"F1 {got:.3f} over {SENTENCES}, scored as one sentence at a time")


def _planted(folder: Path) -> tuple[DistilBertModel, Any, list[str]]:
    """A model in which one token makes one input of a product about 128, which no output depends on, and 40 texts."""
    torch.manual_seed(0)
    model, tokenizer = DistilBertModel(tiny_config()).eval(), tiny_tokenizer()
    with torch.no_grad():  # or the products that are quantized hardly change what comes out
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    generator = np.random.default_rng(0)
    words = [word for word in WORDS if word != OUTLIER]
    texts = [" ".join(generator.choice(words, generator.integers(3, 13))) for _ in range(39)]
    texts = [*texts[:20], f"the match {OUTLIER}", *texts[20:]]
    seen: list[torch.Tensor] = []
    product = model.transformer.layer[0].ffn.lin1
    hook = product.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    with torch.inference_mode():
        for text in texts:
            model(**tokenizer(text, return_tensors="pt"))
    hook.remove()
    outlier = seen[20][3]
    direction = outlier / outlier.norm()
    others = torch.cat([*seen[:20], seen[20][:3], *seen[21:]]) @ direction
    scale = 125 / (outlier.norm() - others.max())
    with torch.no_grad():
        product.weight[0], product.bias[0] = scale * direction, 3 - scale * others.max()
        model.transformer.layer[0].ffn.lin2.weight[:, 0] = 0.0
    save(model, tokenizer, folder / "model")
    write_splits(folder / "data", [{"text": text} for text in texts])
    return model, tokenizer, texts


@case(
    "dynamic int8 of embeddings, with one text that stretches the range of its batch", "onnxruntime on the run's file"
)
def embeddings_alone(folder: Path) -> Answer:
    model, tokenizer, texts = _planted(folder)
    dataset = {"path": str(folder / "data"), "data_keys": {"primary": "text"}}
    settings = {"task": "feature-extraction", "model_name_or_path": str(folder / "model"), "dataset": dataset}
    result = run(folder, {**settings, "per_channel": True, "metrics": ["cosine", "lowest_cosine"]})
    session, alone, together = session_of(folder, result), [], []
    whole = tokenizer(texts, padding=True, return_tensors="np")
    states = session.run(None, inputs_of(session, whole))[0]
    for row, text in enumerate(texts):
        with torch.inference_mode():
            one = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        other = session.run(None, inputs_of(session, tokenizer([text], return_tensors="np")))[0][0].mean(0)
        alone.append(_cosine(one, other))
        together.append(_cosine(one, states[row][whole["attention_mask"][row] > 0].mean(0)))
    got = result.scores["optimized"].metrics
    right = {"cosine": float(np.mean(alone)), "lowest_cosine": min(alone)}
    assert right["cosine"] - np.mean(together) > 1e-4, (float(np.mean(alone)), float(np.mean(together)))
    told = f"lowest cosine {got['lowest_cosine']:.5f}, one text at a time; in one batch with all {min(together):.5f}"
    return Answer({name: got[name] for name in right}, right, told, tolerance=1e-5)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
