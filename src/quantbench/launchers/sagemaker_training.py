"""As SageMaker training jobs, one job per run.

A job gets its run as ``job.json`` in a channel of its own, since hyperparameters are short texts (CreateTrainingJob,
Amazon SageMaker API Reference); models and data that lie on this machine are uploaded once per content. The name of a
job is stored before it is created, so that a second call finds the jobs of an interrupted one. What a job is to the
container: see ``_sagemaker_container``. Credentials are found by boto3 as always and are stored nowhere.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue

from quantbench.launchers import _archives
from quantbench.launchers._aws import CONFIG_CHANNEL, JOB_FILE, PREFIX, RESULT_FILE, Account, asking
from quantbench.plugins.arguments import Count, LauncherArgs
from quantbench.plugins.protocols import LaunchContext, Output
from quantbench.schema.results import Failure, Job, Result, Run
from quantbench.system.writing import write_atomically

SUMMARY = "SageMaker training jobs, one per run"
REMOTE = True
LIBRARIES = ("boto3",)
EXTRA = "sagemaker"

NAME_LENGTH = 63
RETRIED = ("Interrupted", "MaxWaitTimeExceeded")
"""Secondary statuses of a stopped job that a spot interruption leaves."""
PLATFORM_FAILURES = ("InternalServerError", "CapacityError")
"""How FailureReason begins where the platform failed, not the run."""
POLL_SECONDS = (2.0, 60.0)
"""Shortest and longest time between two looks at the jobs."""
BACKOFF = 1.2
ENDED = ("Completed", "Failed", "Stopped")
NO_SUCH_JOB = ("ValidationException", "ResourceNotFound")
"""Codes that DescribeTrainingJob answers with where there is no job of that name."""

EXAMPLE_ROLE = "arn:aws:iam::123456789012:role/NAME"
Positive = Annotated[int, Field(ge=1, strict=True, description="be a whole number, 1 or more")]

logger = logging.getLogger("quantbench")


def _like(pattern: str, meant: str) -> Any:
    """A text that is as a pattern says as a whole, and what to call it."""
    return Field(pattern=f"^(?:{pattern})$", description=f"be {meant}")


class Args(LauncherArgs):
    """Of the account and the jobs; patterns and limits are those of CreateTrainingJob."""

    image: Annotated[str, _like(r"\S{1,255}", "the image of the container in a registry, see docs/launchers.md")]
    instance_type: Annotated[str, _like(r"ml\.[a-z0-9\-]+\.[a-z0-9]+", "an instance type such as ml.c7i.2xlarge")]
    role: Annotated[str, _like(r"arn:aws[a-z\-]*:iam::[0-9]{12}:role/.+", f"the ARN of a role, {EXAMPLE_ROLE}")]
    bucket: Annotated[str | None, _like(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", "the name of an S3 bucket")] = None
    region: Annotated[str | None, _like(r"[a-z]{2}(-[a-z]+)+-[0-9]", "a region such as eu-central-1")] = None
    max_runtime: Positive = 7200
    retries: Count = 2
    spot: Annotated[bool, Field(strict=True, description="be true or false")] = False
    tags: Annotated[dict[str, str] | None, Field(description="map names to texts")] = None
    volume_size: Positive = 30


def requests(runs: Sequence[Run], output: Output) -> list[dict[str, JsonValue]]:
    """The CreateTrainingJob request of each run; the random part of a new name is drawn anew at every call."""
    if not runs:
        return []
    bucket = _account(runs).bucket_name()
    return [_request(run, _Ticket.of(output, run).name, bucket, output) for run in runs]


def launch(runs: Sequence[Run], context: LaunchContext) -> Iterator[Result]:
    """Connect to the account and its bucket; see ``protocols.Launcher``."""
    account = _account(runs)
    account.open_bucket()
    return _Jobs(account, runs, context).results()


def _args(run: Run) -> Args:
    return Args.model_validate(run.settings.backend.args)


def _account(runs: Sequence[Run]) -> Account:
    args = _args(runs[0])
    return Account(args.region, args.bucket)


@dataclass(frozen=True)
class _Ticket:
    """The name of a run's job and how often it was tried, kept in ``DIR/jobs``."""

    path: Path
    name: str
    attempt: int

    @classmethod
    def of(cls, output: Output, run: Run) -> _Ticket:
        """The stored ticket of a run, or a new one that is not stored yet."""
        path = output.folder / "jobs" / f"{run.key}.json"
        try:
            held = json.loads(path.read_bytes())
            return cls(path, str(held["name"]), int(held["attempt"]))
        except (OSError, ValueError, LookupError, TypeError):
            return cls(path, _name(run), 1)

    def stored(self) -> _Ticket:
        """The same ticket, now on disk."""
        write_atomically(self.path, json.dumps({"name": self.name, "attempt": self.attempt}).encode())
        return self

    def again(self, run: Run) -> _Ticket:
        """The ticket of another attempt, on disk."""
        return _Ticket(self.path, _name(run), self.attempt + 1).stored()


