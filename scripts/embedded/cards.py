"""The descriptions of data and model, filled in from the files in ``templates``."""

import json
from pathlib import Path

from embedded.corpora import LABELS, Corpora
from embedded.measurement import Scores
from embedded.recipe import Recipe
from embedded.vocabulary import ENCODER_PACKAGE

TEMPLATES = Path(__file__).parent / "templates"
ENCODER_LAYERS = 6


def template(name: str) -> str:
    """Return the text of a card, with places for ``str.format``."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def write_data_card(counts: dict[str, int], out: Path) -> None:
    """Write the data card with the number of sentences in each file."""
    text = template("data_card.md").format(**counts, labels=", ".join(LABELS))
    (out / "data/README.md").write_text(text, encoding="utf-8")


def write_model_card(scores: Scores, recipe: Recipe, training: Corpora, test: int, out: Path) -> None:
    """Write the model card with the measured scores."""
    config = json.loads((out / "model/config.json").read_text(encoding="utf-8"))
    text = template("model_card.md").format(
        scores=scores,
        recipe=recipe,
        pieces=config["vocab_size"],
        focus=len(training.focus),
        extra=len(training.extra),
        test=test,
        labels=", ".join(LABELS),
        package=ENCODER_PACKAGE,
        fewer_layers="" if recipe.layers == ENCODER_LAYERS else ", fewer layers",
    )
    (out / "model/README.md").write_text(text, encoding="utf-8")
