"""harbor-aws's own exec."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.stack import KubernetesAccess
from harbor_aws.worker.exec.command import run_command
from harbor_aws.worker.exec.command_script import Command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.benchmarks.target import Target


class Ours:
    def __init__(self, cluster: Cluster, pod: str) -> None:
        self._cluster = cluster
        self._pod = pod

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[Ours]:
        access = KubernetesAccess(kubeconfig=target.kubeconfig, namespace=target.namespace)
        async with Cluster.open(access) as cluster:
            yield cls(cluster, target.pod)

    async def run(self, text: str, *, on_output: Callable[[], None] = lambda: None) -> int:
        async def heard(_text: str, _stream: Literal["stdout", "stderr"]) -> None:
            on_output()

        result = await run_command(self._cluster, self._pod, Command(text, {}), on_output=heard)
        return result.exit_code

    def requests(self) -> int | None:
        return self._cluster.requests.total()
