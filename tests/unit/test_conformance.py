"""What every plug-in must provide, over all files of the six folders."""

import ast
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest
from tests.support.example_results import reference_config, reference_results

import quantbench
import quantbench as qb
from quantbench.api.conformance import plugin_faults
from quantbench.plugins import protocols, registry
from quantbench.tasks import _agreement, _label_metrics, feature_extraction, question_answering, token_classification

ALL = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]
LOADERS = {
    "tasks": registry.task,
    "runtimes": registry.runtime,
    "quantizers": registry.quantizer,
    "exclusions": registry.exclusion,
    "launchers": registry.launcher,
    "reports": registry.report,
}
PROTOCOLS = {
    "tasks": protocols.Task,
    "runtimes": protocols.Runtime,
    "quantizers": protocols.Quantizer,
    "exclusions": protocols.Exclusion,
    "launchers": protocols.Launcher,
    "reports": protocols.Report,
}
NAMING_RUNTIMES = {
    "cli.py",
    "cli_options.py",
    "schema/settings.py",
    "api/diagnosing.py",
    "api/drawn.py",
    "api/timing.py",
    "api/tuning.py",
    "diagnose/faults.py",
}
"""Examples in help texts, defaults and values of settings, the session that ``why`` looks into, and files for ``time``."""
HEAVY = ("torch", "transformers", "datasets", "onnxruntime", "openvino", "nncf", "huggingface_hub")


def test_the_folders_hold_what_the_design_names():
    four = {"token-classification", "text-classification", "question-answering", "image-classification"}
    assert four <= set(registry.names("tasks"))
    assert {"pytorch", "onnxruntime", "openvino"} <= set(registry.names("runtimes"))
    assert set(registry.names("exclusions")) == {"layernorm", "gelu", "residual", "gather", "softmax"}
    assert {"mixed", "nncf", "checkpoint", "none"} <= set(registry.names("quantizers"))
    assert "local" in registry.names("launchers")
    assert {"card", "summary", "table"} <= set(registry.names("reports"))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_plugin_has_every_member_of_its_protocol_and_says_in_one_line_what_it_is(kind, name):
    assert list(plugin_faults(LOADERS[kind](name), PROTOCOLS[kind])) == []


def _imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize(
    "path", sorted((Path(quantbench.__file__).parent / "served").glob("*.py")), ids=lambda path: path.stem
)
def test_a_file_to_deploy_stands_alone(path):
    allowed = {
        *sys.stdlib_module_names,
        "numpy",
        "transformers",
        "tokenizers",
        "PIL",
        "torch",
        "onnxruntime",
        "openvino",
    }
    for name in _imported(ast.parse(path.read_text())):
        known = name.split(".")[0] in allowed or (path.stem, name) == ("infer", "served.command")
        assert known or (name.startswith(".") and not name.startswith("..")), f"{path.name} imports {name}"


@pytest.mark.parametrize("name", registry.names("reports"))
def test_a_report_is_pure(name):
    config = reference_config()
    results = reference_results(config)
    report = registry.report(name)
    assert report.render(config, results, ()) == report.render(config, results, ())
    assert report.render(config, [], ())


@pytest.mark.parametrize("name", registry.names("runtimes"))
def test_a_runtime_has_a_quantizer_for_every_approach(name):
    runtime = registry.runtime(name)
    assert set(runtime.QUANTIZERS) == set(runtime.OPERATORS)
    assert set(runtime.QUANTIZERS.values()) <= set(registry.names("quantizers"))
    assert runtime.FLOAT_RUNTIME in registry.names("runtimes")
    assert registry.float_runtime(runtime.FLOAT_RUNTIME) == runtime.FLOAT_RUNTIME


def test_only_files_of_runtimes_and_quantizers_name_a_runtime():
    package = Path(quantbench.__file__).parent
    own = {"runtimes", "quantizers", "served", "quantize"}
    named = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] not in own
        and re.search(r"\b(onnxruntime|openvino|nncf)\b", path.read_text())
    }
    assert named <= NAMING_RUNTIMES


