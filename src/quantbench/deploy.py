"""The folder to deploy: the best version with a script that runs it and the recipe that makes it again."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import yaml
from jinja2 import Environment as Templates
from jinja2 import StrictUndefined

from quantbench import registry
from quantbench.records import Result
from quantbench.store import write_atomically

BEST = "best"
RECIPE = "recipe.yaml"
SCRIPT = "infer.py"


def deploy(result: Result, models: Path, threads: int) -> Path:
    """Copy a finished run's model to ``models/best`` and add ``infer.py`` and ``recipe.yaml``; the folder.

    Args:
        result: of the version to deploy.
        models: folder of the runs' models.
        threads: that the version was timed with.

    """
    target, fresh = models / BEST, models / f".{BEST}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(models / result.run.name, fresh)
    write_atomically(fresh / SCRIPT, script(result, threads).encode())
    write_atomically(fresh / RECIPE, recipe(result).encode())
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return target


def script(result: Result, threads: int) -> str:
    """Text of a program that loads the model with the options that it was timed with, and shows what it predicts."""
    settings = result.run.settings
    runtime, task = registry.runtime(settings.framework), registry.task(settings.task)
    template = files("quantbench").joinpath("infer.py.jinja").read_text(encoding="utf-8")
    templates = Templates(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701 - Python, no HTML
    return templates.from_string(template).render(
        package=settings.framework,
        threads=threads,
        session=runtime.INFER.format(options=json.dumps(runtime.options(settings))),
        show=task.INFER,
        wanted=task.INFER_INPUT,
        processor=task.PROCESSOR.AUTO_CLASS,
    )


def recipe(result: Result) -> str:
    """The settings as a configuration that ``quantbench run`` reproduces the model from."""
    return yaml.safe_dump(result.run.settings.model_dump(mode="json"), sort_keys=False)
