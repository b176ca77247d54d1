"""harbor-aws's own transfers."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.transfer_peers.peer import OwnMemory

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.stack import KubernetesAccess
from harbor_aws.worker.transfer.download import download_directory, download_file
from harbor_aws.worker.transfer.upload import upload_directory, upload_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.benchmarks.target import Target


class Ours:
    def __init__(self, cluster: Cluster, pod: str) -> None:
        self._cluster = cluster
        self._pod = pod
        self.memory = OwnMemory()

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[Ours]:
        access = KubernetesAccess(kubeconfig=target.kubeconfig, namespace=target.namespace)
        async with Cluster.open(access) as cluster:
            yield cls(cluster, target.pod)

    async def warm_up(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            await self.upload(Path(file.name), "/tmp/warm-up")
            await self.download("/tmp/warm-up", Path(file.name), directory=False)

    async def upload(self, source: Path, target: str) -> None:
        send = upload_directory if source.is_dir() else upload_file
        await send(self._cluster, self._pod, source, target)

    async def download(self, source: str, target: Path, *, directory: bool) -> None:
        fetch = download_directory if directory else download_file
        await fetch(self._cluster, self._pod, source, target)

    def requests(self) -> int | None:
        return self._cluster.requests.total()
