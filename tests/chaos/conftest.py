"""A cluster, a pod of each image, and the proxy through which the code under test reaches them."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.chaos.proxy import ChaosProxy
from tests.chaos.report import Report
from tests.chaos.schedule import calm
from tests.kubernetes import conftest as clusters

from harbor_aws.infra.cluster import Cluster
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    from harbor_aws.infra.stack import KubernetesAccess
    from harbor_aws.worker.pod import Pod

    Record = Callable[[dict[str, Any]], None]

access = clusters.access
"""The fixture of the tests of pods: the embedded cluster, and a real one where there is one."""

_REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash[_REPORT]
    if report.tests:
        terminalreporter.section("chaos")
        for line in report.lines():
            terminalreporter.write_line(line)
        report.write(config.rootpath / "build" / "chaos-connections.json")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Keeps counts of this test for the report."""

    def add(counts: dict[str, Any]) -> None:
        request.config.stash[_REPORT].add(request.node.name, counts)

    return add


@pytest.fixture
def chaos_seed() -> int:
    """What all that is random depends on; ``HARBOR_AWS_TEST_CHAOS_SEED`` names another."""
    return int(os.environ.get("HARBOR_AWS_TEST_CHAOS_SEED", "20250719"))


@pytest.fixture
def is_real(request: pytest.FixtureRequest) -> bool:
    """Whether the cluster is a real one, which bears less load."""
    return bool(request.node.callspec.params["access"] == "real")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_proxy(access: KubernetesAccess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChaosProxy]:
    """The proxy of all tests of a module; each uses it as ``proxy``."""
    async with ChaosProxy.open(access, kubeconfig=tmp_path_factory.mktemp("chaos") / "kubeconfig") as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: ChaosProxy, record: Record) -> Iterator[ChaosProxy]:
    """The proxy, without faults before and after the test, and its counts in the report."""
    shared_proxy.counts = Counter()
    accepted = shared_proxy.accepted
    yield shared_proxy
    shared_proxy.schedule = calm
    if shared_proxy.counts:
        record({"connections": shared_proxy.accepted - accepted, "faults": dict(shared_proxy.counts)})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keeper(shared_proxy: ChaosProxy) -> AsyncIterator[PodKeeper]:
    """A pod keeper as a worker has it, but through the proxy, its watch too."""
    async with PodKeeper.open(shared_proxy.access, worker=f"chaos-{uuid.uuid4().hex[:8]}") as pods:
        yield pods


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def debian(keeper: PodKeeper) -> AsyncIterator[Pod]:
    """A running pod with bash, GNU tar and setpriv."""
    async with clusters.running_pod(keeper, clusters.DEBIAN) as pod:
        yield pod


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def busybox(keeper: PodKeeper) -> AsyncIterator[Pod]:
    """A running pod with nothing but BusyBox."""
    async with clusters.running_pod(keeper, clusters.BUSYBOX) as pod:
        yield pod


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def direct(access: KubernetesAccess) -> AsyncIterator[Cluster]:
    """The cluster without the proxy, to see what really became of things."""
    async with Cluster.open(access) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(shared_proxy: ChaosProxy) -> AsyncIterator[Cluster]:
    """The cluster through the proxy, by a new pool: every exec makes a connection, which meets the next fault."""
    async with Cluster.open(shared_proxy.access) as through:
        yield through
