"""Clusters to test against, and pods in them.

The embedded one, and a real one if ``HARBOR_AWS_TEST_KUBECONFIG`` names the kubeconfig of a cluster that has the images
``debian:bookworm`` and ``busybox:latest``. Every run works in a namespace of its own, and removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.integration.embedded_kubernetes import embedded_kubernetes

from harbor_aws.infra.cluster import Cluster, ObjectNotFoundError
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.stack import KubernetesAccess
from harbor_aws.worker.pod_spec import PodOwner, PodRequest
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from harbor_aws.worker.pod import Pod

    MakeRequest = Callable[..., PodRequest]
    RunPod = Callable[..., AbstractAsyncContextManager[Pod]]

DEBIAN = "debian:bookworm"
BUSYBOX = "busybox:latest"

SMALLEST = FargateSize(250, 512)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("embedded", marks=[pytest.mark.root, pytest.mark.slow]),
        pytest.param("real", marks=pytest.mark.kubernetes),
    ],
)
def access(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesAccess]:
    """A namespace of this run's own in the cluster under test."""
    if request.param == "embedded":
        directory = tmp_path_factory.mktemp("embedded")
        with embedded_kubernetes(directory, rootfs={BUSYBOX: busybox_root(tmp_path_factory)}) as kubeconfig:
            yield from _own_namespace(kubeconfig)
    elif kubeconfig_of_real := os.environ.get("HARBOR_AWS_TEST_KUBECONFIG"):
        yield from _own_namespace(Path(kubeconfig_of_real))
    else:
        pytest.skip("HARBOR_AWS_TEST_KUBECONFIG names no cluster")


def _own_namespace(kubeconfig: Path) -> Iterator[KubernetesAccess]:
    made = KubernetesAccess(kubeconfig=kubeconfig, namespace=f"harbor-aws-test-{uuid.uuid4().hex[:8]}")
    asyncio.run(_make_namespace(made))
    yield made
    asyncio.run(_remove_namespace(made))


def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with nothing but BusyBox, from this machine's own static one."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("there is no busybox on this machine (Debian's package busybox-static)")
    root = tmp_path_factory.mktemp("busybox")
    for directory in ("bin", "etc", "root", "tmp"):
        (root / directory).mkdir()
    root.chmod(0o755)
    (root / "tmp").chmod(0o1777)
    shutil.copy(program, root / "bin" / "busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
    for applet in subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    return root


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keeper(access: KubernetesAccess) -> AsyncIterator[PodKeeper]:
    """A pod keeper for the tests of one module."""
    async with PodKeeper.open(access, worker=f"test-{uuid.uuid4().hex[:8]}") as pods:
        yield pods


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def debian(keeper: PodKeeper) -> AsyncIterator[Pod]:
    """A running pod with bash, GNU tar and setpriv."""
    async with running_pod(keeper, DEBIAN) as pod:
        yield pod


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def busybox(keeper: PodKeeper) -> AsyncIterator[Pod]:
    """A running pod with nothing but BusyBox."""
    async with running_pod(keeper, BUSYBOX) as pod:
        yield pod


@pytest_asyncio.fixture(loop_scope="module")
async def doomed(keeper: PodKeeper) -> AsyncIterator[Pod]:
    """A running pod that its test may ruin."""
    async with running_pod(keeper, BUSYBOX) as pod:
        yield pod


@pytest.fixture(scope="session")
def make_request() -> MakeRequest:
    """Makes the request for a small pod of its own."""
    return pod_request


@pytest.fixture(scope="session")
def run_pod() -> RunPod:
    """Makes a pod that runs for the length of an ``async with``."""
    return running_pod


def pod_request(keeper: PodKeeper, image: str, *, memory_mib: int | None = None) -> PodRequest:
    """A small pod of its own."""
    trial = f"trial-{uuid.uuid4().hex[:8]}"
    return PodRequest(
        owner=PodOwner(
            job="tests", trial=trial, attempt_id=f"01-{trial}", worker=keeper.worker, session=f"{trial}__env"
        ),
        image=image,
        size=SMALLEST,
        deadline_seconds=900,
        cpus=0.5,
        memory_mib=memory_mib or 1024,  # where a pod's files are in memory, they count
    )


@contextlib.asynccontextmanager
async def running_pod(keeper: PodKeeper, image: str, *, memory_mib: int | None = None) -> AsyncIterator[Pod]:
    pod = await keeper.create(pod_request(keeper, image, memory_mib=memory_mib))
    try:
        await keeper.wait_until_running(pod, timeout_seconds=60)
        yield pod
    finally:
        await keeper.delete(pod.name)


async def _make_namespace(access: KubernetesAccess) -> None:
    async with Cluster.open(access) as cluster:
        await cluster.ensure_namespace()


async def _remove_namespace(access: KubernetesAccess) -> None:
    async with Cluster.open(access) as cluster:
        with contextlib.suppress(ObjectNotFoundError):
            await cluster.request("DELETE", f"/api/v1/namespaces/{access.namespace}")
