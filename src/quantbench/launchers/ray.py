"""On the nodes of a Ray cluster, one run per node at a time.

A node takes part if it offers the resource ``quantbench_slot``, of which every run takes one: Ray's ``num_cpus`` is
bookkeeping and keeps nothing apart, so the arms of a run set their CPU affinity themselves. Runs go to nodes with the
labels that are asked for (Ray, "Use labels to control scheduling"). Models and data that lie on this machine travel
through the object store by content; results and models come back the same way. A run whose worker or node is lost is
tried again elsewhere.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from quantbench.errors import BadInput, Interrupted, Mistake
from quantbench.launchers import _archives
from quantbench.plugins.arguments import Count, LauncherArgs, Text
from quantbench.plugins.protocols import LaunchContext, Output
from quantbench.schema.results import Failure, Job, Result, Run
from quantbench.schema.settings import Settings
from quantbench.system import instruction_sets

if TYPE_CHECKING:
    from quantbench.pipeline.context import Context

SUMMARY = "a Ray cluster, one run per node at a time"
REMOTE = True
LIBRARIES = ("ray",)
EXTRA = "ray"
SLOT = "quantbench_slot"
"""Resource of a node that runs may be given to; a node offers one."""
INSTANCE_TYPE = "instance_type"
"""Label of a node that says what it is."""
SUBMITTED = 2
"""Tasks per node that Ray is given at a time, so that none waits; a window, since each wait looks at all of them."""
CONNECT_SECONDS = 10.0
POLL_SECONDS = 2.0
NODE_SECONDS = 60.0
"""How long runs wait without any node that could take them before they fail."""

Shipped = tuple[list[Any], bool]
"""A reference to an archive in the object store, and whether it is of a folder."""

logger = logging.getLogger("quantbench")


class Args(LauncherArgs):
    """Where the cluster is (nowhere: one is started here), which nodes may be used, and how often a lost run is
    tried again.
    """

    address: Text | None = Field(None, description="be text")
    instance_type: Text | None = Field(None, description="be text")
    labels: dict[str, str] = Field({}, description="map labels of nodes to values, such as {zone: a}")
    retries: Count = 2


def requests(runs: Sequence[Run], output: Output) -> list[dict[str, JsonValue]]:
    """The job of each run and the options that its task is submitted with."""
    return [{"job": Job(run=run).model_dump(mode="json"), "options": _options(_args(run))} for run in runs]


def _args(run: Run) -> Args:
    return Args.model_validate(run.settings.backend.args)


def _options(args: Args) -> dict[str, Any]:
    """Options of a Ray task."""
    level = args.supported_instructions
    variables = {"OMP_NUM_THREADS": ""} | (instruction_sets.CAPS[str(level)] if level else {})
    return {
        "num_cpus": 0,
        "max_retries": 0,  # counted here, where the reason is known
        "resources": {SLOT: 1},
        "label_selector": _wanted(args),
        "runtime_env": {"env_vars": variables},
    }


def _wanted(args: Args) -> dict[str, str]:
    """Labels that a node must have."""
    return {**args.labels, **({INSTANCE_TYPE: args.instance_type} if args.instance_type else {})}


def launch(runs: Sequence[Run], context: LaunchContext) -> Iterator[Result]:
    """Connect to the cluster, or start one here; see ``protocols.Launcher``."""
    cluster = _Cluster(_args(runs[0]))
    cluster.connect()
    return _results(cluster, runs, context)


@dataclass
class _Cluster:
    """The connection to a cluster."""

    args: Args

    def connect(self) -> None:
        """Connect, or start a cluster of this machine alone where no address is given.

        Raises:
            BadInput: if there is no such cluster or no node in it that could take runs.

        """
        import ray

        address = self.args.address
        self._reach(address or "")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                own = {INSTANCE_TYPE: self.args.instance_type} if self.args.instance_type else None
                ray.init(address="local", resources={SLOT: 1}, labels=own, include_dashboard=False, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise self._unreachable(error) from error
        if not self.nodes():
            ray.shutdown()
            raise BadInput([Mistake("backend.args", self._nobody())])

    def _reach(self, address: str) -> None:
        """See that something listens where the address points: Ray itself tries for minutes without a word."""
        host, colon, port = address.rpartition("://")[2].rpartition(":")
        if colon and port.isdecimal():
            try:
                socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            except OSError as error:
                raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> BadInput:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"no Ray cluster at {self.args.address!r}: {reason}; start one with 'ray start --head', or "
        return BadInput([Mistake("backend.args.address", message + "leave address out to have it started here")])

    def nodes(self) -> list[dict[str, Any]]:
        """Nodes that are alive and could take a run."""
        import ray

        wanted = _wanted(self.args)
        return [
            node
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get(SLOT, 0) >= 1 and wanted.items() <= node["Labels"].items()
        ]

    def _nobody(self) -> str:
        wanted = "".join(f", label {name}={value}" for name, value in _wanted(self.args).items())
        return (
            f"no node of the Ray cluster takes runs (resource {SLOT}{wanted}); start nodes with "
            f"""ray start --address=… --resources='{{"{SLOT}": 1}}' --labels='{INSTANCE_TYPE}=…'"""
        )


def _results(cluster: _Cluster, runs: Sequence[Run], context: LaunchContext) -> Iterator[Result]:
    import ray

    try:
        with context.reporter.stage(f"Running on {len(cluster.nodes())} Ray node(s)", len(runs)) as advance:
            for result, archive in _Tasks(cluster, runs, context).finished():
                if archive is not None:
                    _archives.unpack(archive, context.output.folder / "models" / result.run.name)
                yield result
                advance(1)
    except KeyboardInterrupt as stop:
        raise Interrupted("what was under way on the cluster ends with this call and is begun again") from stop
    finally:
        ray.shutdown()


@dataclass
class _Tasks:
    """Runs that are on their way through the cluster."""

    cluster: _Cluster
    runs: Sequence[Run]
    context: LaunchContext
    _attempts: dict[str, int] = field(default_factory=dict)
    _shipped: dict[str, Shipped] = field(default_factory=dict)

    def finished(self) -> Iterator[tuple[Result, bytes | None]]:
        """Each run's result as it comes, with the archive of its model."""
        import ray

        queue: deque[Run] = deque(self.runs)
        waiting: dict[Any, Run] = {}
        last_seen = time.monotonic()
        while queue or waiting:
            while queue and len(waiting) < SUBMITTED * max(1, len(self.cluster.nodes())):
                run = queue.popleft()
                waiting[self._submit(run)] = run
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL_SECONDS)
            for reference in done:
                run = waiting.pop(reference)
                outcome, lost = self._outcome(reference, run)
                if lost is not None and self._attempts[run.key] <= self.cluster.args.retries:
                    logger.warning("%s is tried again: %s", run.name, lost)
                    queue.append(run)
                else:
                    yield outcome or (self._failed(run, f"{lost}, {self._attempts[run.key]} times"), None)
            last_seen = time.monotonic() if self.cluster.nodes() else last_seen
            if time.monotonic() - last_seen > NODE_SECONDS:
                for run in [*waiting.values(), *queue]:
                    yield self._failed(run, "no node of the Ray cluster that could take it is left"), None
                return

    def _submit(self, run: Run) -> Any:
        import ray

        self._attempts[run.key] = self._attempts.get(run.key, 0) + 1
        local = _archives.local_inputs(run.settings, self.context.output.places)
        inputs = {name: self._ship(name, path) for name, path in local.items()}
        task = ray.remote(_execute).options(**_options(_args(run)))
        return task.remote(run.model_dump_json(), inputs)

    def _ship(self, name: str, path: Path) -> Shipped:
        """Put a file or a folder into the object store, once; the reference in a list, which Ray does not resolve."""
        import ray

        if name not in self._shipped:
            self._shipped[name] = ([ray.put(_archives.packed(path))], path.is_dir())
        return self._shipped[name]

    def _outcome(self, reference: Any, run: Run) -> tuple[tuple[Result, bytes | None] | None, str | None]:
        """A result with its model, or why the run was lost with its worker."""
        import ray
        from ray import exceptions

        try:
            text, archive, place = ray.get(reference)
        except exceptions.RayTaskError as error:
            return (self._failed(run, f"the worker failed: {error.cause or error}"), None), None
        except exceptions.RayError as error:
            return None, f"{_LOST.get(type(error).__name__, type(error).__name__)}"
        result = Result.model_validate_json(text)
        job = {**place, "attempts": self._attempts[run.key]}
        return (result.model_copy(update={"job": job}), archive), None

    def _failed(self, run: Run, reason: str) -> Result:
        return Result(
            run=run,
            environment=self.context.environment,
            failure=Failure(stage="launching", reason=reason),
            job={"attempts": self._attempts.get(run.key, 0)},
        )


