"""The folder to deploy of one run's model, which ``tune`` makes of the version that it chooses."""

from __future__ import annotations

from pathlib import Path

from quantbench.api._reporters import reporter
from quantbench.api.benchmark import load_results
from quantbench.api.running import checked
from quantbench.errors import BadInput, Mistake
from quantbench.plugins import registry
from quantbench.schema.results import Result
from quantbench.system.files import content_sha256


def deploy(result: Result, *, progress: bool = False) -> Path:
    """Make ``models/best`` of a run's model: with a script and the code that scored it, and of an embedding model as
    one file that other programs read. What was there before is replaced.

    Args:
        result: of a finished run, from :func:`quantbench.run` or :func:`quantbench.load_results`.
        progress: whether bars are shown on standard error.

    Returns:
        The folder.

    Raises:
        BadInput: if the run is not finished, or its files have changed since; nothing is written then.
        RunFailed: if what would be deployed gives something else than was scored; nothing is written then.

    """
    where = f"run {result.run.name}"
    if result.folder is None:
        message = "was read from no folder, so that its model cannot be found; take it from qb.load_results(folder)"
        raise BadInput([Mistake(where, message)])
    if not result.done or result.artifact is None:
        raise BadInput([Mistake(where, "is not finished, so that there is no model to deploy; run it again")])
    settings, folder, told = result.run.settings, result.folder, reporter(progress)
    context = checked(load_results(folder).config, [settings], [result], told)
    from quantbench.tune.deploy import deploy as laid_down  # after the cap, which libraries read when they are loaded

    quantizer = registry.quantizer_for(settings.framework, settings.quantization_approach)
    assert quantizer is not None, "rules refuse what cannot be made"
    files = quantizer.files(folder / result.artifact.path)
    if not all(file.is_file() for file in files) or content_sha256(files) != result.artifact.sha256:
        message = f"has changed since the run, or is gone; delete results/{result.run.key}.json and run again"
        raise BadInput([Mistake(str(files[0]), message)])
    threads = settings.time_benchmark_args.num_threads or context.threads
    return laid_down(result, folder / "models", threads, context)
