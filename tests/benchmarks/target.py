"""Where the benchmarks run: a cluster's API, a namespace and a pod in it."""

from __future__ import annotations

import contextlib
import resource
import tempfile
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.embedded_kubernetes import embedded_kubernetes

from harbor_aws.infra.cluster import ObjectNotFoundError
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.stack import KubernetesAccess
from harbor_aws.worker.pod_spec import PodOwner, PodRequest
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

IMAGE = "debian:bookworm"

MEMORY_MIB = 8192
"""A pod's files are in memory in the embedded cluster, and 500 commands are at least as many processes."""

DEADLINE_SECONDS = 7200


@dataclass(frozen=True, slots=True)
class Target:
    """A running pod, and how to reach it."""

    kubeconfig: Path
    namespace: str
    pod: str


@contextmanager
def cluster_of(kubeconfig: Path | None) -> Iterator[Path]:
    """The kubeconfig of the cluster to measure: the given one, or of an embedded one that runs meanwhile."""
    if kubeconfig is not None:
        yield kubeconfig
        return
    with (
        tempfile.TemporaryDirectory(prefix="harbor-aws-bench-") as directory,
        embedded_kubernetes(Path(directory)) as made,
    ):
        yield made


@asynccontextmanager
async def running_target(kubeconfig: Path) -> AsyncIterator[Target]:
    """A pod in a namespace of its own, both removed at the end."""
    namespace = f"harbor-aws-bench-{uuid.uuid4().hex[:8]}"
    access = KubernetesAccess(kubeconfig=kubeconfig, namespace=namespace)
    async with PodKeeper.open(access, worker="benchmarks") as keeper:
        await keeper.cluster.ensure_namespace()
        try:
            pod = await keeper.create(_request())
            await keeper.wait_until_running(pod, timeout_seconds=120)
            yield Target(kubeconfig, namespace, pod.name)
            await keeper.delete(pod.name)
        finally:
            with contextlib.suppress(ObjectNotFoundError):
                await keeper.cluster.request("DELETE", f"/api/v1/namespaces/{namespace}")


def raise_open_file_limit() -> None:
    """Let this process and its children, the embedded cluster among them, hold as many files open as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _request() -> PodRequest:
    return PodRequest(
        owner=PodOwner(job="benchmarks", trial="one", attempt_id="01-one", worker="benchmarks", session="one__env"),
        image=IMAGE,
        size=FargateSize(1000, MEMORY_MIB + 1024),
        deadline_seconds=DEADLINE_SECONDS,
        cpus=1,
        memory_mib=MEMORY_MIB,
    )