_LOST = {
    "WorkerCrashedError": "the worker process died",
    "LocalRayletDiedError": "the node died",
    "NodeDiedError": "the node died",
    "OutOfMemoryError": "Ray killed the worker because the node ran out of memory",
    "OwnerDiedError": "the node died",
    "ObjectLostError": "the result was lost with its node",
}
"""What Ray's exceptions mean to a reader."""


_KEPT: dict[Path, Context] = {}
"""What all runs work with that this process is given as a worker; Ray keeps the processes of a cap apart."""


def _context(settings: Settings, at: Path) -> Context:
    if at in _KEPT:
        return _KEPT[at]
    os.environ.pop("OMP_NUM_THREADS", None)  # Ray sets it to 1; the threads of every arm are explicit
    from quantbench.pipeline import worker
    from quantbench.system.progress import Silent

    _KEPT[at] = worker.context_for(settings, at, Silent())
    return _KEPT[at]


def _execute(run: str, inputs: dict[str, Shipped]) -> tuple[str, bytes | None, dict[str, Any]]:
    """On a node: execute a run; its result as JSON, the archive of its model, and where it ran."""
    import tempfile

    import ray

    from quantbench.pipeline import worker
    from quantbench.system import cache

    job = Job(run=Run.model_validate_json(run))
    at = cache.folder()
    context = _context(job.run.settings, at)
    places = {name: str(_archives.place(ray.get(held[0]), folder, at)) for name, (held, folder) in inputs.items()}
    with tempfile.TemporaryDirectory(prefix="quantbench-") as scratch:
        result = worker.execute_job(job.model_copy(update={"places": places}), Path(scratch), context)
        model = Path(scratch) / result.artifact.path if result.artifact is not None else None
        archive = _archives.packed(model.parent) if model is not None else None
    where = ray.get_runtime_context()
    kind = where.get_node_labels().get(INSTANCE_TYPE)
    place = {"node": where.get_node_id()[:12], **({INSTANCE_TYPE: kind} if kind else {})}
    return result.model_dump_json(), archive, place
