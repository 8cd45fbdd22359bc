"""SageMaker as far as training jobs go: moto's server over real HTTP, and a platform that does with jobs what AWS would.

moto keeps jobs and buckets; what it does not do is run a job. Here each job that is created is executed from S3 as the
container would be: channels laid out below a folder like ``/opt/ml``, the entry point in a process of its own without
credentials, outputs packed and uploaded, status and reason set.
"""

import io
import json
import os
import queue
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import boto3
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.server import ThreadedMotoServer

ACCOUNT, REGION = "123456789012", "us-east-1"
SECRET = "very-secret-key-of-the-tests"
ARGS = {
    "instance_type": "ml.c7i.large",
    "role": f"arn:aws:iam::{ACCOUNT}:role/quantbench",
    "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/quantbench:test",
    "bucket": "quantbench-tests",
}
FAIL, STOP, INTERRUPT, WAIT = "fail", "stop", "interrupt", "wait"


class Platform:
    """The service; ``behaviours`` says by a part of a job's run name what happens to its first attempts."""

    def __init__(self, root: Path, behaviours=None):
        self.root = root
        self.behaviours = {part: list(steps) for part, steps in (behaviours or {}).items()}
        self.created = []
        self.requests = []
        self.throttled = 0
        self.go_on = threading.Event()
        self._queue = queue.SimpleQueue()

    def __enter__(self):
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self._server._server.app = self._throttling(self._server._server.app)
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())
        self._create = SageMakerModelBackend.create_training_job
        platform = self

        def create(backend, **request):
            return platform._created(backend, **request)

        SageMakerModelBackend.create_training_job = create
        self.s3 = boto3.client(
            "s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id="id", aws_secret_access_key=SECRET
        )
        self.s3.create_bucket(Bucket=ARGS["bucket"])
        threading.Thread(target=self._work, daemon=True).start()
        return self

    def __exit__(self, *_):
        SageMakerModelBackend.create_training_job = self._create
        self._queue.put(None)
        self._server.stop()
        sagemaker_backends.reset()

    @property
    def environment(self):
        """Variables that a user would have."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIATESTS",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def throttle(self, count):
        """Refuse the next calls of SageMaker's API."""
        self.throttled = count

    def _throttling(self, application):
        def answer(environ, start_response):
            target = environ.get("HTTP_X_AMZ_TARGET", "")
            if self.throttled and target.startswith("SageMaker."):
                self.throttled -= 1
                body = json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"}).encode()
                start_response("400 BAD REQUEST", [("Content-Type", "application/x-amz-json-1.1")])
                return [body]
            return application(environ, start_response)

        return answer

    def _created(self, backend, **request):
        job = self._create(backend, **request)
        job.training_job_status, job.secondary_status = "InProgress", "Starting"
        self.created.append(job)
        self.requests.append(request)
        self._queue.put(job)
        return job

    def _work(self):
        while (job := self._queue.get()) is not None:
            part = next((part for part in self.behaviours if part in job.hyper_parameters["run"]), None)
            steps = self.behaviours.get(part) or []
            step = steps.pop(0) if steps else "run"
            if step == WAIT:
                self.go_on.wait(120)
            if step in ("run", WAIT):
                self._run(job)
            else:
                time.sleep(1)
                self._end(job, *ENDINGS[step])

    def _end(self, job, status, secondary, reason):
        job.failure_reason = reason
        job.training_job_status, job.secondary_status = status, secondary

    def _run(self, job):
        begin = time.time()
        root = self.root / job.training_job_name
        self._lay_out(job, root)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            [sys.executable, "-m", "quantbench.launchers._sagemaker_container"],
            env={**variables, "QUANTBENCH_ML_ROOT": str(root), "QUANTBENCH_CACHE": str(self.root / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        (root / "log").write_text(done.stdout + done.stderr)
        _, _, rest = job.output_data_config["S3OutputPath"].partition("s3://")
        bucket, _, prefix = rest.partition("/")
        for folder, name in ((root / "model", "model.tar.gz"), (root / "output" / "data", "output.tar.gz")):
            self.s3.put_object(
                Bucket=bucket, Key=f"{prefix}/{job.training_job_name}/output/{name}", Body=archive(folder)
            )
        job.training_time_in_seconds = job.billable_time_in_seconds = int(time.time() - begin) + 1
        failure = root / "output" / "failure"
        if done.returncode == 0:
            self._end(job, "Completed", "Completed", None)
        else:
            reason = failure.read_text()[:1024] if failure.exists() else ""
            self._end(job, "Failed", "Failed", f"AlgorithmError: {reason}, exit code: {done.returncode}")

    def _lay_out(self, job, root):
        for name in ("input/config", "input/data", "model", "output/data"):
            (root / name).mkdir(parents=True)
        for channel in job.input_data_config:
            _, _, rest = channel["DataSource"]["S3DataSource"]["S3Uri"].partition("s3://")
            bucket, _, prefix = rest.partition("/")
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    path = root / "input/data" / channel["ChannelName"] / entry["Key"].removeprefix(prefix)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self.s3.download_file(bucket, entry["Key"], str(path))
        config = root / "input/config"
        (config / "hyperparameters.json").write_text(json.dumps(job.hyper_parameters))
        (config / "inputdataconfig.json").write_text(json.dumps({c["ChannelName"]: {} for c in job.input_data_config}))
        kind = job.resource_config["InstanceType"]
        told = {"current_host": "algo-1", "hosts": ["algo-1"], "current_instance_type": kind}
        (config / "resourceconfig.json").write_text(json.dumps(told))


ENDINGS = {
    FAIL: ("Failed", "Failed", "ClientError: the image could not be pulled"),
    STOP: ("Stopped", "Stopped", None),
    INTERRUPT: ("Stopped", "Interrupted", None),
}


def archive(folder):
    """A folder as the platform packs it: gzip, with an entry for the folder itself."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        packed.add(folder, arcname=".")
    return buffer.getvalue()
