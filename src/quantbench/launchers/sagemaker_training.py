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
from typing import Any

from pydantic import JsonValue

from quantbench.launchers import _archives
from quantbench.launchers._aws import CONFIG_CHANNEL, JOB_FILE, PREFIX, RESULT_FILE, Account, asking
from quantbench.plugins.protocols import LaunchContext, Output
from quantbench.schema.results import Failure, Job, Result, Run
from quantbench.system.writing import write_atomically

SUMMARY = "SageMaker training jobs, one per run"
NEEDED = ("image", "instance_type", "role")
DEFAULTS: dict[str, JsonValue] = {"max_runtime": 7200, "retries": 2, "spot": False, "tags": {}, "volume_size": 30}
ARGS = (*NEEDED, *DEFAULTS, "bucket", "region", "supported_instructions")
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

logger = logging.getLogger("quantbench")


def check(args: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """See ``protocols.Launcher``; patterns and limits are those of CreateTrainingJob."""
    patterns = {
        "role": (r"arn:aws[a-z\-]*:iam::\d{12}:role/.+", "the ARN of a role, arn:aws:iam::123456789012:role/NAME"),
        "image": (r"\S{1,255}", "the image of the container in a registry, see docs/launchers.md"),
        "instance_type": (r"ml\.[a-z0-9\-]+\.[a-z0-9]+", "an instance type such as ml.c7i.2xlarge"),
        "bucket": (r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", "the name of an S3 bucket"),
        "region": (r"[a-z]{2}(-[a-z]+)+-\d", "a region such as eu-central-1"),
    }
    found = [(name, f"is missing; set {patterns[name][1]}") for name in NEEDED if args.get(name) is None]
    for name, (pattern, meant) in patterns.items():
        value = args.get(name)
        if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            found.append((name, f"is {value!r}; must be {meant}"))
    for name, least in (("max_runtime", 1), ("retries", 0), ("volume_size", 1)):
        value = args.get(name, DEFAULTS[name])
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            found.append((name, f"is {value!r}; must be a whole number, {least} or more"))
    if not isinstance(args.get("spot", False), bool):
        found.append(("spot", f"is {args['spot']!r}; must be true or false"))
    tags = args.get("tags") or {}
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        found.append(("tags", f"is {tags!r}; must map names to texts"))
    return found


def requests(runs: Sequence[Run], output: Output) -> list[dict[str, JsonValue]]:
    """The CreateTrainingJob request of each run; the random part of a new name is drawn anew at every call."""
    if not runs:
        return []
    bucket = Account(runs[0].settings.backend.args).bucket_name()
    return [_request(run, _Ticket.of(output, run).name, bucket, output) for run in runs]


def launch(runs: Sequence[Run], context: LaunchContext) -> Iterator[Result]:
    """Connect to the account and its bucket; see ``protocols.Launcher``."""
    account = Account(runs[0].settings.backend.args)
    account.open_bucket()
    return _Jobs(account, runs, context).results()


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
    args = {**DEFAULTS, **run.settings.backend.args}
    root = f"s3://{bucket}/{PREFIX}"
    prefixes = {CONFIG_CHANNEL: f"{root}/jobs/{name}/"}
    inputs = _channels(run, output)
    prefixes |= {channel: f"{root}/inputs/{_archives.content_hash(path)}/" for channel, (_, path) in inputs.items()}
    stopping = {"MaxRuntimeInSeconds": args["max_runtime"]}
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": args["image"], "TrainingInputMode": "File"},
        "RoleArn": args["role"],
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
            "InstanceType": args["instance_type"],
            "InstanceCount": 1,
            "VolumeSizeInGB": args["volume_size"],
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": args["spot"],
    }
    if args["spot"]:
        stopping["MaxWaitTimeInSeconds"] = 2 * int(str(args["max_runtime"]))
    tags = args["tags"]
    if isinstance(tags, dict) and tags:
        request["Tags"] = [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]
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
        retries = int(str(self.account.args.get("retries", DEFAULTS["retries"])))
        for key, (run, ticket) in list(self._running.items()):
            told = self._describe(ticket.name) or {"TrainingJobStatus": "Failed", "FailureReason": "the job is gone"}
            status = f"{told['TrainingJobStatus']}, {told.get('SecondaryStatus', '')}"
            if self._status.get(key) != status:
                logger.info("%s: %s", ticket.name, status)
                changed, self._status[key] = True, status
            if told["TrainingJobStatus"] not in ENDED:
                continue
            del self._running[key]
            if _lost(told) and ticket.attempt <= retries:
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
