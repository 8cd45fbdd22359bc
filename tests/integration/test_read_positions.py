"""Models of real architectures that compute only what is read: the same outputs, fewer products."""

from dataclasses import replace

import numpy as np
import pytest
from tests.architectures import rows
from tests.architectures.listed import ARCHITECTURES, EMBEDDING, TEXT, TOKENS
from tests.architectures.made import write
from tests.support import stages

from quantbench.config.plan import run_of
from quantbench.graph.view import Graph
from quantbench.pipeline import positions
from quantbench.pipeline.load import load_model

FAMILIES = (
    *("BERT", "DistilBERT", "RoBERTa", "XLM-R", "ALBERT", "ELECTRA", "MPNet", "DeBERTa-v2", "CamemBERT", "ERNIE"),
    *("ModernBERT", "MegatronBERT", "ViT", "DeiT"),
)
"""Whose classifiers read one position."""


def made(name, tmp_path):
    architecture = next(one for one in ARCHITECTURES if one.name == name)
    if name in FAMILIES and architecture.task in (TOKENS, EMBEDDING):
        architecture = replace(architecture, task=TEXT)
    context = stages.context_at(tmp_path / "cache")
    settings = rows.settings_of(
        write(architecture, tmp_path), rows.default_opset(), quantization_approach="none", positions="read"
    ).base
    return settings, context


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_those_of_the_export(name, tmp_path):
    settings, context = made(name, tmp_path)
    exported = stages.float_model(settings, context)
    found = positions.read_only(exported, load_model(settings.sources, context), context)
    assert found != exported, "nothing is left out"
    before = rows.outputs(stages.exported(settings, context), settings, context)
    _, arm = stages.optimized(run_of(settings), tmp_path / "models", context)
    after = rows.outputs(arm, settings, context)
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()
    kinds = [sum(node.op_type == "MatMul" for node in Graph.read(path.path).nodes) for path in (exported, found)]
    assert kinds[0] == kinds[1], "every product is there"


def test_a_model_of_which_all_is_read_is_its_export(tmp_path):
    settings, context = made("T5 tagger", tmp_path)
    exported = stages.float_model(settings, context)
    assert positions.read_only(exported, load_model(settings.sources, context), context) is exported
