"""The two servers of a local stack: moto for SQS and S3, and the embedded Kubernetes."""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from harbor_aws.infra.aws import s3_client, sqs_client
from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.infra.local import processes
from harbor_aws.infra.local.kubernetes.pods.cgroup import RECORD, remove_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mypy_boto3_sqs.literals import QueueAttributeNameType

    from harbor_aws.infra.stack import Stack

AWS = "aws"
KUBERNETES = "kubernetes"
PARTS = (AWS, KUBERNETES)

START_SECONDS = 60
"""How long a part may take to answer; both take one or two on an idle machine."""

RETENTION_SECONDS = 14 * 24 * 3600
"""The longest that SQS keeps a message.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

MAX_RECEIVES = 20
"""Receives after which SQS itself moves a message to the dead-letter queue: for messages that kill their workers.
Handing a trial back counts as a receive, so this is well above the attempts that a trial has."""


class PartFailedError(InfrastructureError):
    """A part of the local stack did not come up; the message has the end of its log."""


def start_aws(directory: Path) -> str:
    """Start moto's server on a free port of the loopback interface; its URL."""
    port = _free_port()
    processes.start(AWS, [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], directory=directory)
    _wait(directory, AWS, lambda: _listens(port))
    return f"http://127.0.0.1:{port}"


def start_kubernetes(directory: Path, *, rootfs: Mapping[str, Path]) -> Path:
    """Start the embedded Kubernetes; the kubeconfig that it wrote."""
    state = directory / KUBERNETES
    state.mkdir(parents=True, exist_ok=True)
    kubeconfig = state / "kubeconfig"
    kubeconfig.unlink(missing_ok=True)
    images = [argument for image, path in rootfs.items() for argument in ("--rootfs", f"{image}={path}")]
    command = [sys.executable, "-m", "harbor_aws.infra.local.kubernetes", "--state-dir", str(state), "--port", "0"]
    processes.start(KUBERNETES, [*command, *images], directory=directory)
    _wait(directory, KUBERNETES, kubeconfig.exists)
    return kubeconfig


def remove_control_groups(directory: Path) -> None:
    """Remove what an embedded Kubernetes that was killed has left of its pods' memory limits."""
    remove_groups(directory / KUBERNETES / RECORD)


def create_queues_and_bucket(stack: Stack, *, visibility_timeout_seconds: int) -> Stack:
    """Make what a deployed stack has: the queue with its redrive policy, the dead-letter queue, the bucket."""
    sqs = sqs_client(stack)
    retention: dict[QueueAttributeNameType, str] = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
    try:
        dead_letters = sqs.create_queue(QueueName="harbor-aws-dead-letters", Attributes=retention)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
        queue = sqs.create_queue(
            QueueName="harbor-aws-trials",
            Attributes={
                **retention,
                "VisibilityTimeout": str(visibility_timeout_seconds),
                "RedrivePolicy": redrive,
            },
        )["QueueUrl"]
        s3_client(stack).create_bucket(Bucket=stack.bucket)
    except (ClientError, BotoCoreError) as error:
        raise PartFailedError(f"The queues and the bucket were not made: {error}") from error
    return stack.model_copy(update={"queue_url": queue, "dead_letter_queue_url": dead_letters})


def _wait(directory: Path, part: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if not processes.is_running(directory, part):
            _fail(directory, part, "ended")
        if time.monotonic() > deadline:
            _fail(directory, part, f"was not ready within {START_SECONDS} s")
        time.sleep(0.05)


def _fail(directory: Path, part: str, what: str) -> NoReturn:
    tail = processes.log_tail(directory, part)
    raise PartFailedError(f"The local stack's {part} {what}. The end of its log:\n{tail}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
