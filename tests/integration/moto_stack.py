"""A stack without a cluster, for tests: queue, dead-letter queue with redrive and bucket on moto's server."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from moto.server import ThreadedMotoServer

from harbor_aws.infra.aws import s3_client, sqs_client
from harbor_aws.infra.stack import KubernetesAccess, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "us-east-1"


@contextmanager
def moto_server() -> Iterator[str]:
    """moto's server on a free port of the loopback; its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make_stack(endpoint_url: str, *, kubeconfig: Path, max_receive_count: int = 10) -> Stack:
    """A stack of its own on the server: fresh queues and a fresh bucket."""
    name = f"test-{uuid4().hex[:8]}"
    access = KubernetesAccess(kubeconfig=kubeconfig)
    bare = Stack(
        name=name,
        region=REGION,
        queue_url="",
        dead_letter_queue_url="",
        bucket=f"harbor-aws-{name}",
        endpoint_url=endpoint_url,
        trials=access,
        workers=access,
    )
    sqs = sqs_client(bare)
    dead_letters = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count})
    queue = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "120"})
    s3_client(bare).create_bucket(Bucket=bare.bucket)
    return bare.model_copy(update={"queue_url": queue["QueueUrl"], "dead_letter_queue_url": dead_letters})
