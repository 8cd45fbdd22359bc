"""The folder to deploy: the best version, the code that scored it, a script that runs it and a recipe that makes it.

``infer.py`` and the folder ``served`` are files of this package as they are, ``serving.json`` is what they work with.
"""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import yaml

from quantbench import embedded
from quantbench.pipeline.arms import arm
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import load, load_model
from quantbench.pipeline.model import Model
from quantbench.pipeline.optimize import RECORD
from quantbench.pipeline.predict import scored_batch_size
from quantbench.plugins import registry
from quantbench.schema.results import Result
from quantbench.schema.settings import Settings
from quantbench.served import command
from quantbench.system.files import content_sha256
from quantbench.system.writing import write_atomically
from quantbench.tune import one_file, readers, readme

BEST = "best"
RECIPE = "recipe.yaml"
CODE = "served"
"""Folder of the files that the script works by."""


def deploy(result: Result, models: Path, threads: int, context: Context) -> Path:
    """Copy a finished run's model to ``models/best`` and add what runs it and what makes it again; the folder.

    Args:
        result: of the version to deploy.
        models: folder of the runs' models.
        threads: that the version was timed with.
        context: where the run's model is loaded.

    Raises:
        RunFailed: if an embedding model's folder would give something else than was scored; there is none then.

    """
    target, fresh = models / BEST, models / f".{BEST}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _write(fresh, result, models, threads, context)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _write(folder: Path, result: Result, models: Path, threads: int, context: Context) -> None:
    settings = result.run.settings
    shutil.copytree(models / result.run.name, folder)
    write_atomically(folder / command.SCRIPT, (Path(command.__file__).parent / command.SCRIPT).read_bytes())
    for file in code(settings):
        write_atomically(folder / CODE / file.name, file.read_bytes())
    about = serving(settings, threads, load_model(settings.sources, context))
    if one_file.embeds(about["args"]):
        about = _embedding(folder, result, models, about, context)
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / command.SERVING, text.encode())
    write_atomically(folder / RECIPE, recipe(settings, context.places).encode())


def _embedding(
    folder: Path, result: Result, models: Path, about: Mapping[str, Any], context: Context
) -> dict[str, Any]:
    """Make the folder of an embedding model one that other programs read too; what ``serving.json`` is to say then."""
    settings, artifact = result.run.settings, result.artifact
    assert artifact is not None, "what is deployed was made"
    loaded = load(settings, context)
    scored = models.parent / artifact.path
    whole = scored.parent if registry.runtime(settings.framework).LOADS_FOLDER else scored
    spec = arm(settings.framework, whole, artifact.sha256, settings)
    facts = about["facts"]
    readers.write_tokenizer(folder, loaded.model.processor.SERVED.load(folder, facts))
    alone = one_file.hold_tokens(folder, settings, about, loaded, context)
    made = one_file.write(folder, settings, about, spec, loaded, context)
    readers.write(folder, about["args"], facts["limit"], facts["lower"], made.width)
    if not made.reason:
        about = {**about, "model": made.path, "args": {**about["args"], "states": one_file.STATES}}
        _record(folder, made)
    write_atomically(folder / readme.FILE, readme.render(folder, about, made, alone).encode())
    return dict(about)


def _record(folder: Path, made: one_file.OneFile) -> None:
    """Add to the record of how the model was made what its file has become."""
    record = json.loads((folder / RECORD).read_bytes())
    record["deployed"] = {
        "path": made.path,
        "sha256": content_sha256(made.files),
        "bytes": sum(file.stat().st_size for file in made.files),
    }
    write_atomically(folder / RECORD, json.dumps(record, indent=2).encode())


def parts(settings: Settings) -> dict[str, ModuleType]:
    """The modules that serve a model of these settings: of its task, its processor and its runtime."""
    task, runtime = registry.task(settings.task), registry.runtime(settings.framework)
    found = {"task": task.SERVED, "processor": task.PROCESSOR.SERVED, "runtime": runtime.SERVED}
    return {name: cast(ModuleType, module) for name, module in found.items()}


def serving(settings: Settings, threads: int, model: Model) -> dict[str, Any]:
    """What the script works with: how the model was loaded, encoded for, batched and read when it was scored."""
    task, runtime = registry.task(settings.task), registry.runtime(settings.framework)
    quantizer = registry.quantizer_for(settings.framework, settings.quantization_approach)
    assert quantizer is not None, "rules refuse what cannot be made"
    return {
        **{name: module.__name__.rpartition(".")[2] for name, module in parts(settings).items()},
        "model": "." if runtime.LOADS_FOLDER else quantizer.FILE,
        "options": runtime.options(settings),
        "threads": threads,
        "batch_size": scored_batch_size(settings),
        "libraries": list(runtime.SERVED.LIBRARIES),
        "columns": settings.dataset.data_keys,
        "facts": model.processor.known(),
        "args": task.serving(settings, model.processor, model.config),
    }


def code(settings: Settings) -> list[Path]:
    """The files that a model of these settings is served by, with all that they import beside themselves."""
    package = [Path(command.__file__).parent / "__init__.py", Path(command.__file__)]
    wanted = [*package, *(Path(str(module.__file__)) for module in parts(settings).values())]
    found: dict[str, Path] = {}
    while wanted:
        file = wanted.pop()
        if file.name not in found:
            found[file.name] = file
            wanted += _siblings(file)
        assert found[file.name] == file, f"two files to deploy are called {file.name}"
    return sorted(found.values())


def _siblings(file: Path) -> Iterator[Path]:
    """The files that a file imports by relative import."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (file.parent / f"{name}.py" for name in names)


def recipe(settings: Settings, places: Mapping[str, str]) -> str:
    """The settings as a configuration that ``quantbench run`` reproduces the model from, wherever it is called.

    Paths of this machine are written in full, since a relative one belongs to the file that it was written in.
    """
    data = settings.model_dump(mode="json")
    data["model_name_or_path"] = _in_full(data["model_name_or_path"], places)
    data["dataset"]["path"] = _in_full(data["dataset"]["path"], places)
    return yaml.safe_dump(data, sort_keys=False)


def _in_full(name: str, places: Mapping[str, str]) -> str:
    path = Path(places.get(name, name)).expanduser()
    return str(path.absolute()) if name != embedded.NAME and path.exists() else name
