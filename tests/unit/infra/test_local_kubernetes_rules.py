"""Defaults and checks of objects, and the words for them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harbor_aws.infra.local.kubernetes.api.pod_summary import pod_status
from harbor_aws.infra.local.kubernetes.api.request_path import Target, parse_path
from harbor_aws.infra.local.kubernetes.control.rollout import ReplicaCount, next_replicas
from harbor_aws.infra.local.kubernetes.objects.api_errors import ApiError
from harbor_aws.infra.local.kubernetes.objects.durations import human_duration
from harbor_aws.infra.local.kubernetes.objects.names import generate_name, parse_timestamp, timestamp
from harbor_aws.infra.local.kubernetes.objects.pod_rules import default_pod, qos_class
from harbor_aws.infra.local.kubernetes.objects.quantities import parse_quantity
from harbor_aws.infra.local.kubernetes.objects.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from harbor_aws.infra.local.kubernetes.objects.rules import check_changed, check_new, default_new


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = spec.pop("containers", [{"name": "c", "image": "i:1"}])
    return {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": "i", **fields}


def test_pod_defaults() -> None:
    """A pod gets the defaults that clients rely on."""
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
    made = default_pod(pod(containers=[container(resources=limits), {"name": "d", "image": "r:5000/i@sha256:0"}]))
    spec = made["spec"]
    first, second = spec["containers"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"], spec["nodeName"]) == ("Always", 30, "local")
    assert (first["imagePullPolicy"], second["imagePullPolicy"]) == ("Always", "IfNotPresent")
    assert first["resources"]["requests"] == limits["limits"]
    assert (made["status"]["phase"], made["status"]["qosClass"]) == ("Pending", "Burstable")
    assert qos_class({"containers": [first]}) == "Guaranteed"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (pod("Up_"), "metadata.name"),
        (pod(containers=[]), "spec.containers"),
        (pod(containers=[{"name": "c"}]), "spec.containers[0].image"),
        (pod(containers=[container(name="C_")]), "spec.containers[0].name"),
        (pod(containers=[container(), container()]), "spec.containers[1].name"),
        (pod(containers=[container(env=[{"name": "A=B"}])]), "spec.containers[0].env[0].name"),
        (pod(containers=[container(resources={"limits": {"cpu": "x"}})]), "spec.containers[0].resources.limits.cpu"),
        (
            pod(containers=[container(resources={"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}})]),
            "spec.containers[0].resources.requests",
        ),
        (pod(restartPolicy="Sometimes"), "spec.restartPolicy"),
        (pod(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds"),
        ({**pod(), "metadata": {"name": "p", "labels": {"a": "b c"}}}, "metadata.labels"),
    ],
)
def test_invalid_pod(bad: dict[str, Any], field: str) -> None:
    """422 names the field that is wrong."""
    with pytest.raises(ApiError) as caught:
        check_new(PODS, default_new(PODS, bad))
    assert caught.value.code == 422
    assert caught.value.details is not None
    assert caught.value.details["causes"][0]["field"] == field


def test_pod_spec_is_immutable() -> None:
    """A running pod's command cannot be changed, its image and deadline can."""
    old = default_new(PODS, pod())
    check_changed(
        PODS,
        default_new(
            PODS, pod(containers=[container(image="i:2", imagePullPolicy="IfNotPresent")], activeDeadlineSeconds=5)
        ),
        old,
    )
    with pytest.raises(ApiError, match="pod updates may not change"):
        check_changed(PODS, default_new(PODS, pod(containers=[container(image="i:1", command=["x"])])), old)


