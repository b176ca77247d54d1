"""Pods that nobody looks after, as ``status`` shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from tests.unit.worker.embedded_api import Faults, serve_api

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.labels import WORKER_LABEL, stack_labels
from harbor_aws.infra.presence import lease, leases_path
from harbor_aws.infra.queues import QueueCounts
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.cli.render import stack_line
from harbor_aws.producer.ownerless import ownerless_pods
from harbor_aws.producer.stackview import StackView
from harbor_aws.producer.workers import WorkerCount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "stack"


class Bench:
    """A cluster with what the test puts there."""

    def __init__(self, cluster: Cluster, stack: Stack, faults: Faults) -> None:
        self.cluster = cluster
        self.stack = stack
        self.faults = faults

    async def make_pod(self, name: str, *, worker: str | None, stack: str = NAME) -> None:
        labels = {**stack_labels(stack), **({WORKER_LABEL: worker} if worker else {})}
        spec = {"containers": [{"name": "main", "image": "i", "command": ["sleep"]}]}
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        await self.cluster.request("POST", self.cluster.pods_path, body=body)

    async def show(self, worker: str, *, seconds_ago: float = 0) -> None:
        body = lease(stack=NAME, worker=worker, duration_seconds=100)
        when = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        body["spec"]["renewTime"] = when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        await self.cluster.request("POST", leases_path(self.cluster.namespace), body=body)


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serve_api(tmp_path) as (access, faults), Cluster.open(access) as cluster:
        await cluster.ensure_namespace()
        stack = Stack(name=NAME, region="x", queue_url="x", dead_letter_queue_url="x", bucket="x", trials=access)
        yield Bench(cluster, stack, faults)


async def test_pods_of_the_living_have_an_owner(bench: Bench) -> None:
    """And those of the dead, and of nobody, have none; other stacks' and workers' own pods are not looked at."""
    await bench.show("alive")
    await bench.show("dead", seconds_ago=200)
    await bench.make_pod("kept", worker="alive")
    await bench.make_pod("b-dead", worker="dead")
    await bench.make_pod("a-gone", worker="gone")
    await bench.make_pod("theirs", worker="gone", stack="other")
    await bench.make_pod("a-worker", worker=None)
    assert await ownerless_pods(bench.stack) == ["a-gone", "b-dead"]


async def test_a_worker_that_comes_while_one_looks_is_seen(bench: Bench) -> None:
    """Its pod was listed, its sign of life was not."""
    await bench.show("new")
    await bench.make_pod("kept", worker="new")
    listed = False

    def none_at_first(request: web.Request) -> web.Response | None:
        nonlocal listed
        if not request.path.endswith("/leases") or listed:
            return None
        listed = True
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    bench.faults.interfere = none_at_first
    assert await ownerless_pods(bench.stack) == []


@pytest.mark.parametrize(
    ("pods", "shown"),
    [
        (None, ""),
        ([], ""),
        (["a"], "Pods without an owner: 1 (a)"),
        (list("abcde"), "Pods without an owner: 5 (a, b, c and 2 more)"),
    ],
)
def test_they_are_shown_where_there_are_any(pods: list[str] | None, shown: str) -> None:
    """Counted, and the first of them named."""
    fields: dict[str, Any] = {"visible": 0, "delayed": 0, "in_flight": 0}
    view = StackView(
        queue=QueueCounts(**fields),
        dead_letters=0,
        workers=WorkerCount(desired=1, ready=1, existing=1),
        ownerless_pods=pods,
    )
    assert stack_line(view).partition("\n")[2] == shown
