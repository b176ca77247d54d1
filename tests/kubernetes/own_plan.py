"""A stack in namespaces of its own, for tests that put a deployment's objects on a cluster."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.unit.infra.deploy.watching import Memory

from harbor_aws.infra.deploy.manifests.plan import ClusterPlan
from harbor_aws.infra.deploy.removal import remove_objects
from harbor_aws.infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor_aws.infra.stack import KubernetesAccess

ROLE = "arn:aws:iam::123456789012:role/worker"


@contextmanager
def own_plan(access: KubernetesAccess, *, image: str, max_vcpus: int = 2) -> Iterator[ClusterPlan]:
    """The plan of such a stack, of which nothing is there yet, and nothing stays."""
    name = f"t{uuid.uuid4().hex[:6]}"
    stack = Stack(
        name=name,
        region="eu-west-1",
        queue_url="q",
        dead_letter_queue_url="d",
        bucket="b",
        trials=access.model_copy(update={"namespace": f"{name}-trials"}),
        workers=access.model_copy(update={"namespace": f"{name}-workers"}),
    )
    yield ClusterPlan(
        stack=stack,
        worker_image=image,
        worker_role_arn=ROLE,
        trials_security_group="sg-1",
        log_group=f"/harbor-aws/{name}/pods",
        max_vcpus=max_vcpus,
        drain_seconds=5,
    )
    asyncio.run(remove_objects(stack, watcher=Memory()))
