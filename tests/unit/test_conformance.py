"""What every plug-in must provide, over all files of the six folders."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from tests.support.example_results import reference_config, reference_results

import quantbench
from quantbench.plugins import protocols, registry
from quantbench.served import protocols as served
from quantbench.tasks import _label_metrics, feature_extraction, question_answering, token_classification

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
NAMING_RUNTIMES = {"cli.py", "schema/settings.py", "api/benchmark.py", "diagnose/run.py"}
"""An example in a help text, defaults and values of settings, and the session that ``why`` looks into."""
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
def test_a_plugin_has_every_member_of_its_protocol(kind, name):
    plugin, protocol = LOADERS[kind](name), PROTOCOLS[kind]
    for member in inspect.get_annotations(protocol):
        assert hasattr(plugin, member), f"{name} has no {member}"
    for member, method in vars(protocol).items():
        if inspect.isfunction(method) and not member.startswith("_"):
            wanted = list(inspect.signature(method).parameters)[1:]
            assert list(inspect.signature(getattr(plugin, member)).parameters) == wanted, f"{name}.{member}"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_plugin_says_in_one_line_what_it_is(kind, name):
    plugin = LOADERS[kind](name)
    assert plugin.__doc__
    assert "\n" not in plugin.SUMMARY
    assert plugin.SUMMARY[-1] != "."


SERVED = {
    **{name: (registry.task(name).SERVED, served.ServedTask) for name in registry.names("tasks")},
    **{
        f"{name}, inputs": (registry.task(name).PROCESSOR.SERVED, served.ServedProcessor)
        for name in registry.names("tasks")
    },
    **{name: (registry.runtime(name).SERVED, served.ServedRuntime) for name in registry.names("runtimes")},
}
"""Files that are laid beside deployed models, and their protocols."""


@pytest.mark.parametrize("name", SERVED)
def test_a_file_to_deploy_has_every_member_of_its_protocol(name):
    module, protocol = SERVED[name]
    for member in inspect.get_annotations(protocol):
        assert hasattr(module, member), f"{name} has no {member}"
    for member, method in vars(protocol).items():
        if inspect.isfunction(method) and not member.startswith("_"):
            wanted = list(inspect.signature(method).parameters)[1:]
            assert list(inspect.signature(getattr(module, member)).parameters) == wanted, f"{name}.{member}"


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
    allowed = {*sys.stdlib_module_names, "numpy", "transformers", "PIL", "torch", "onnxruntime", "openvino"}
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


@pytest.mark.parametrize("name", registry.names("tasks"))
def test_a_tasks_default_metrics_are_known(name):
    task = registry.task(name)
    settings = reference_config().base.model_copy(update={"task": name})
    assert set(task.default_metrics(settings)) <= set(task.known_metrics(settings)) <= set(task.METRICS)
    metric, drop = task.default_limit(settings)
    assert metric in {value for known in task.default_metrics(settings) for value in task.METRICS[known]}
    assert drop > 0


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
    "token-classification": [(token_classification.COLUMNS, lambda g: np.sort(g.integers(0, 9, (40, 5))))],
    "text-classification": [
        (_label_metrics.SINGLE, _labels),
        (_label_metrics.NUMBERS, lambda g: g.normal(size=(40, 2)).round(1)),
        (tuple("abcdef"), lambda g: g.integers(0, 2, (40, 6))),
    ],
    "image-classification": [((*_label_metrics.SINGLE, "top"), lambda g: np.c_[_labels(g), g.integers(0, 2, 40)])],
    "question-answering": [(question_answering.COLUMNS, lambda g: g.integers(0, 2, (40, 3)))],
    "feature-extraction": [
        (feature_extraction.COLUMNS, lambda g: g.random((40, 1))),
        (feature_extraction.PAIR_COLUMNS, lambda g: g.random((40, 3))),
    ],
}
"""Columns of each task and outcomes that fit them."""


@pytest.mark.parametrize("name", registry.names("tasks"))
def test_a_row_of_weights_gives_the_same_alone_and_among_others(name):
    task, generator = registry.task(name), np.random.default_rng(0)
    for columns, made in OUTCOMES[name]:
        outcomes, weights = made(generator).astype(float), generator.integers(0, 3, (7, 40)).astype(float)
        together = task.metrics(columns, outcomes, weights)
        for number, row in enumerate(weights):
            alone = task.metrics(columns, outcomes, row)
            assert {key: values[number] for key, values in together.items()} == pytest.approx(alone, abs=1e-12)


def test_the_picture_of_the_house_is_its_folders():
    """The floors of ARCHITECTURE.md are the layers that the linter is given, and hold every file and folder."""
    root = Path(quantbench.__file__).parents[2]
    text = (root / "ARCHITECTURE.md").read_text()
    drawn = [
        re.split(r" {3,}", line.strip())[0].split() for line in text.split("From top to bottom:")[1].splitlines()[2:12]
    ]
    linted = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert drawn == [layer.split(" | ") for layer in linted]
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
