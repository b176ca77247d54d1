"""What jobs run on: a server of SQS and S3, and a cluster."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.chaos.jobs.workload import NOWHERE
from tests.integration.embedded_kubernetes import embedded_kubernetes

from harbor_aws.infra.cluster import Cluster, ObjectNotFoundError
from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ground:
    """Real servers."""

    aws: str
    """URL of moto's server."""
    access: KubernetesAccess
    """A namespace of its own."""
    launcher: Callable[[], int | None]
    """Pid of the process that starts the embedded cluster's pods, now."""
    unpullable: str
    """What a worker takes it for when an image comes from :data:`~tests.chaos.jobs.workload.NOWHERE`."""


@contextmanager
def embedded_ground(directory: Path) -> Iterator[Ground]:
    """moto and the embedded Kubernetes, as processes of their own."""
    nowhere = directory / "nowhere.tar"
    nowhere.write_text("no archive")
    state = directory / "kubernetes"
    state.mkdir()
    with moto() as aws, embedded_kubernetes(state, rootfs={NOWHERE: nowhere}) as kubeconfig:
        yield Ground(aws, _namespace(kubeconfig), lambda: _launcher(state), unpullable="ImagePullError")


@contextmanager
def real_ground(kubeconfig: Path) -> Iterator[Ground]:
    """moto, and a cluster that is there already, in which nothing is left."""
    access = _namespace(kubeconfig)
    with moto() as aws:
        try:
            yield Ground(aws, access, lambda: None, unpullable="RegistryError")
        finally:
            asyncio.run(_remove(access))


@contextmanager
def moto(address: str = "127.0.0.1") -> Iterator[str]:
    """moto's server as a process of its own, listening on an address of this machine; its URL."""
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", "0"]
    with (
        tempfile.NamedTemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log) as server,
    ):
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not (url := re.search(rf"http://{re.escape(address)}:\d+", Path(log.name).read_text())):
                assert server.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server did not start"
                time.sleep(0.05)
            yield url[0]
        finally:
            server.terminate()


async def _remove(access: KubernetesAccess) -> None:
    async with Cluster.open(access) as cluster:
        with suppress(ObjectNotFoundError):
            await cluster.request("DELETE", f"/api/v1/namespaces/{access.namespace}")


def _namespace(kubeconfig: Path) -> KubernetesAccess:
    return KubernetesAccess(kubeconfig=kubeconfig, namespace=f"harbor-aws-chaos-{uuid4().hex[:8]}")


def _launcher(state: Path) -> int | None:
    """Of the server whose state is in that directory, once there has been a pod. The server's own child only waits for
    it; its children, which have its command line until a container's program replaces them, are the containers."""
    commands = {int(path.name): _words(path) for path in Path("/proc").glob("[0-9]*")}
    server = next(pid for pid, words in commands.items() if str(state) in words and "--state-dir" in words)
    parents = {
        pid: _parent(pid) for pid, words in commands.items() if any(word.endswith(".launcher") for word in words)
    }
    return next((pid for pid, parent in parents.items() if parents.get(parent) == server), None)


def _words(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _parent(pid: int) -> int:
    """0 if it has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
