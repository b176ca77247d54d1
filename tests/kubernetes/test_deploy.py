"""What ``deploy`` makes inside of a cluster, and what a worker may do with it."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from tests.kubernetes.own_plan import own_plan
from tests.unit.infra.deploy.watching import Memory

from harbor_aws.infra.cluster import AccessRefusedError, Cluster, ObjectConflictError
from harbor_aws.infra.deploy.apply import apply_objects
from harbor_aws.infra.deploy.kinds import Kinds
from harbor_aws.infra.deploy.manifests import manifests
from harbor_aws.infra.deploy.manifests.permissions import RULES, SERVICE_ACCOUNT
from harbor_aws.infra.deploy.removal import remove_objects
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.stack import WORKER_DEPLOYMENT, KubernetesAccess
from harbor_aws.worker.exec.command import run_command
from harbor_aws.worker.exec.command_script import Command
from harbor_aws.worker.pod_spec import PodOwner, PodRequest
from harbor_aws.worker.pods import PodKeeper
from harbor_aws.worker.presence import PresenceTerms, keep_presence
from harbor_aws.worker.reaper import Reaper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

IMAGE = "busybox:latest"
GENEROUS_SECONDS = 90
TERMS = PresenceTerms(interval_seconds=1.0, duration_seconds=8.0)


@pytest.fixture
def plan(access: KubernetesAccess) -> Iterator[ClusterPlan]:
    """A stack in namespaces of its own, of which nothing stays."""
    with own_plan(access, image=IMAGE) as made:
        yield made


async def versions(cluster: Cluster, objects: list[dict[str, Any]]) -> dict[str, str]:
    """The resourceVersion of every object that is there, by its path."""
    kinds = Kinds(cluster)
    paths = [path for path in [await kinds.path_of(each) for each in objects] if path]
    return {path: (await cluster.request("GET", path))["metadata"]["resourceVersion"] for path in paths}


async def test_a_second_apply_changes_nothing(plan: ClusterPlan) -> None:
    """No object has a new version; what the cluster does not know is named."""
    objects = manifests(plan)
    async with Cluster.open(plan.stack.workers) as cluster:
        unknown = await apply_objects(cluster, objects)
        assert set(unknown) >= {"SecurityGroupPolicy"}
        before = await versions(cluster, objects)
        assert len(before) == len(objects) - len(unknown)
        assert await apply_objects(cluster, objects) == unknown
        after = await versions(cluster, objects)
        deployment = next(path for path in before if "/deployments/" in path)
        assert {path for path in before if before[path] != after[path]} <= {deployment}  # whose status may move
        assert (await cluster.deployment(WORKER_DEPLOYMENT))["metadata"]["generation"] == 1


async def test_the_number_of_workers_is_scales(plan: ClusterPlan) -> None:
    """None at first; as many as there are, whatever else changes."""
    async with Cluster.open(plan.stack.workers) as cluster:
        await apply_objects(cluster, manifests(plan))
        assert (await cluster.deployment(WORKER_DEPLOYMENT))["spec"]["replicas"] == 0
        await cluster.scale_deployment(WORKER_DEPLOYMENT, replicas=2)
        for image in ("busybox:1", "busybox:2"):
            await apply_objects(cluster, manifests(replace(plan, worker_image=image)))
            spec = (await cluster.deployment(WORKER_DEPLOYMENT))["spec"]
            assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (2, image)


async def test_nothing_stays(plan: ClusterPlan) -> None:
    """Workers drain, pods and namespaces go; where nothing is, nothing is done."""
    async with Cluster.open(plan.stack.trials) as cluster:
        await apply_objects(cluster, manifests(plan))
        await cluster.request("POST", cluster.pods_path, body=_bare_pod())
        watcher = Memory()
        await remove_objects(plan.stack, watcher=watcher)
        assert watcher.begun == [
            "Draining the workers",
            "Deleting the trials' pods",
            "Deleting the cluster's namespaces",
        ]
        found = await cluster.request("GET", "/api/v1/namespaces")
        names = {each["metadata"]["name"] for each in found["items"]}
        assert not names & {plan.trials_namespace, plan.workers_namespace, "aws-observability"}
        again = Memory()
        await remove_objects(plan.stack, watcher=again)
        assert again.begun == ["Deleting the cluster's namespaces"]


def _bare_pod() -> dict[str, Any]:
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
        "resources": {"requests": {"cpu": "0", "memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "left"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 2},
    }


@pytest.fixture
def real(access: KubernetesAccess) -> None:
    """For what only a real cluster does: RBAC, quota, other users, probes."""
    if access.kubeconfig and "embedded" in str(access.kubeconfig):
        pytest.skip("the embedded cluster has no RBAC")


@pytest.mark.usefixtures("real")
async def test_a_worker_as_it_is_deployed_runs(plan: ClusterPlan) -> None:
    """Without root, on a root file system that cannot be written: it finds its stack, and its probe finds it alive."""
    script = """
    trap 'exit 0' TERM
    while test -r "$XDG_STATE_HOME/harbor-aws/$HARBOR_AWS_STACK/stack.json" && ! touch /x 2>/dev/null
    do touch "$HARBOR_AWS_ALIVE_FILE"; sleep 1
    done
    """
    objects = manifests(plan)
    container = objects[-1]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["sh", "-c", script]
    container["resources"] = {}  # there is room for it on a node that others fill
    container["livenessProbe"] |= {"initialDelaySeconds": 2, "periodSeconds": 1, "failureThreshold": 1}
    async with Cluster.open(plan.stack.workers) as cluster, asyncio.timeout(GENEROUS_SECONDS):
        await apply_objects(cluster, objects)
        await cluster.scale_deployment(WORKER_DEPLOYMENT, replicas=1)
        while (await cluster.deployment(WORKER_DEPLOYMENT))["status"].get("readyReplicas") != 1:
            await asyncio.sleep(0.5)
        await asyncio.sleep(8)  # several probes
        (pod,) = (await cluster.list_pods(selector=f"app.kubernetes.io/name={WORKER_DEPLOYMENT}"))["items"]
        (status,) = pod["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"]) == (True, 0)


@pytest.mark.usefixtures("real")
async def test_a_worker_may_do_what_it_does_and_nothing_else(
    plan: ClusterPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the service account everything works; the requests it takes are the Role's verbs, one for one."""
    async with Cluster.open(plan.stack.workers) as cluster:
        await apply_objects(cluster, manifests(plan))
        worker = await _as_service_account(cluster, plan, tmp_path)
    asked: set[tuple[str, str, str]] = set()
    send = aiohttp.ClientSession._request

    async def record(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Any:
        query = options.get("params") or {}
        asked.add(_verb(method, urlsplit(str(url)).path, is_watch="watch" in dict(query)))
        return await send(session, method, url, **options)

    with monkeypatch.context() as patched:
        patched.setattr(aiohttp.ClientSession, "_request", record)
        async with asyncio.timeout(GENEROUS_SECONDS):
            await _everything_a_worker_does(worker, plan.stack.name)
    allowed = {(group, resource, verb) for group, resource, verbs in RULES for verb in verbs}
    by_other_kubernetes = {("", "pods/exec", "create")}
    assert asked == allowed - by_other_kubernetes

    async with Cluster.open(worker) as cluster:
        for path in (
            f"/api/v1/namespaces/{plan.trials_namespace}/secrets",
            f"/api/v1/namespaces/{plan.workers_namespace}/pods",
            "/api/v1/namespaces",
            "/api/v1/pods",
        ):
            with pytest.raises(AccessRefusedError):
                await cluster.request("GET", path)


async def _as_service_account(cluster: Cluster, plan: ClusterPlan, directory: Path) -> KubernetesAccess:
    """The cluster as a worker's pod sees it: by its service account's token, in the trials' namespace."""
    path = f"/api/v1/namespaces/{plan.workers_namespace}/serviceaccounts/{SERVICE_ACCOUNT}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = (await cluster.request("POST", path, body=body))["status"]["token"]
    assert plan.stack.workers.kubeconfig is not None
    kubeconfig = yaml.safe_load(plan.stack.workers.kubeconfig.read_text())
    for user in kubeconfig["users"]:
        user["user"] = {"token": token}
    (directory / "kubeconfig").write_text(json.dumps(kubeconfig))
    subject = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["sub"]
    assert subject == f"system:serviceaccount:{plan.workers_namespace}:{SERVICE_ACCOUNT}"
    return KubernetesAccess(kubeconfig=directory / "kubeconfig", namespace=plan.trials_namespace)


async def _everything_a_worker_does(access: KubernetesAccess, stack: str) -> None:
    worker = f"w-{uuid.uuid4().hex[:6]}"
    owner = PodOwner(job="j", trial="t", attempt_id="01-a", worker=worker, session=f"{worker}__env", stack=stack)
    # No CPU: the quota is content, and there is room for it on a node that others fill.
    request = PodRequest(
        owner=owner, image=IMAGE, size=FargateSize(250, 512), deadline_seconds=600, cpus=0, memory_mib=64
    )
    async with (
        PodKeeper.open(access, worker=worker) as pods,
        keep_presence(pods.cluster, stack=stack, worker=worker, terms=TERMS),
    ):
        pod = await pods.create(request)
        with pytest.raises(ObjectConflictError):  # its own, as after an answer that was lost, it would know again
            async with PodKeeper.open(access, worker=worker) as other:
                await other.create(request)
        await pods.wait_until_running(pod, timeout_seconds=60)
        result = await run_command(
            pods.cluster, pod.name, Command("echo hello", {}), timeout_seconds=30, can_be_ended=lambda: True
        )
        assert result.stdout == "hello\n"
        assert (await pods.last_look(pod)).events
        reaper = Reaper(pods.cluster, stack=stack, worker=worker, is_known=pods.knows, terms=TERMS)
        assert await reaper.look() == []
        await pods.delete_leftovers(job="j", trial="t")
        await pods.delete(pod.name)


def _verb(method: str, path: str, *, is_watch: bool) -> tuple[str, str, str]:
    """API group, resource and verb, as the API server takes a request.

    https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
    """
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    assert rest[0] == "namespaces"
    if len(rest) == 2:
        resource, names = "namespaces", rest[1:]
    else:
        resource, names = rest[2], rest[3:]
    if len(names) == 2:
        resource += f"/{names[1]}"
    if method == "GET":
        verb = "watch" if is_watch else "get" if names else "list"
    else:
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}[method]
    return group, resource, verb
