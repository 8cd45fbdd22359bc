"""The files of the embedded folder other than the cards."""

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, List, Value

from embedded.cards import write_data_card
from embedded.corpora import LABELS, UNER_DEV, UNER_TEST, Sentence, read_uner
from embedded.vocabulary import ENCODER_PACKAGE


def save_model(model: Any, folder: Path) -> None:
    """Write the weights as float16, and the configuration without local paths."""
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_parquet(sentences: list[Sentence], path: Path) -> None:
    """Write sentences with their features in the Parquet schema."""
    features = Features(
        {
            "id": Value("string"),
            "tokens": List(Value("string")),
            "ner_tags": List(ClassLabel(names=LABELS)),
        }
    )
    columns = {
        "id": [sentence.id for sentence in sentences],
        "tokens": [sentence.tokens for sentence in sentences],
        "ner_tags": [[LABELS.index(t) for t in s.tags] for s in sentences],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=features).to_parquet(path)


def package_license(package: str) -> str:
    """Return the licence text that an installed package carries."""
    text = metadata.distribution(package).read_text("licenses/LICENSE")
    if text is None:
        raise SystemExit(f"{package} carries no licence text")
    return text


def write_licenses(corpora: Path, out: Path) -> None:
    """Put the licence text of every source beside what is made from it."""
    folder = out / "licenses"
    folder.mkdir(parents=True, exist_ok=True)
    uner = corpora / "uner-english-ewt/LICENSE.txt"
    shutil.copyfile(uner, out / "data/LICENSE")
    shutil.copyfile(uner, folder / "uner-english-ewt-CC-BY-SA-4.0.txt")
    shutil.copyfile(corpora / "wikigold/LICENSE", folder / "wikigold-CC-BY-4.0.txt")
    twitter = corpora / "broad-twitter/LICENSE"
    shutil.copyfile(twitter, folder / "broad-twitter-CC-BY-4.0.txt")
    apache = package_license("datasets")
    (folder / "all-MiniLM-L6-v2-Apache-2.0.txt").write_text(apache, encoding="utf-8")
    mit = package_license(ENCODER_PACKAGE)
    (folder / f"{ENCODER_PACKAGE}-MIT.txt").write_text(mit, encoding="utf-8")


def write_data(corpora: Path, out: Path) -> None:
    """Write both Parquet files and their description."""
    parts = {"train": UNER_DEV, "test": UNER_TEST}
    counts = {}
    for name, source in parts.items():
        sentences = read_uner(corpora / source)
        write_parquet(sentences, out / f"data/{name}.parquet")
        counts[name] = len(sentences)
    write_data_card(counts, out)
