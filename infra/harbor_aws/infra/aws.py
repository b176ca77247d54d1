"""The one place that makes AWS clients: sessions, time-outs and retries are decided here."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import boto3
from boto3.exceptions import Boto3Error as TransferManagerError
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from harbor_aws.infra.stack import Stack

__all__ = ["LONG_POLL_SECONDS", "TransferManagerError", "s3_client", "sqs_client"]

LONG_POLL_SECONDS = 20
"""The longest that SQS holds a ReceiveMessage.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html"""

DEFAULT_ATTEMPTS = 4
"""How often botocore tries a request that failed in a way worth another try, the first included."""


def sqs_client(
    stack: Stack,
    *,
    read_timeout_seconds: float = LONG_POLL_SECONDS + 6,
    connections: int = 50,
    attempts: int = DEFAULT_ATTEMPTS,
) -> SQSClient:
    """A thread-safe SQS client of the stack's region and endpoint; no attempt outlives the read time-out."""
    return _session(stack.region, is_emulator=stack.endpoint_url is not None).client(
        "sqs", endpoint_url=stack.endpoint_url, config=_config(read_timeout_seconds, connections, attempts)
    )


def s3_client(stack: Stack, *, read_timeout_seconds: float = 60, connections: int = 50) -> S3Client:
    """A thread-safe S3 client of the stack's region and endpoint; no call outlives the read time-out by itself."""
    return _session(stack.region, is_emulator=stack.endpoint_url is not None).client(
        "s3", endpoint_url=stack.endpoint_url, config=_config(read_timeout_seconds, connections, DEFAULT_ATTEMPTS)
    )


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
