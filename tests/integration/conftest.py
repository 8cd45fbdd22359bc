"""A tiny model, data and configuration for whole runs that take seconds."""

import pytest
import yaml
from tests.support.tiny_models import CONLL_LABELS, write_conll_parquet, write_tiny_distilbert


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder with ``model/``, ``data/conll2003/`` and a function that writes a configuration of them."""
    root = tmp_path_factory.mktemp("tiny")
    write_tiny_distilbert(root / "model", CONLL_LABELS)
    write_conll_parquet(root / "data", 80)
    return root


def write_tiny_config(tiny, path, **changes):
    """Write a YAML file of the tiny model, changed by keyword (None leaves a parameter out); gives its path."""
    data = {
        "task": "token-classification",
        "model_name_or_path": str(tiny / "model"),
        "dataset": {
            "path": str(tiny / "data" / "conll2003"),
            "eval_split": "validation",
            "calibration_split": "train",
            "data_keys": {"primary": "tokens"},
            "ref_keys": ["ner_tags"],
        },
        "quantization_approach": "static",
        "operators_to_quantize": ["Add", "MatMul"],
        "calibration": {"num_calibration_samples": 10},
        "batch_sizes": [2],
        "input_lengths": [16],
        "time_benchmark_args": {"duration": 0.2, "warmup_runs": 1, "precision": 0.9},
        **changes,
    }
    kept = {key: value for key, value in data.items() if value is not None}
    path.write_text(yaml.safe_dump(kept, sort_keys=False))
    return path


@pytest.fixture
def write_config(tiny, tmp_path):
    """:func:`write_tiny_config` into the test's own folder."""

    def write(name="tiny.yaml", **changes):
        return write_tiny_config(tiny, tmp_path / name, **changes)

    return write
