r"""Answers of the question-answering pipeline of transformers 4.57, the last version that had it, as JSON.

They are what the tests hold this project's answers against. Once, beside the installed libraries::

    pip install --target OLD --no-deps 'transformers==4.57.6' 'huggingface_hub==0.36.2' 'tokenizers==0.22.2'
    python -m tests.support.tiny_tasks FOLDER
    PYTHONPATH=OLD python scripts/pipeline_answers.py FOLDER/model FOLDER/data/validation.parquet \
        tests/golden/answers.json --max-seq-len 64 --doc-stride 16
"""

import argparse
import json
from pathlib import Path

import pyarrow.parquet as pq
import transformers


def main() -> None:
    """Answer every question of a Parquet file, one at a time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--max-seq-len", type=int, default=384)
    parser.add_argument("--doc-stride", type=int, default=128)
    parser.add_argument("--handle-impossible", action="store_true")
    arguments = parser.parse_args()
    if not transformers.__version__.startswith("4."):
        parser.error(f"transformers {transformers.__version__} has no question-answering pipeline")
    answer = transformers.pipeline("question-answering", str(arguments.model))
    names = ("max_seq_len", "doc_stride")
    options = {name: getattr(arguments, name) for name in names}
    if arguments.handle_impossible:
        options["handle_impossible_answer"] = True
    rows = pq.read_table(arguments.questions).to_pylist()
    answers = [answer(question=row["question"], context=row["context"], **options)["answer"] for row in rows]
    made = {"transformers": transformers.__version__, "options": options, "answers": answers}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