def _name(run: Run) -> str:
    """A new job name of at most 63 letters, digits and hyphens."""
    ending = f"-{run.key[:8]}-{uuid.uuid4().hex[:8]}"
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", f"{PREFIX}-{run.name}")[: NAME_LENGTH - len(ending)].strip("-")
    return readable + ending


def _channels(run: Run, output: Output) -> dict[str, tuple[str, Path]]:
    """Inputs on this machine by channel: the name in the settings, and where it lies."""
    local = _archives.local_inputs(run.settings, output.places)
    return {f"input{number}": pair for number, pair in enumerate(local.items(), start=1)}


def _request(run: Run, name: str, bucket: str, output: Output) -> dict[str, Any]:
    """The CreateTrainingJob request of a run."""
    args = _args(run)
    root = f"s3://{bucket}/{PREFIX}"
    prefixes = {CONFIG_CHANNEL: f"{root}/jobs/{name}/"}
    inputs = _channels(run, output)
    prefixes |= {channel: f"{root}/inputs/{_archives.content_hash(path)}/" for channel, (_, path) in inputs.items()}
    stopping = {"MaxRuntimeInSeconds": args.max_runtime}
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": args.image, "TrainingInputMode": "File"},
        "RoleArn": args.role,
        "HyperParameters": {"run": run.name[:2500], "key": run.key},
        "InputDataConfig": [
            {
                "ChannelName": channel,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for channel, uri in prefixes.items()
        ],
        "OutputDataConfig": {"S3OutputPath": f"{root}/output"},
        "ResourceConfig": {
            "InstanceType": args.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": args.volume_size,
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": args.spot,
    }
    if args.spot:
        stopping["MaxWaitTimeInSeconds"] = 2 * args.max_runtime
    if args.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in args.tags.items()]
    return request


