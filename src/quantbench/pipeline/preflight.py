"""What can only be checked with the model and the data at hand, before anything is written or worked on.

Model and data stay loaded, so nothing is read twice.
"""

from __future__ import annotations

import logging
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from quantbench.config.keys import combinations, overlap
from quantbench.config.plan import effective
from quantbench.errors import BadInput, Mistake, first_line
from quantbench.pipeline import room
from quantbench.pipeline.context import Context
from quantbench.pipeline.load import (
    complex_operator_of,
    fingerprints,
    load_examples,
    load_model,
    load_rows,
    load_split,
    prepare,
)
from quantbench.pipeline.model import Model
from quantbench.pipeline.predict import needs_examples
from quantbench.plugins import registry
from quantbench.quantize.calibration.sampling import choose
from quantbench.schema.results import Result
from quantbench.schema.settings import Config, Settings
from quantbench.sources.export import NEWER, to_use_newer
from quantbench.system import cache
from quantbench.system.environment import threads_problem

CHECKED = {
    "task",
    "task_args",
    "model_name_or_path",
    "dataset",
    "framework",
    "framework_args",
    "backend",
    "quantization_approach",
    "placement",
    "calibration",
    "max_eval_samples",
    "batch_sizes",
    "input_lengths",
    "time_benchmark_args",
    "trust_remote_code",
    "allow_pickled_weights",
}
"""Parameters that the checks here look at; combinations that differ in others only are checked once."""

logger = logging.getLogger("quantbench")


def check(config: Config, context: Context, results: Sequence[Result]) -> None:
    """Check every combination of a configuration against its model and its data.

    Raises:
        BadInput: with every mistake, at the line of the parameter that is to blame; or if libraries could keep nothing.

    """
    cache.check()
    mistakes: list[Mistake] = []
    seen: set[str] = set()
    for values, settings in combinations(config):
        checked = settings.model_dump_json(include=CHECKED)
        if checked in seen:
            continue
        seen.add(checked)
        found = [*_libraries(settings), *_threads(settings, context)]
        for key, message in [*found, *_model(settings, context), *_data(settings, context)]:
            mistakes.append(Mistake(_where(config, values, key), message))
    if mistakes:
        raise BadInput(mistakes)
    for result in results:
        _unchanged(result, config, context)


def _where(config: Config, values: Mapping[str, JsonValue], key: str) -> str:
    """``file:line`` of the value that is to blame, also where it is one of several under ``benchmarked``."""
    for dimension in config.dimensions:
        if overlap(dimension.key, key):
            index = dimension.values.index(values[dimension.key])
            return config.where(f"benchmarked.{dimension.key}.{index}")
    return config.where(key)


def _libraries(settings: Settings) -> list[tuple[str, str]]:
    """A message if a library is not installed that the run's task, its framework or its backend needs."""
    launcher = registry.launcher(settings.backend.name)
    task = registry.task(settings.task)
    wanted = [
        ("task", settings.task, task.LIBRARIES, task.EXTRA),
        ("backend", settings.backend.name, launcher.LIBRARIES, launcher.EXTRA),
    ]
    if not launcher.REMOTE:
        runtime = registry.runtime(settings.framework)
        wanted.append(("framework", settings.framework, runtime.LIBRARIES, runtime.EXTRA))
        quantizer = registry.quantizer_for(settings.framework, settings.quantization_approach)
        if quantizer is not None:
            own = tuple(library for library in quantizer.LIBRARIES if library not in runtime.LIBRARIES)
            wanted.append(("quantization_approach", settings.quantization_approach, own, quantizer.EXTRA))
    found = []
    for key, name, libraries, extra in wanted:
        missing = [library for library in libraries if find_spec(library) is None]
        if missing:
            needs = f"{key} {name} needs {' and '.join(missing)}, which cannot be imported here; it"
            found.append((key, f"{needs} needs the extra: pip install 'quantbench[{extra}]'"))
    return found


def _threads(settings: Settings, context: Context) -> list[tuple[str, str]]:
    """A message if this machine, where runs execute on it, cannot run so many threads at the same time."""
    if registry.launcher(settings.backend.name).REMOTE:
        return []
    problem = threads_problem(settings.time_benchmark_args.num_threads, context.environment)
    return [("time_benchmark_args.num_threads", problem)] if problem else []


def _guarded(key: str, what: str, work: Callable[[], Any]) -> tuple[Any, list[tuple[str, str]]]:
    """The outcome of loading ``what``, or the mistakes that prevented it, as (dotted key, message).

    The libraries that load models and data raise whatever their parts raise; for what the user gave, that is a
    mistake at ``key``.
    """
    try:
        return work(), []
    except BadInput as error:
        return None, [(mistake.where, mistake.message) for mistake in error.mistakes]
    except Exception as error:
        logger.debug("%s", "".join(traceback.format_exception(error)))
        return None, [(key, f"{what} cannot be loaded: {first_line(error)}; check its files")]


def _load_model(settings: Settings, context: Context) -> tuple[Model | None, list[tuple[str, str]]]:
    name = settings.model_name_or_path
    return _guarded("model_name_or_path", f"model {name!r}", lambda: load_model(settings.sources, context))


