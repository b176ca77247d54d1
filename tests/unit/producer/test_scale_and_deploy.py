"""`scale` and `deploy` on the embedded Kubernetes' API, to which KEDA's kinds are added: neither undoes the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest_asyncio
from aiohttp import web
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from tests.unit.infra.deploy.test_autoscaling import PLAN
from tests.unit.worker.embedded_api import serve_api

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.deploy.apply import apply_objects
from harbor_aws.infra.deploy.manifests.autoscaling import autoscaling
from harbor_aws.infra.deploy.manifests.workers import workers
from harbor_aws.infra.local.kubernetes.objects import resources, rules
from harbor_aws.infra.local.kubernetes.objects.resources import Resource
from harbor_aws.infra.scaled_object import KEDA_API, PAUSED_AT, Autoscaling, scaled_object_path
from harbor_aws.producer.workers import automate_workers, scale_workers, worker_scale

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    import pytest

    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

KINDS = tuple(
    Resource(plural, kind, group="keda.sh", version="v1alpha1")
    for plural, kind in (("scaledobjects", "ScaledObject"), ("triggerauthentications", "TriggerAuthentication"))
)


@pytest_asyncio.fixture
async def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClusterPlan]:
    """A stack whose cluster knows KEDA's kinds, and has no KEDA that heeds them."""
    for kind in KINDS:
        monkeypatch.setitem(resources._BY_PATH, (kind.group, kind.version, kind.plural), kind)
        monkeypatch.setitem(rules._RULES, kind.plural, rules._RULES["leases"])  # there are none
    async with serve_api(tmp_path) as (access, faults), Cluster.open(access) as cluster:
        faults.interfere = discovered
        await cluster.ensure_namespace()
        yield replace(PLAN, stack=PLAN.stack.model_copy(update={"workers": access, "trials": access}))


def discovered(request: web.Request) -> web.Response | None:
    """The embedded API's own list of groups is fixed."""
    if request.path != f"/apis/{KEDA_API}":
        return None
    rows = [{"kind": kind.kind, "name": kind.plural, "namespaced": True} for kind in KINDS]
    return web.json_response({"resources": rows})


async def deploy(plan: ClusterPlan) -> None:
    """The workers' Deployment and what scales it."""
    async with Cluster.open(plan.stack.workers) as cluster:
        assert await apply_objects(cluster, [workers(plan)[-1], *autoscaling(plan)]) == ()


async def scaled_object(plan: ClusterPlan) -> dict[str, Any]:
    async with Cluster.open(plan.stack.workers) as cluster:
        return await cluster.request("GET", scaled_object_path(plan.workers_namespace))


def bounds(low: int, high: int, *, is_paused: bool = False) -> Autoscaling:
    return Autoscaling(minimum=low, maximum=high, is_paused=is_paused, trouble=None)


async def test_what_scale_said_outlives_deploys(plan: ClusterPlan) -> None:
    """Bounds, a pause, its end: each as it was said last, through a deploy after each; KEDA's schema takes them all."""
    stack = plan.stack

    async def after_deploy() -> Autoscaling | None:
        await deploy(plan)
        ScaledObject.model_validate(await scaled_object(plan))
        return (await worker_scale(stack)).autoscaling

    assert await after_deploy() == bounds(0, 8)
    await automate_workers(stack, minimum=1)
    assert await after_deploy() == bounds(1, 8)
    assert (await scale_workers(stack, 3, wait=False)).desired == 3
    assert await after_deploy() == bounds(1, 8, is_paused=True)
    assert (await scaled_object(plan))["metadata"]["annotations"][PAUSED_AT] == "3"
    await automate_workers(stack, maximum=20)
    assert await after_deploy() == bounds(1, 20)
    assert PAUSED_AT not in (await scaled_object(plan))["metadata"]["annotations"]
    assert (await worker_scale(stack)).desired == 3  # KEDA's from now on, and there is none here


async def test_bounds_that_nobody_said_follow_the_vcpus(plan: ClusterPlan) -> None:
    """More of them mean more workers; a minimum that was said stays beside it."""
    await deploy(plan)
    await automate_workers(plan.stack, minimum=2)
    await deploy(replace(plan, max_vcpus=640))
    assert (await worker_scale(plan.stack)).autoscaling == bounds(2, 20)


async def test_a_deploy_that_changes_nothing_writes_nothing(plan: ClusterPlan) -> None:
    """KEDA would look at it anew."""
    await deploy(plan)
    before = (await scaled_object(plan))["metadata"]["resourceVersion"]
    await deploy(plan)
    assert (await scaled_object(plan))["metadata"]["resourceVersion"] == before


async def test_both_at_once_lose_nothing(plan: ClusterPlan) -> None:
    """Deploys and bounds from several sides: the last word of each is there in the end."""
    await deploy(plan)
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(deploy(plan) for _ in range(3)),
            *(automate_workers(plan.stack, maximum=9 + n) for n in range(3)),
            automate_workers(plan.stack, minimum=4),
        )
    found = (await worker_scale(plan.stack)).autoscaling
    assert found is not None
    assert (found.minimum, found.maximum in {9, 10, 11}) == (4, True)
