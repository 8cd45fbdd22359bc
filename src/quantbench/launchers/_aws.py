"""The AWS account that training jobs run in: its jobs, and the bucket of their files.

Credentials are found by boto3 as always (environment, profile, instance role) and are stored and written nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantbench.errors import BadInput, Mistake

PREFIX = "quantbench"
"""First part of all keys in the bucket and of all job names."""
CONFIG_CHANNEL, JOB_FILE, RESULT_FILE = "config", "job.json", "result.json"
"""The channel with a job's document, that document, and the one that comes back; see ``_sagemaker_container``."""


def mistake(argument: str, message: str) -> BadInput:
    """A mistake at an argument of the backend, or at all of them where none is named."""
    return BadInput([Mistake(f"backend.args.{argument}".rstrip("."), message)])


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn what AWS answers to a request that cannot be served into one message.

    Raises:
        BadInput: instead of botocore's errors.

    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        reason = " ".join(str(error).split())
        raise mistake("", f"AWS refuses {what}: {reason}; see the permissions in docs/launchers.md") from error


class Account:
    """The AWS account: its training jobs and the bucket of their files.

    ``region`` and ``bucket`` are those that the user named; None for what the environment and SageMaker say.
    """

    def __init__(self, region: str | None = None, bucket: str | None = None) -> None:
        import boto3
        from botocore.config import Config

        session = boto3.session.Session(region_name=region)
        if session.region_name is None:
            raise mistake("region", "is not set, and AWS_REGION or your AWS profile names none; set one")
        if session.get_credentials() is None:
            raise mistake("", "no AWS credentials are found; log in, such as with 'aws configure' or 'aws sso login'")
        self._named = bucket
        self._session = session
        config = Config(retries={"mode": "adaptive", "max_attempts": 10})
        self.jobs = session.client("sagemaker", config=config)
        self.s3 = session.client("s3", config=config)

    def bucket_name(self) -> str:
        """The bucket that is named, or the one that SageMaker's own tools use by default."""
        if self._named:
            return self._named
        with asking("the account number"):
            account = self._session.client("sts").get_caller_identity()["Account"]
        return f"sagemaker-{self._session.region_name}-{account}"

    def open_bucket(self) -> None:
        """See that the bucket is there; the default one is made if it is not."""
        from botocore.exceptions import ClientError

        self.bucket = self.bucket_name()
        with asking(f"bucket {self.bucket}"):
            try:
                self.s3.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchBucket") or self._named:
                    raise
                region = self._session.region_name
                where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
                self.s3.create_bucket(Bucket=self.bucket, **where)

    def upload(self, path: Path, content: str) -> None:
        """Upload a file or the files of a folder under their hash, unless all of them are there."""
        whole = f"{PREFIX}/inputs/{content}.whole"
        if self.read(whole) is not None:
            return
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                name = file.relative_to(path) if path.is_dir() else file.name
                self.s3.upload_file(str(file), self.bucket, f"{PREFIX}/inputs/{content}/{name}")
        self.write(whole, b"")

    def write(self, key: str, data: bytes) -> None:
        """Store an object."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def read(self, key: str) -> bytes | None:
        """An object's bytes, None if there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise

    def output(self, name: str, archive: str) -> bytes | None:
        """An archive that a job left: ``output.tar.gz`` or ``model.tar.gz``."""
        return self.read(f"{PREFIX}/output/{name}/output/{archive}")
