"""The one place that makes AWS clients: sessions, time-outs and retries are decided here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import boto3
from boto3.exceptions import Boto3Error as TransferManagerError
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from botocore.awsrequest import AWSRequest
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_codebuild import CodeBuildClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_eks import EKSClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

__all__ = [
    "LONG_POLL_SECONDS",
    "Account",
    "Credentials",
    "TransferManagerError",
    "cloudformation_client",
    "cloudwatch_client",
    "codebuild_client",
    "configured_region",
    "ec2_client",
    "ecr_client",
    "eks_client",
    "found_credentials",
    "iam_client",
    "logs_client",
    "presigned_identity",
    "quotas_client",
    "s3_client",
    "secretsmanager_client",
    "sqs_client",
    "sts_client",
]

LONG_POLL_SECONDS = 20
"""The longest that SQS holds a ReceiveMessage.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html"""

DEFAULT_ATTEMPTS = 4
"""How often botocore tries a request that failed in a way worth another try, the first included."""


class Place(Protocol):
    """Where a client's service is: a stack says it, or an :class:`Account`."""

    @property
    def region(self) -> str: ...

    @property
    def endpoint_url(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where this process's credentials come from, and how long they last."""

    source: str
    """As botocore calls it: ``env``, ``shared-credentials-file``, ``sso``, ``assume-role``, ``iam-role``, …"""
    is_temporary: bool
    expires_at: datetime | None
    """``None``: never, or botocore does not know."""

    @property
    def renews_itself(self) -> bool:
        """Whether botocore fetches others when these run out; of variables it can only read the same ones again."""
        return self.expires_at is not None and self.source != "env"


@dataclass(frozen=True, slots=True)
class Account:
    """A region of the account that AWS's own configuration names; also where ``AWS_ENDPOINT_URL`` is, if it is set."""

    region: str
    endpoint_url: str | None = None


def configured_region() -> str | None:
    """The region that AWS's own configuration names (``AWS_REGION``, ``AWS_DEFAULT_REGION``, the profile), if any.

    Raises:
        UsageError: the configuration cannot be used.
    """
    try:
        # Of the two variables botocore itself reads the second alone.
        return os.environ.get("AWS_REGION") or boto3.Session().region_name
    except BotoCoreError as error:
        raise UsageError(f"AWS's configuration cannot be used: {error}. Look at AWS_PROFILE and ~/.aws.") from error


def sqs_client(
    stack: Place,
    *,
    read_timeout_seconds: float = LONG_POLL_SECONDS + 6,
    connections: int = 50,
    attempts: int = DEFAULT_ATTEMPTS,
) -> SQSClient:
    """A thread-safe SQS client of the stack's region and endpoint; no attempt outlives the read time-out."""
    return _session(stack.region, is_emulator=stack.endpoint_url is not None).client(
        "sqs", endpoint_url=stack.endpoint_url, config=_config(read_timeout_seconds, connections, attempts)
    )


def s3_client(stack: Place, *, read_timeout_seconds: float = 60, connections: int = 50) -> S3Client:
    """A thread-safe S3 client of the stack's region and endpoint; no call outlives the read time-out by itself."""
    return _session(stack.region, is_emulator=stack.endpoint_url is not None).client(
        "s3", endpoint_url=stack.endpoint_url, config=_config(read_timeout_seconds, connections, DEFAULT_ATTEMPTS)
    )


def secretsmanager_client(stack: Place) -> SecretsManagerClient:
    """A client of the stack's region and endpoint."""
    return _session(stack.region, is_emulator=stack.endpoint_url is not None).client(
        "secretsmanager", endpoint_url=stack.endpoint_url, config=_config(10, 10, DEFAULT_ATTEMPTS)
    )


def cloudformation_client(account: Account) -> CloudFormationClient:
    return _session(account.region, is_emulator=False).client("cloudformation", config=_config(60, 10, 8))


def codebuild_client(account: Account) -> CodeBuildClient:
    return _session(account.region, is_emulator=False).client("codebuild", config=_config(60, 10, 8))


def ec2_client(account: Account) -> EC2Client:
    return _session(account.region, is_emulator=False).client("ec2", config=_config(60, 10, DEFAULT_ATTEMPTS))


def ecr_client(account: Account) -> ECRClient:
    return _session(account.region, is_emulator=False).client("ecr", config=_config(60, 10, DEFAULT_ATTEMPTS))


def eks_client(account: Account) -> EKSClient:
    return _session(account.region, is_emulator=False).client("eks", config=_config(60, 10, DEFAULT_ATTEMPTS))


def iam_client(account: Account) -> IAMClient:
    return _session(account.region, is_emulator=False).client("iam", config=_config(60, 10, DEFAULT_ATTEMPTS))


def cloudwatch_client(account: Account) -> CloudWatchClient:
    return _session(account.region, is_emulator=False).client("cloudwatch", config=_config(60, 10, DEFAULT_ATTEMPTS))


def quotas_client(account: Account) -> ServiceQuotasClient:
    session = _session(account.region, is_emulator=False)
    return session.client("service-quotas", config=_config(60, 10, DEFAULT_ATTEMPTS))


def sts_client(account: Account) -> STSClient:
    """A client of the region's own STS."""
    return _session(account.region, is_emulator=False).client("sts", config=_config(60, 10, DEFAULT_ATTEMPTS))


def logs_client(account: Account) -> CloudWatchLogsClient:
    return _session(account.region, is_emulator=False).client("logs", config=_config(60, 10, DEFAULT_ATTEMPTS))


def found_credentials(account: Account) -> Credentials | None:
    """The credentials that clients of this account use; ``None`` if there are none. Blocking: some are fetched.

    Raises:
        botocore.exceptions.BotoCoreError: there should be some, and they cannot be had.
    """
    credentials = _session(account.region, is_emulator=False).get_credentials()
    if credentials is None:
        return None
    frozen = credentials.get_frozen_credentials()
    expires_at: datetime | None = getattr(credentials, "_expiry_time", None)  # private: then nothing is known of it
    return Credentials(source=credentials.method, is_temporary=frozen.token is not None, expires_at=expires_at)


def presigned_identity(*, region: str, cluster: str, valid_seconds: int) -> str:
    """A URL by which an EKS cluster learns from STS who this is; nobody else's cluster takes it.

    Blocking; without a request of its own, but credentials may have to be renewed.
    """
    return _identity_client(region, cluster).generate_presigned_url(
        "get_caller_identity", ExpiresIn=valid_seconds, HttpMethod="GET"
    )


@cache
def _identity_client(region: str, cluster: str) -> STSClient:
    """A client of the region's own STS, whose signatures name the cluster."""

    def name_cluster(request: AWSRequest, **_: object) -> None:
        request.headers["x-k8s-aws-id"] = cluster

    client = _session(region, is_emulator=False).client("sts", config=_config(60, 10, DEFAULT_ATTEMPTS))
    client.meta.events.register("before-sign.sts.GetCallerIdentity", name_cluster)
    return client


@cache
def _session(region: str, *, is_emulator: bool) -> boto3.Session:
    """One session, and so one copy of the services' models, for all clients of a process."""
    if not is_emulator:
        return boto3.Session(region_name=region)
    # An emulator takes any credentials, and must never be sent the user's own.
    return boto3.Session(region_name=region, aws_access_key_id="local", aws_secret_access_key="local")  # noqa: S106 - no secret


def _config(read_timeout_seconds: float, connections: int, attempts: int) -> Config:
    return Config(
        connect_timeout=3,
        read_timeout=read_timeout_seconds,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": attempts},
        s3={"addressing_style": "path"},
    )
