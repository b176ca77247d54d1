"""The doctor's checks of a cluster at a real Kubernetes, with what ``deploy`` makes in it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.kubernetes.own_plan import ROLE, own_plan

from harbor_aws.infra.aws import Account
from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.deploy.apply import apply_objects
from harbor_aws.infra.deploy.manifests import manifests
from harbor_aws.infra.doctor.catalogue import CHECKS
from harbor_aws.infra.doctor.check import Kind
from harbor_aws.infra.doctor.finding import Outcome, Verdict
from harbor_aws.infra.doctor.probe import PROBE_LABEL, probe
from harbor_aws.infra.doctor.run import examine
from harbor_aws.infra.doctor.subject import Question, Subject
from harbor_aws.infra.labels import WORKER_LABEL
from harbor_aws.infra.stack import WORKER_DEPLOYMENT, KubernetesAccess, Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

pytestmark = [pytest.mark.kubernetes, pytest.mark.parametrize("access", ["real"], indirect=True)]

IMAGE = "busybox:latest"
MAX_VCPUS = 2

ASKED = {
    "agent-keys",
    "autoscaling",
    "cluster-access",
    "cluster-api",
    "exec",
    "launch-rate",
    "namespaces",
    "pending-pods",
    "trials-vcpus",
    "worker-configuration",
    "worker-deployment",
    "worker-identity",
    "worker-rights",
    "workers",
}
"""Checks that ask the cluster and nobody else, but for its version, which a build of one's own does not say."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack's half in the cluster."""

    plan: ClusterPlan

    @property
    def stack(self) -> Stack:
        return self.plan.stack

    async def findings(self) -> dict[str, Outcome]:
        question = Question(stack=self.stack.name, kind=Kind.AWS, account=Account("eu-west-1"))
        async with Subject.open(question) as subject:
            subject.stack = self.stack
            subject.outputs = {"MaxVcpus": str(MAX_VCPUS), "WorkerRoleArn": ROLE}
            found = await examine([each for each in CHECKS if each.id in ASKED], subject, patience_seconds=60)
        return {each.id: each.outcome for each in found}

    @asynccontextmanager
    async def cluster(self) -> AsyncIterator[Cluster]:
        async with Cluster.open(self.stack.trials) as cluster:
            yield cluster


@pytest.fixture
def deployed(access: KubernetesAccess) -> Iterator[Deployed]:
    """A stack in namespaces of its own, of which nothing stays. It has no worker."""
    with own_plan(access, image="no-such-image:1", max_vcpus=MAX_VCPUS) as plan:
        asyncio.run(_apply(plan))
        yield Deployed(plan)


async def _apply(plan: ClusterPlan) -> None:
    async with Cluster.open(plan.stack.workers) as cluster:
        await apply_objects(cluster, manifests(plan))


def verdicts(found: dict[str, Outcome]) -> dict[str, Verdict]:
    return {name: outcome.verdict for name, outcome in found.items()}


NEW = {
    **dict.fromkeys(ASKED, Verdict.OK),
    "agent-keys": Verdict.WARNING,
    "autoscaling": Verdict.SKIPPED,
    "exec": Verdict.SKIPPED,
    "workers": Verdict.WARNING,
}
"""A stack as ``deploy`` leaves it: no worker, no keys, no pod; and no KEDA, as here."""


async def test_a_new_stack(deployed: Deployed) -> None:
    """Nothing has failed; what is still to be done is a warning, with the command."""
    found = await deployed.findings()
    assert verdicts(found) == NEW, found
    assert found["workers"].fix == f"harbor-aws scale 1 --stack {deployed.stack.name}"
    assert found["worker-rights"].evidence.startswith("harbor-aws-worker has all")
    assert found["exec"].evidence.endswith("say --probe, which makes one")


async def test_a_right_that_is_missing(deployed: Deployed) -> None:
    """By the cluster's own word: a Role without exec is found, and nothing else."""
    async with deployed.cluster() as cluster:
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{cluster.namespace}/roles/{WORKER_DEPLOYMENT}"
        role = await cluster.request("GET", path)
        role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["pods/exec"]]
        await cluster.request("PUT", path, body=role)
        found = await deployed.findings()
    assert verdicts(found) == {**NEW, "worker-rights": Verdict.FAILED}
    assert "may not create pods/exec, get pods/exec in" in found["worker-rights"].evidence


async def test_an_image_that_cannot_be_pulled(deployed: Deployed) -> None:
    """The workers' pod says why it does not start, and so does the doctor."""
    async with Cluster.open(deployed.stack.workers) as cluster:
        await cluster.scale_deployment(WORKER_DEPLOYMENT, replicas=1)
        async with asyncio.timeout(90):
            while (found := await deployed.findings())["workers"].verdict is not Verdict.FAILED:
                await asyncio.sleep(1)
    assert verdicts(found) == {**NEW, "workers": Verdict.FAILED}
    assert "Pull" in found["workers"].evidence
    assert "no-such-image:1" in found["workers"].evidence


async def test_a_pod_to_try_with(deployed: Deployed) -> None:
    """A probe starts, runs its command, says how long that took, and is deleted; so it is when it is interrupted."""
    async with deployed.cluster() as cluster:
        outcome = await probe(cluster, stack=deployed.stack.name, image=IMAGE, seconds=90)
        assert outcome.verdict is Verdict.OK, outcome
        assert "scheduled after" in outcome.evidence
        running = asyncio.create_task(probe(cluster, stack=deployed.stack.name, image=IMAGE, seconds=90))
        async with asyncio.timeout(60):
            while not await _probes(cluster):
                await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(60):
            while await _probes(cluster):
                await asyncio.sleep(0.2)


async def test_a_probe_whose_image_is_not_there(deployed: Deployed) -> None:
    """It fails at once with the kubelet's word, and its pod goes."""
    async with deployed.cluster() as cluster:
        outcome = await probe(cluster, stack=deployed.stack.name, image="no-such-image:1", seconds=90)
        assert outcome.verdict is Verdict.FAILED
        assert "Pull" in outcome.evidence
        async with asyncio.timeout(60):
            while await _probes(cluster):
                await asyncio.sleep(0.2)


async def test_a_command_in_a_pod_that_is_there(deployed: Deployed) -> None:
    """A trial's pod that runs is used to try exec."""
    async with deployed.cluster() as cluster:
        await cluster.request("POST", cluster.pods_path, body=_trial())
        async with asyncio.timeout(90):
            while (found := await deployed.findings())["exec"].verdict is not Verdict.OK:
                await asyncio.sleep(0.5)
    assert "in trial" in found["exec"].evidence


async def _probes(cluster: Cluster) -> list[Any]:
    return [*(await cluster.list_pods(selector=PROBE_LABEL))["items"]]


def _trial() -> dict[str, Any]:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "600"]}
    container["resources"] = {"requests": {"cpu": "100m"}}  # type: ignore[assignment]  # of another kind than the rest
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trial", "labels": {WORKER_LABEL: "w"}},
        "spec": {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "containers": [container]},
    }