def _model(settings: Settings, context: Context) -> list[tuple[str, str]]:
    model, problems = _load_model(settings, context)
    if model is None:
        return problems
    problems += registry.task(settings.task).check_model(settings, model.config)
    problems += [*_given_file(settings, model, context), *_room(settings, model, context)]
    problems += _exporter(settings, model, context)
    limit = model.processor.max_length(model.config)
    timed = settings.input_lengths if settings.batch_sizes else ()
    lengths = [length for length in timed if isinstance(length, int)]
    too_long = [length for length in lengths if limit is not None and length > limit]
    if too_long:
        message = f"input length {too_long[0]} is over the model's maximum of {limit} tokens; remove or lower it"
        problems.append(("input_lengths", message))
    if settings.calibration.padding == "max_length" and limit is None:
        problems.append(("calibration.padding", "the model names no maximum length to pad to; use padding: none"))
    return problems


def _given_file(settings: Settings, model: Model, context: Context) -> list[tuple[str, str]]:
    """What cannot be done where the original is an ONNX file."""
    if model.opset is None:
        return []
    found = []
    if settings.framework_args.opset != model.opset:
        keeps = f"the original is an ONNX file of opset {model.opset}, which its versions keep"
        found.append(("framework_args.opset", f"{keeps}; set framework_args.opset: {model.opset}"))
    if registry.runtime(settings.framework).LOADS_FOLDER:
        needs = f"framework {settings.framework} needs a checkpoint, and the original is an ONNX file"
        found.append(("framework", f"{needs}; choose another framework"))
    place = Path(context.place(settings.model_name_or_path)).expanduser().absolute()
    if registry.launcher(settings.backend.name).REMOTE and model.folder.absolute() != place:
        message = (
            f"backend {settings.backend.name} takes a folder to other machines, with all that belongs to the model"
        )
        found.append(("model_name_or_path", f"{message}; give one that holds the ONNX file, config.json and tokenizer"))
    return found


def _room(settings: Settings, model: Model, context: Context) -> list[tuple[str, str]]:
    """A message if this machine, where runs execute on it, has not the memory or the disk for the model."""
    if registry.launcher(settings.backend.name).REMOTE:
        return []
    written = [(cache.folder(), cache.VARIABLE), (Path(tempfile.gettempdir()), "TMPDIR")]
    memory = context.environment.memory_bytes
    problem = room.to_work(model.weights, settings.is_timed, memory) or room.of_disk(model.weights, written)
    return [problem] if problem else []


def _exporter(settings: Settings, model: Model, context: Context) -> list[tuple[str, str]]:
    """A message if the model needs the newer exporter, and that is not at hand for the opset."""
    operator = complex_operator_of(model, settings.task, context)
    opset, remote = settings.framework_args.opset, registry.launcher(settings.backend.name).REMOTE
    steps = to_use_newer(opset)
    if operator is None or steps is None or (remote and opset >= NEWER):  # what is installed there is not known here
        return []
    message = f"the model computes with complex numbers ({operator}), which only the newer exporter to ONNX can express"
    return [("framework_args.opset", f"{message}: {steps}")]


def _data(settings: Settings, context: Context) -> list[tuple[str, str]]:
    """Mistakes in the splits; labels are compared only where the model is one for the task."""
    model, model_problems = _load_model(settings, context)
    fitting = model if model is not None and not model_problems else None
    task, name = registry.task(settings.task), settings.dataset.path
    if fitting is not None and task.check_model(settings, fitting.config):
        fitting = None  # its outputs are taken for something else, and labels would be held against that
    labels = [str(name) for name in (fitting.config.get("id2label") or {}).values()] if fitting else []
    problems: list[tuple[str, str]] = []
    needed = {"eval": needs_examples(settings), "calibration": settings.reads_calibration}
    wanted = [which for which, read in needed.items() if read]
    for which in wanted:
        load = partial(load_split, settings.dataset, which, context)
        split, found = _guarded("dataset.path", f"data set {name!r}", load)
        if split is not None:
            features = split.data.features
            found = task.check(settings, features, str(getattr(settings.dataset, f"{which}_split")), labels)
            if which == "calibration" and not set(settings.dataset.ref_keys) <= set(features):  # ranges need no labels
                found = [(key, message) for key, message in found if key == "dataset.data_keys"]
        found = [(key, message) for key, message in found if labels or key != "dataset.label_map"]
        if not found and fitting is not None:
            found = _examples(settings, fitting, context, which)
        problems += found
    return problems


def _examples(settings: Settings, model: Model, context: Context, which: str) -> list[tuple[str, str]]:
    """Mistakes that only the examples themselves show, such as labels that stand in them as text."""
    path, split = settings.dataset.path, str(getattr(settings.dataset, f"{which}_split"))
    try:
        if which == "eval":
            load_examples(effective(settings).sources, settings.max_eval_samples, model, context)
            return []
        data = load_rows(settings.sources, which, model, context).data
        try:
            chosen = choose(len(data), settings.calibration)
        except ValueError as error:
            return [("calibration.stride", f"{error}; lower it, or num_calibration_samples")]
        prepare(settings.sources, data.select(chosen), model)
    except BadInput as error:
        return [(mistake.where, mistake.message) for mistake in error.mistakes]
    except Exception as error:
        logger.debug("%s", "".join(traceback.format_exception(error)))
        return [("dataset.data_keys", f"split {split!r} of {path!r} cannot be used: {first_line(error)}")]
    return []


def _unchanged(result: Result, config: Config, context: Context) -> None:
    settings = result.run.settings
    now = fingerprints(settings, load_model(settings.sources, context), context)
    for name, fingerprint in result.sources.items():
        if now.get(name, fingerprint) != fingerprint:
            key = "model_name_or_path" if name == "model" else "dataset.path"
            message = f"the {name} {'files' if name == 'model' else 'data'} have changed since the stored results; "
            raise BadInput([Mistake(config.where(key), message + "choose another --out, or delete the folder")])