def test_deployment_rules() -> None:
    """A Deployment's selector must match its template and stay."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container()]}}
    good: dict[str, Any] = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    made = default_new(DEPLOYMENTS, good)
    check_new(DEPLOYMENTS, made)
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"}
    other = default_new(DEPLOYMENTS, {**good, "spec": {**good["spec"], "selector": {"matchLabels": {"a": "c"}}}})
    with pytest.raises(ApiError, match="does not match template"):
        check_new(DEPLOYMENTS, other)
    with pytest.raises(ApiError, match="immutable"):
        check_changed(DEPLOYMENTS, other, made)


ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
RECREATE = {"type": "Recreate"}


@pytest.mark.parametrize(
    ("replicas", "strategy", "new", "old", "expected"),
    [
        (4, ROLLING, (0, 0, 0), [], (4, [])),
        (4, ROLLING, (0, 0, 0), [(4, 4, 4)], (1, [3])),
        (4, ROLLING, (1, 1, 0), [(3, 4, 3)], (2, [3])),
        (4, ROLLING, (2, 2, 2), [(3, 3, 3)], (2, [1])),
        (4, ROLLING, (2, 2, 2), [(1, 1, 1)], (4, [1])),
        (4, ROLLING, (4, 4, 3), [(1, 1, 1)], (4, [0])),
        (1, ROLLING, (0, 0, 0), [(1, 1, 1)], (1, [1])),
        (1, ROLLING, (1, 1, 1), [(1, 1, 1)], (1, [0])),
        (4, ROLLING, (0, 0, 0), [(4, 4, 0)], (1, [0])),
        (2, ROLLING, (5, 5, 5), [], (2, [])),
        (3, RECREATE, (0, 0, 0), [(3, 3, 3)], (0, [0])),
        (3, RECREATE, (0, 0, 0), [(0, 0, 0)], (3, [0])),
        (1, RECREATE, (3, 3, 3), [], (1, [])),
    ],
)
def test_rollout(
    replicas: int,
    strategy: dict[str, Any],
    new: tuple[int, int, int],
    old: list[tuple[int, int, int]],
    expected: tuple[int, list[int]],
) -> None:
    """A rollout stays within its bounds, takes broken pods first, and comes to its end."""
    assert next_replicas(replicas, strategy, ReplicaCount(*new), [ReplicaCount(*one) for one in old]) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5s"),
        (119, "119s"),
        (125, "2m5s"),
        (900, "15m"),
        (4 * 3600 + 60, "4h1m"),
        (30 * 3600, "30h"),
        (3 * 86400, "3d"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    """Ages are shown as kubectl shows them."""
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Running", "containerStatuses": [{"state": {"running": {}}, "ready": True}]}, "Running"),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ErrImagePull",
        ),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}]}, "OOMKilled"),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "ExitCode:3"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}, "Init:0/1"),
    ],
)
def test_pod_status_word(status: dict[str, Any], word: str) -> None:
    """The STATUS column is kubectl's."""
    spec = {"containers": [container()], "initContainers": [container()]}
    assert pod_status({"metadata": {}, "spec": spec, "status": status}) == word


@pytest.mark.parametrize(
    ("text", "amount"), [("250m", 0.25), ("2Gi", 2 * 2**30), ("1e3", 1000), (".5", 0.5), (3, 3), ("1M", 10**6)]
)
def test_quantities(text: object, amount: float) -> None:
    """Amounts have Kubernetes' units."""
    assert parse_quantity(text) == amount


def test_paths() -> None:
    """Paths name resources as in Kubernetes; anything else is 404."""
    assert parse_path("/api/v1/namespaces/n/pods/p/exec") == Target(PODS, "n", "p", "exec")
    assert parse_path("/api/v1/pods") == Target(PODS)
    assert parse_path("/apis/apps/v1/namespaces/n/replicasets") == Target(REPLICA_SETS, "n")
    for path in ("/", "/api/v1/nothing", "/api/v1/pods/p", "/api/v1/namespaces/n/pods/p/nothing", "/apis/apps/v1/pods"):
        with pytest.raises(ApiError) as caught:
            parse_path(path)
        assert caught.value.code == 404


def test_names_and_times() -> None:
    """Generated names fit Kubernetes' bound, and times survive being written."""
    assert len(generate_name("x" * 100)) == 63
    assert abs(parse_timestamp(timestamp()) - time.time()) < 5
