"""KEDA brought into a cluster and out of it, whatever state either is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from tests.unit.infra.deploy.fake_api import FakeApi, serve_fake_api
from tests.unit.infra.deploy.keda_release import release
from tests.unit.infra.deploy.test_autoscaling import PLAN
from tests.unit.infra.deploy.test_manifests import MORE
from tests.unit.infra.deploy.watching import Memory

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.deploy import keda
from harbor_aws.infra.deploy.cluster_objects import EksObjects
from harbor_aws.infra.deploy.keda import apply_autoscaling, remove_autoscaling, remove_keda_namespace
from harbor_aws.infra.deploy.keda_manifest import KedaManifestError
from harbor_aws.infra.errors import PermanentError, TransientError
from harbor_aws.infra.scaled_object import MAX_WORKERS, PAUSED_AT, authentication_path, scaled_object_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SCALED = scaled_object_path("w")
NAMESPACE = "/api/v1/namespaces/keda"
METRICS = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
OPERATOR = "/apis/apps/v1/namespaces/keda/deployments/keda-operator"


class Bench:
    """A cluster, and this module's two operations on it."""

    def __init__(self, cluster: Cluster, api: FakeApi) -> None:
        self.cluster = cluster
        self.api = api
        self.watcher = Memory()

    async def apply(self, manifest: list[dict[str, Any]] | None = None, plan: Any = PLAN) -> None:
        await apply_autoscaling(self.cluster, plan, manifest=manifest, watcher=self.watcher)

    async def remove(self) -> None:
        await remove_autoscaling(self.cluster, PLAN.stack, watcher=self.watcher)