@dataclass
class _Jobs:
    """Runs that are on their way as jobs."""

    account: Account
    runs: Sequence[Run]
    context: LaunchContext
    _queue: list[Run] = field(default_factory=list)
    _running: dict[str, tuple[Run, _Ticket]] = field(default_factory=dict)
    _status: dict[str, str] = field(default_factory=dict)

    def results(self) -> Iterator[Result]:
        """Each run's result as its job ends."""
        self._queue = list(self.runs)
        pause, longest = POLL_SECONDS
        try:
            with self.context.reporter.stage("Running as SageMaker training jobs", len(self.runs)) as advance:
                while self._queue or self._running:
                    self._start()
                    changed, ended = self._look()
                    for ticket, result in ended:
                        yield result
                        ticket.path.unlink(missing_ok=True)  # only now, when the result is stored
                        advance(1)
                    pause = POLL_SECONDS[0] if changed else min(longest, pause * BACKOFF)
                    if self._running:
                        time.sleep(pause * random.uniform(0.5, 1.5))
        except BaseException:
            if self._running:
                names = " ".join(ticket.name for _, ticket in self._running.values())
                logger.warning(
                    "these jobs go on and cost money; the same command waits for them again, and 'aws sagemaker "
                    "stop-training-job --training-job-name NAME' ends one: %s",
                    names,
                )
            raise

    def _start(self) -> None:
        """Create the jobs of waiting runs, or find those that an earlier call created, as far as the limits allow."""
        while self._queue:
            run = self._queue[0]
            ticket = _Ticket.of(self.context.output, run)
            if not (ticket.path.exists() and self._describe(ticket.name)) and not self._create(run, ticket.stored()):
                return
            self._running[run.key] = (run, ticket)
            self._queue.pop(0)

    def _create(self, run: Run, ticket: _Ticket) -> bool:
        """Upload what a job needs and create it; False where the account's limit makes it wait for another to end."""
        account, channels = self.account, _channels(run, self.context.output)
        where = {name: "" if path.is_dir() else f"/{path.name}" for name, path in channels.values()}
        job = Job(run=run, places={name: channel + where[name] for channel, (name, _) in channels.items()})
        with asking(f"training job {ticket.name}"):
            for _, path in channels.values():
                account.upload(path, _archives.content_hash(path))
            account.write(f"{PREFIX}/jobs/{ticket.name}/{JOB_FILE}", job.model_dump_json().encode())
            try:
                account.jobs.create_training_job(**_request(run, ticket.name, account.bucket, self.context.output))
            except account.jobs.exceptions.ResourceInUse:
                pass  # created by a call whose answer was lost
            except account.jobs.exceptions.ResourceLimitExceeded:
                if self._running:
                    return False
                raise
        return True

    def _describe(self, name: str) -> dict[str, Any] | None:
        """What the platform says of a job; None if there is no such job."""
        from botocore.exceptions import ClientError

        with asking(f"a look at training job {name}"):
            try:
                return dict(self.account.jobs.describe_training_job(TrainingJobName=name))
            except ClientError as error:
                if error.response["Error"]["Code"] in NO_SUCH_JOB:
                    return None
                raise

    def _look(self) -> tuple[bool, list[tuple[_Ticket, Result]]]:
        """Look at every running job once: whether anything changed, and the results of those that have ended."""
        changed, ended = False, []
        for key, (run, ticket) in list(self._running.items()):
            told = self._describe(ticket.name) or {"TrainingJobStatus": "Failed", "FailureReason": "the job is gone"}
            status = f"{told['TrainingJobStatus']}, {told.get('SecondaryStatus', '')}"
            if self._status.get(key) != status:
                logger.info("%s: %s", ticket.name, status)
                changed, self._status[key] = True, status
            if told["TrainingJobStatus"] not in ENDED:
                continue
            del self._running[key]
            if _lost(told) and ticket.attempt <= _args(run).retries:
                logger.warning("%s is tried again: %s", run.name, _reason(told))
                ticket.again(run)
                self._queue.append(run)
            else:
                ended.append((ticket, self._result(run, ticket, told)))
        return changed, ended

    def _result(self, run: Run, ticket: _Ticket, told: Mapping[str, Any]) -> Result:
        """The result that a job left, with its model laid down, or a failure with the platform's reason."""
        job: dict[str, JsonValue] = {
            "job": ticket.name,
            "attempts": ticket.attempt,
            "training_seconds": told.get("TrainingTimeInSeconds"),
            "billable_seconds": told.get("BillableTimeInSeconds"),
        }
        with asking(f"the output of training job {ticket.name}"):
            document = _archives.member(self.account.output(ticket.name, "output.tar.gz"), RESULT_FILE)
            model = self.account.output(ticket.name, "model.tar.gz") if document else None
        if document is None:
            reason = _reason(told) if told["TrainingJobStatus"] != "Completed" else "the job left no result"
            return Result(
                run=run,
                environment=self.context.environment,
                failure=Failure(stage="training job", reason=reason),
                job=job,
            )
        result = Result.model_validate_json(document)
        if model is not None and result.artifact is not None:
            _archives.unpack(model, self.context.output.folder / "models" / run.name)
        return result.model_copy(update={"run": run, "job": {**result.job, **job}})


def _lost(told: Mapping[str, Any]) -> bool:
    """Whether a job ended for a reason that another attempt may not meet: a spot interruption, the platform."""
    interrupted = told["TrainingJobStatus"] == "Stopped" and told.get("SecondaryStatus") in RETRIED
    return interrupted or str(told.get("FailureReason", "")).startswith(PLATFORM_FAILURES)


def _reason(told: Mapping[str, Any]) -> str:
    """Why a job ended, as the platform tells."""
    words = {
        "Stopped": "it was stopped by somebody",
        "MaxRuntimeExceeded": "it ran longer than backend.args.max_runtime",
        "MaxWaitTimeExceeded": "no spot instance was left to it in time",
        "Interrupted": "its spot instance was taken away",
    }
    return str(told.get("FailureReason") or words.get(str(told.get("SecondaryStatus")), told["TrainingJobStatus"]))
