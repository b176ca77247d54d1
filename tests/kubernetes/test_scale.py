"""KEDA's own objects in a real cluster: they are taken in their order, and nothing of them holds a namespace.

Objects of KEDA's kinds are not made: the API server that these tests run against, a Kubernetes 1.20 built with a newer
Go than it knows, dies of any custom resource with a label. What `scale` and `deploy` do to them is tested on the
embedded API (``tests/unit/producer/test_scale_and_deploy.py``).
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.infra.deploy.keda_release import release
from tests.unit.infra.deploy.watching import Memory

from harbor_aws.infra.cluster import Cluster, ObjectNotFoundError
from harbor_aws.infra.deploy.apply import apply_objects
from harbor_aws.infra.deploy.keda_manifest import KEDA_NAMESPACE, for_fargate
from harbor_aws.infra.deploy.kinds import Kinds
from harbor_aws.infra.deploy.manifests.namespaces import namespaces
from harbor_aws.infra.deploy.manifests.plan import ClusterPlan
from harbor_aws.infra.deploy.removal import remove_objects
from harbor_aws.infra.scaled_object import KEDA_API, SCALED_OBJECT
from harbor_aws.infra.stack import KubernetesAccess, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]

GENEROUS_SECONDS = 120
METRICS = "/apis/apiregistration.k8s.io/v1/apiservices"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def plan(access: KubernetesAccess) -> Iterator[ClusterPlan]:
    """A stack in namespaces of its own, of which nothing stays; nor of KEDA, which it brings."""
    if access.kubeconfig and "embedded" in str(access.kubeconfig):
        pytest.skip("the embedded cluster takes no definitions of kinds")
    name = f"t{uuid.uuid4().hex[:6]}"
    stack = Stack(
        name=name,
        region="eu-west-1",
        queue_url="https://sqs.eu-west-1.amazonaws.com/1/q",
        dead_letter_queue_url="d",
        bucket="b",
        trials=access.model_copy(update={"namespace": f"{name}-trials"}),
        workers=access.model_copy(update={"namespace": f"{name}-workers"}),
    )
    yield ClusterPlan(
        stack=stack,
        worker_image="busybox:latest",
        worker_role_arn="arn:aws:iam::123456789012:role/worker",
        trials_security_group="sg-1",
        log_group="l",
        max_vcpus=2,
        keda_role_arn="arn:aws:iam::123456789012:role/keda",
    )
    asyncio.run(remove_objects(stack, watcher=Memory()))
    asyncio.run(_remove_definitions(stack))


async def _remove_definitions(stack: Stack) -> None:
    """Which a cluster that is deleted takes with it."""
    async with Cluster.open(stack.workers) as cluster:
        for each in release():
            if each["kind"] == "CustomResourceDefinition":
                try:
                    await cluster.request("DELETE", f"{DEFINITIONS}/{each['metadata']['name']}")
                except ObjectNotFoundError:
                    continue


def keda_for(plan: ClusterPlan, *kinds: str) -> list[Json]:
    """The release in small, as the stack applies it, and nothing that runs: there is no image of KEDA here."""
    assert plan.keda_role_arn
    objects = for_fargate(release(), labels=plan.labels, role_arn=plan.keda_role_arn)
    for each in objects:
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 0
    return [each for each in objects if (each["kind"] in kinds if kinds else each["kind"] != "APIService")]


async def test_kedas_kinds_come_to_be_served(plan: ClusterPlan) -> None:
    """All of it is applied in its own order, twice the same; soon after the cluster knows where ScaledObjects are."""
    metadata = {"name": SCALED_OBJECT, "namespace": "n"}
    async with Cluster.open(plan.stack.workers) as cluster, asyncio.timeout(GENEROUS_SECONDS):
        for _ in range(2):
            assert await apply_objects(cluster, keda_for(plan)) == ()
        while True:
            found = await Kinds(cluster).path_of({"apiVersion": KEDA_API, "kind": "ScaledObject", "metadata": metadata})
            if found:
                break
            await asyncio.sleep(0.2)
        assert found == f"/apis/{KEDA_API}/namespaces/n/scaledobjects/{SCALED_OBJECT}"
        operator = await cluster.request("GET", "/apis/apps/v1/namespaces/keda/deployments/keda-operator")
        (container,) = operator["spec"]["template"]["spec"]["containers"]
        assert (
            container["resources"]["limits"] == container["resources"]["requests"] == {"cpu": "250m", "memory": "768Mi"}
        )


async def test_metrics_that_nobody_serves_hold_no_namespace(plan: ClusterPlan) -> None:
    """KEDA's server of metrics goes with its namespace, and while its API stays no namespace would ever go."""
    async with Cluster.open(plan.stack.workers) as cluster, asyncio.timeout(3 * GENEROUS_SECONDS):
        await apply_objects(cluster, [*namespaces(plan), *keda_for(plan)])
        (metrics,) = keda_for(plan, "APIService")
        await cluster.request("POST", METRICS, body=metrics)  # 1.20 panics when one is applied
        await remove_objects(plan.stack, watcher=Memory())
        found = await cluster.request("GET", "/api/v1/namespaces")
        names = {each["metadata"]["name"] for each in found["items"]}
        assert not names & {plan.trials_namespace, plan.workers_namespace, KEDA_NAMESPACE}
        with pytest.raises(ObjectNotFoundError):
            await cluster.request("GET", f"{METRICS}/{metrics['metadata']['name']}")
