"""Pods without a network on the embedded Kubernetes' runtime: what works in them, and what they cannot reach."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.test_containers import Pods

from harbor_aws.infra.labels import NETWORK_LABEL, NO_NETWORK
from harbor_aws.infra.local.kubernetes.pods.containers import ContainerRuntime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")]

WITHOUT = {NETWORK_LABEL: NO_NETWORK}


@pytest.fixture
async def pods(tmp_path: Path) -> AsyncIterator[Pods]:
    runtime = ContainerRuntime(tmp_path / "state", {})
    yield Pods(runtime)
    await runtime.close()


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine's loopback interface on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def reaches(port: int) -> tuple[str, ...]:
    return ("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}")


async def test_a_pod_without_a_network_reaches_nobody(pods: Pods, listener: int) -> None:
    """Not even this machine's own loopback interface, which the pod beside it reaches."""
    await pods.running("open")
    await pods.running("shut", labels=WITHOUT)
    assert (await pods.exec("open", *reaches(listener)))[0] == 0
    code, _, said = await pods.exec("shut", *reaches(listener))
    assert (code != 0, b"refused" in said) == (True, True)
    code, interfaces, _ = await pods.exec("shut", "cat", "/proc/net/dev")
    assert [line.split(":")[0].strip() for line in interfaces.decode().splitlines()[2:]] == ["lo"]
    assert len(Path("/proc/net/dev").read_text().splitlines()) > 3  # this machine has more


async def test_what_works_without_a_network(pods: Pods) -> None:
    """Exec with stdin, files by tar, a server of the pod's own on its loopback interface."""
    await pods.running("shut", labels=WITHOUT)
    code, copied, _ = await pods.exec("shut", "sh", "-c", "cat > /tmp/x && tar -c -C /tmp x | tar -xO", stdin=b"hello")
    assert (code, copied) == (0, b"hello")
    server = "import socket; s = socket.create_server(('127.0.0.1', 80)); socket.create_connection(('127.0.0.1', 80))"
    assert (await pods.exec("shut", "python3", "-c", server))[0] == 0


async def test_containers_of_a_pod_share_their_loopback_interface(pods: Pods) -> None:
    """As on every Kubernetes, at the latest when one is started again beside the other; other pods have others."""
    listen = "import socket; s = socket.create_server(('', 81)); s.accept(); print('joined', flush=True); s.accept()"
    join = "sleep 0.3; exec 3<>/dev/tcp/127.0.0.1/81 && exec sleep infinity"
    side = {"name": "side", "image": "any", "command": ["bash", "-c", join]}
    main = {"name": "main", "image": "any", "command": ["python3", "-c", listen]}
    await pods.running("other", labels=WITHOUT)
    await pods.running("two", labels=WITHOUT, containers=[main, side], restartPolicy="Always")
    async with asyncio.timeout(30):
        while b"joined" not in await pods.log("two"):
            await asyncio.sleep(0.05)
    assert (await pods.exec("other", *reaches(81)))[0] != 0