def test_listing_imports_no_plugin():
    code = (
        "import sys; from quantbench.plugins import registry; [registry.names(k) for k in registry.KINDS];"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_operators_that_can_be_quantized_are_those_of_the_installed_onnxruntime():
    from onnxruntime.quantization.registry import CommonOpsRegistry, IntegerOpsRegistry, QDQRegistry, QLinearOpsRegistry

    known = registry.runtime("onnxruntime").OPERATORS
    assert set(known["static"]) == set(QLinearOpsRegistry) | set(QDQRegistry)
    assert set(known["dynamic"]) == set(IntegerOpsRegistry) | set(CommonOpsRegistry)


def _modules():
    return sorted(Path(quantbench.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", _modules(), ids=lambda path: path.stem)
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 < 50, f"{path.name}:{node.lineno} {node.name}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: path.stem)
def test_public_docstrings_say_more_than_a_word(path):
    tree = ast.parse(path.read_text())
    for node in [tree, *ast.walk(tree)]:
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if isinstance(node, ast.Module) or not node.name.startswith("_"):
            text = ast.get_docstring(node)
            assert text is None or len(text.split()) > 1, f"{path.name}: {text}"


def _labels(generator):
    return generator.integers(0, 4, (40, 2))


OUTCOMES = {
    "token-classification": [
        (token_classification.COLUMNS, lambda g: np.sort(g.integers(0, 9, (40, 5)))),
        (token_classification.AGREED, lambda g: np.sort(g.integers(0, 9, (40, 5)))),
    ],
    "text-classification": [
        (_label_metrics.SINGLE, _labels),
        (_label_metrics.NUMBERS, lambda g: g.normal(size=(40, 2)).round(1)),
        (tuple("abcdef"), lambda g: g.integers(0, 2, (40, 6))),
        (_agreement.LABELS, lambda g: g.random((40, 2))),
        (_agreement.NUMBERS, lambda g: g.normal(size=(40, 3)).round(1)),
    ],
    "image-classification": [
        ((*_label_metrics.SINGLE, "top"), lambda g: np.c_[_labels(g), g.integers(0, 2, 40)]),
        ((_agreement.AGREEMENT,), lambda g: g.integers(0, 2, (40, 1))),
    ],
    "question-answering": [
        (question_answering.COLUMNS, lambda g: g.integers(0, 2, (40, 3))),
        (question_answering.AGREED, lambda g: g.random((40, 2))),
    ],
    "feature-extraction": [
        (feature_extraction.COLUMNS, lambda g: g.random((40, 2))),
        (("cosine",), lambda g: g.random((40, 1))),  # of earlier versions
        (feature_extraction.PAIR_COLUMNS, lambda g: g.random((40, 3))),
    ],
    "retrieval": [(("ndcg_at_10", "mrr_at_10", "recall_at_10", "kept_at_10", "cosine"), lambda g: g.random((40, 5)))],
    "reranking": [(("ndcg_at_10", "mrr_at_10", "recall_at_10", "map"), lambda g: g.random((40, 4)))],
}
"""Columns of each task and outcomes that fit them."""


def test_every_task_of_the_folder_has_outcomes_to_be_tried_on():
    folder = Path(quantbench.__file__).parent / "tasks"
    assert set(OUTCOMES) == {path.stem.replace("_", "-") for path in folder.glob("[!_]*.py")}


@pytest.mark.parametrize("name", registry.names("tasks"))
def test_a_task_conforms(name):
    generator = np.random.default_rng(0)
    qb.check_task(name, outcomes=[(columns, made(generator)) for columns, made in OUTCOMES.get(name, ())])


@pytest.mark.parametrize("name", registry.names("runtimes"))
def test_a_runtime_conforms(name):
    qb.check_runtime(name)


@pytest.mark.parametrize("name", registry.names("quantizers"))
def test_a_quantizer_conforms(name):
    qb.check_quantizer(name)


def changed(plugin, **members):
    """A plug-in with other members; None leaves one out."""
    named = {name: value for name, value in {**vars(plugin), **members}.items() if value is not None}
    return types.SimpleNamespace(**named)


def test_everything_that_a_plugin_lacks_is_listed():
    lacking = changed(
        registry.runtime("onnxruntime"), QUANTIZERS={}, OPERATORS=None, SUMMARY="Ends.", load=lambda spec: None
    )
    with pytest.raises(AssertionError) as caught:
        qb.check_runtime(lacking)
    assert isinstance(caught.value, qb.QuantbenchError)
    assert [fault.split(" of ")[0] for fault in caught.value.faults] == [
        "onnxruntime has no OPERATORS",
        "onnxruntime.load takes (spec); must take (spec, num_threads)",
        "SUMMARY",
    ]
    with pytest.raises(qb.NotConforming, match="QUANTIZERS names none for static"):
        qb.check_runtime(changed(registry.runtime("onnxruntime"), QUANTIZERS={}))


def test_a_task_whose_metrics_do_not_hang_together_does_not_conform():
    task = registry.task("token-classification")
    columns, made = OUTCOMES["token-classification"][0]
    outcomes = [(columns, made(np.random.default_rng(0)))]

    def among_others(columns, outcomes, weights):
        return {name: value + (weights.ndim > 1) for name, value in task.metrics(columns, outcomes, weights).items()}

    with pytest.raises(qb.NotConforming, match="among other rows of weights"):
        qb.check_task(changed(task, metrics=among_others), outcomes=outcomes)
    with pytest.raises(qb.NotConforming, match="which default_metrics do not report"):
        qb.check_task(changed(task, default_limit=lambda sources, labels=(): ("bleu", 0.1)))
    with pytest.raises(qb.NotConforming, match="served has no decode"):
        qb.check_task(changed(task, SERVED=types.SimpleNamespace(__name__="served")))


def test_the_picture_of_the_house_is_its_folders():
    """The floors of ARCHITECTURE.md are the layers that the linter is given, and hold every file and folder."""
    root = Path(quantbench.__file__).parents[2]
    text = (root / "ARCHITECTURE.md").read_text()
    drawn = [
        re.split(r" {3,}", line.strip())[0].split() for line in text.split("From top to bottom:")[1].splitlines()[2:12]
    ]
    linted = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert drawn == [re.split(" [|:] ", layer) for layer in linted]
    package = root / "src" / "quantbench"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {room for floor in drawn for room in floor} == there - {"__init__"}


@pytest.mark.parametrize("kind", registry.KINDS)
def test_no_plugin_imports_another(kind):
    folder = Path(quantbench.__file__).parent / kind
    plugins = {f"quantbench.{kind}.{path.stem}" for path in folder.glob("[!_]*.py")}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported = {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert not imported & plugins, f"{path.name} imports a plug-in"
