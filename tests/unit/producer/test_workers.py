"""Scaling is asking, and waiting until it is so."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.stack import WORKER_DEPLOYMENT, KubernetesAccess, Stack
from harbor_aws.producer import workers
from harbor_aws.producer.workers import WorkerCount, WorkerScale, count_workers, scale_workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATH = f"/apis/apps/v1/namespaces/harbor-aws/deployments/{WORKER_DEPLOYMENT}"


class DeploymentApi:
    """One Deployment, which goes one pod towards what is wanted each time that somebody looks."""

    def __init__(self, replicas: int) -> None:
        self.wanted = self.existing = self.ready = replicas

    async def get(self, _request: web.Request) -> web.Response:
        answer = {
            "spec": {"replicas": self.wanted},
            "status": {"replicas": self.existing, "readyReplicas": self.ready} if self.existing else {},
        }
        self.ready = min(self.existing, self.wanted)
        self.existing += (self.wanted > self.existing) - (self.wanted < self.existing)
        return web.json_response(answer)

    async def patch(self, request: web.Request) -> web.Response:
        self.wanted = json.loads(await request.text())["spec"]["replicas"]
        return web.json_response({"spec": {"replicas": self.wanted}})


@pytest.fixture
async def api() -> AsyncIterator[tuple[DeploymentApi, str]]:
    deployment = DeploymentApi(2)
    app = web.Application()
    app.router.add_get(PATH, deployment.get)
    app.router.add_patch(f"{PATH}/scale", deployment.patch)
    async with TestServer(app) as server:
        yield deployment, str(server.make_url("")).rstrip("/")


def stack(url: str, directory: Path, *, namespace: str = "harbor-aws") -> Stack:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (directory / "kubeconfig").write_text(json.dumps(config))
    access = KubernetesAccess(kubeconfig=directory / "kubeconfig", namespace=namespace)
    return Stack(name="s", region="r", queue_url="", dead_letter_queue_url="", bucket="", trials=access, workers=access)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LOOK_SECONDS", 0.01)


@pytest.mark.parametrize("wanted", [0, 2, 5])
async def test_it_waits_until_there_are_exactly_so_many(
    api: tuple[DeploymentApi, str], tmp_path: Path, wanted: int
) -> None:
    """Up, down and to nothing: the last look has every worker that is wanted ready, and no other."""
    seen: list[WorkerCount] = []
    count = await scale_workers(stack(api[1], tmp_path), wanted, wait=True, on_change=seen.append)
    there = WorkerCount(desired=wanted, ready=wanted, existing=wanted)
    assert seen[-1] == await count_workers(stack(api[1], tmp_path)) == there
    assert count == WorkerScale(**there.model_dump(), autoscaling=None)


async def test_it_need_not_wait(api: tuple[DeploymentApi, str], tmp_path: Path) -> None:
    """Without waiting the answer is what there is at that moment."""
    count = await scale_workers(stack(api[1], tmp_path), 5, wait=False)
    assert (count.desired, count.ready) == (5, 2)


async def test_a_stack_without_workers_says_so(api: tuple[DeploymentApi, str], tmp_path: Path) -> None:
    """No Deployment is the user's mistake, not a failure that may pass."""
    elsewhere = stack(api[1], tmp_path, namespace="elsewhere")
    for operation in (count_workers(elsewhere), scale_workers(elsewhere, 1, wait=True)):
        with pytest.raises(UsageError, match="no Deployment harbor-aws-worker in namespace 'elsewhere'"):
            await asyncio.wait_for(operation, 30)