@pytest_asyncio.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(keda, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(keda, "FINALIZER_SECONDS", 0.2)
    monkeypatch.setattr(keda, "read_keda_manifest", _no_web)
    async with serve_fake_api(tmp_path) as (access, api), Cluster.open(access) as cluster:
        yield Bench(cluster, api)


def _no_web(source: str) -> str:
    raise KedaManifestError(f"{source} is beyond a network that there is not.")


async def test_keda_comes_first_and_then_what_it_is_told(bench: Bench) -> None:
    """Its kinds may take a while to be served; its own Deployments have the replicas that it says."""
    bench.api.late_looks = 3
    await bench.apply(release())
    assert bench.api.objects[SCALED]["spec"]["maxReplicaCount"] == 8
    assert bench.api.objects[OPERATOR]["spec"]["replicas"] == 1
    applied = [path for method, path in bench.api.asked if method == "PATCH"]
    assert applied.index(OPERATOR) < applied.index(SCALED)
    assert bench.api.objects[NAMESPACE]["metadata"]["annotations"]["harbor-aws/keda"].startswith("2.")


async def test_a_second_time_nothing_is_fetched(bench: Bench) -> None:
    """A network that is not there does no harm then; the ScaledObject is brought up to date all the same."""
    await bench.apply(release())
    bench.api.asked.clear()
    await bench.apply()
    assert [path for method, path in bench.api.asked if method == "PATCH" and "/keda/" in path] == []
    assert ("PATCH", SCALED) in bench.api.asked
    assert bench.watcher.begun == ["Making the autoscaler, KEDA"]


async def test_what_broke_off_is_applied_again(bench: Bench) -> None:
    """The namespace says that all is there only when all is."""

    def break_off(method: str, path: str) -> None:
        if (method, path) == ("PATCH", OPERATOR):
            bench.api.interfere = lambda *_: None
            raise RuntimeError("the server dies")

    bench.api.interfere = break_off
    bench.cluster.request = _once(bench.cluster.request)  # type: ignore[method-assign]  # no patience with 500
    with pytest.raises(TransientError):
        await bench.apply(release())
    assert NAMESPACE in bench.api.objects
    with pytest.raises(PermanentError, match=r"All was made but the autoscaling.*beyond a network.*same command again"):
        await bench.apply()
    await bench.apply(release())
    assert OPERATOR in bench.api.objects


def _once(request: Any) -> Any:
    async def impatient(*args: Any, **options: Any) -> Any:
        return await request(*args, **{**options, "patience_seconds": 0})

    return impatient


async def test_kinds_that_do_not_come_are_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; the same command goes on from there."""
    monkeypatch.setattr(keda, "SERVED_SECONDS", 0.1)
    bench.api.late_looks = 10**6
    with pytest.raises(TransientError, match="does not serve TriggerAuthentication, ScaledObject of KEDA"):
        await bench.apply(release())


async def test_what_scale_said_stays(bench: Bench) -> None:
    """Bounds and pause, over another deploy, and one that somebody scales at the same moment."""
    await bench.apply(release())
    found = bench.api.objects[SCALED]
    found["metadata"]["annotations"] = {MAX_WORKERS: "20", PAUSED_AT: "3"}
    bench.api.put(SCALED, found)

    def meanwhile(method: str, path: str) -> None:
        if (method, path) == ("PATCH", SCALED):
            bench.api.interfere = lambda *_: None
            found["metadata"]["annotations"][MAX_WORKERS] = "30"
            bench.api.put(SCALED, found)

    bench.api.interfere = meanwhile
    await bench.apply()
    scaled = bench.api.objects[SCALED]
    assert scaled["metadata"]["annotations"] == {MAX_WORKERS: "30", PAUSED_AT: "3"}
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (0, 30)


@pytest.mark.parametrize("keda_runs", [True, False])
async def test_removal_does_not_depend_on_keda(bench: Bench, keda_runs: bool) -> None:
    """One that runs takes its finalizer away; that of one that does not is taken from it."""
    await bench.apply(release())
    held = {SCALED, authentication_path(PLAN.workers_namespace)}
    for each in held:
        bench.api.objects[each]["metadata"]["finalizers"] = ["finalizer.keda.sh"]

    def keda_lets_go(method: str, path: str) -> None:
        there = bench.api.objects.get(path) if method == "GET" and path in held else None
        if there and "deletionTimestamp" in there["metadata"]:
            del bench.api.objects[path]

    if keda_runs:
        bench.api.interfere = keda_lets_go
    bench.api.asked.clear()
    await bench.remove()
    assert not held & bench.api.objects.keys()
    assert METRICS not in bench.api.objects
    assert "Ending the autoscaling" in bench.watcher.begun
    assert {("PATCH", each) in bench.api.asked for each in held} == {not keda_runs}
    await remove_keda_namespace(bench.cluster, PLAN.stack)
    assert NAMESPACE not in bench.api.objects


async def test_a_removal_that_broke_off_is_made_good(bench: Bench) -> None:
    """Another deploy wants all of KEDA again, though its namespace is still there."""
    await bench.apply(release())
    await bench.apply()
    await bench.remove()
    with pytest.raises(PermanentError, match="All was made but the autoscaling"):
        await bench.apply()


async def test_others_keda_stays(bench: Bench) -> None:
    """Neither its namespace nor its metrics go if they are not this stack's; and nothing is said where nothing is."""
    for path, name in ((NAMESPACE, "keda"), (METRICS, "v1beta1.external.metrics.k8s.io")):
        bench.api.put(path, {"metadata": {"name": name}})
    await bench.remove()
    await remove_keda_namespace(bench.cluster, PLAN.stack)
    assert set(bench.api.objects) == {NAMESPACE, METRICS}
    assert bench.watcher.begun == []


async def test_autoscaling_is_brought_and_taken_away(bench: Bench) -> None:
    """By whether the stack's outputs have a role for KEDA; the workers' Deployment stays, with what it has."""
    places = {"workers": bench.cluster._access, "trials": bench.cluster._access}
    stack = PLAN.stack.model_copy(update={**places, "cluster_name": "team"})
    outputs = {**MORE, "KedaRoleArn": "arn:aws:iam::1:role/keda"}
    objects = EksObjects(bench.watcher, keda=release())
    await objects._apply(stack, outputs)
    scaled = scaled_object_path("harbor-aws")
    deployment = "/apis/apps/v1/namespaces/harbor-aws/deployments/harbor-aws-worker"
    assert {scaled, NAMESPACE, METRICS, deployment} <= set(bench.api.objects)
    assert bench.api.objects[scaled]["spec"]["maxReplicaCount"] == int(MORE["MaxVcpus"]) // 32
    bench.api.objects[deployment]["spec"]["replicas"] = 3
    await objects._apply(stack, MORE)
    assert not {scaled, NAMESPACE, METRICS} & set(bench.api.objects)
    assert bench.api.objects[deployment]["spec"]["replicas"] == 3


async def test_workers_are_there_before_what_scales_them(bench: Bench) -> None:
    """So that a stack whose KEDA cannot be fetched is whole but for that."""
    places = {"workers": bench.cluster._access, "trials": bench.cluster._access}
    stack = PLAN.stack.model_copy(update={**places, "cluster_name": "team"})
    with pytest.raises(PermanentError, match="All was made but the autoscaling"):
        await EksObjects(bench.watcher)._apply(stack, {**MORE, "KedaRoleArn": "r"})
    assert "/apis/apps/v1/namespaces/harbor-aws/deployments/harbor-aws-worker" in bench.api.objects
