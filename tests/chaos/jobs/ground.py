"""What jobs run on: a server of SQS and S3, and a cluster."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
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
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _listens(address, port):
                assert server.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server did not start"
                time.sleep(0.05)
            yield f"http://{address}:{port}"
        finally:
            server.terminate()


async def _remove(access: KubernetesAccess) -> None:
    async with Cluster.open(access) as cluster:
        with suppress(ObjectNotFoundError):
            await cluster.request("DELETE", f"/api/v1/namespaces/{access.namespace}")


def _namespace(kubeconfig: Path) -> KubernetesAccess:
    return KubernetesAccess(kubeconfig=kubeconfig, namespace=f"harbor-aws-chaos-{uuid4().hex[:8]}")


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, port)) == 0


def _launcher(state: Path) -> int | None:
    """A descendant of the server whose state is in that directory, once there has been a pod."""
    commands = {int(path.name): _words(path) for path in Path("/proc").glob("[0-9]*")}
    server = next(pid for pid, words in commands.items() if str(state) in words and "--state-dir" in words)
    launchers = (pid for pid, words in commands.items() if any(word.endswith(".launcher") for word in words))
    return next((pid for pid in launchers if server in _ancestors(pid)), None)


def _words(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().split("\0")
    except OSError:
        return []


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield pid
