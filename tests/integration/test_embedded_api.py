"""The embedded Kubernetes with the official asyncio client and real pods."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.aio import client, config, stream, watch
from tests.integration.embedded_kubernetes import embedded_kubernetes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

NAMESPACE = "harbor-aws"

k8s: Any = client  # its models refuse the plain dicts that its calls take, and much of it has no types
Watch: Any = watch.Watch
WsApiClient: Any = stream.WsApiClient
load_kube_config: Any = config.load_kube_config


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with embedded_kubernetes(tmp_path_factory.mktemp("kubernetes")) as path:
        yield path


@pytest.fixture
async def configuration(kubeconfig: Path) -> Any:
    made = k8s.Configuration()
    await load_kube_config(config_file=str(kubeconfig), client_configuration=made, persist_config=False)
    return made


@pytest.fixture
async def core(configuration: Any) -> AsyncIterator[Any]:
    async with k8s.ApiClient(configuration) as api:
        yield k8s.CoreV1Api(api)


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "debian:bookworm", "command": list(command)}
    body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"test": name}}, "spec": body}


async def until(core: Any, name: str, *phases: str) -> Any:
    """The pod once it is in one of the phases, by watching it."""
    listed = await core.list_namespaced_pod(NAMESPACE, field_selector=f"metadata.name={name}")
    version = listed.metadata.resource_version
    if listed.items and listed.items[0].status.phase in phases:
        return listed.items[0]
    async with asyncio.timeout(60), Watch() as events:
        changes = events.stream(
            core.list_namespaced_pod, NAMESPACE, field_selector=f"metadata.name={name}", resource_version=version
        )
        async for event in changes:
            if event["type"] == "DELETED" or event["object"].status.phase in phases:
                return event["object"]
    raise AssertionError("the watch ended")


async def test_pod_life(core: Any) -> None:
    """Create, watch, read the log of, patch and delete a pod whose process really ran."""
    made = await core.create_namespaced_pod(NAMESPACE, pod("life", "sh", "-c", "echo hello; exit 3"))
    assert made.status.phase == "Pending"
    ended = await until(core, "life", "Failed")
    assert ended.status.container_statuses[0].state.terminated.exit_code == 3
    assert await core.read_namespaced_pod_log("life", NAMESPACE) == "hello\n"
    patched = await core.patch_namespaced_pod("life", NAMESPACE, {"metadata": {"labels": {"more": "1"}}})
    assert patched.metadata.labels == {"test": "life", "more": "1"}
    await core.delete_namespaced_pod("life", NAMESPACE)
    with pytest.raises(k8s.ApiException) as caught:
        await core.read_namespaced_pod("life", NAMESPACE)
    assert json.loads(caught.value.body)["reason"] == "NotFound"


async def test_grace(core: Any) -> None:
    """A pod that ignores TERM stays, with its deletionTimestamp, until its grace is over."""
    await core.create_namespaced_pod(
        NAMESPACE, pod("stubborn", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    )
    await until(core, "stubborn", "Running")
    dying = await core.delete_namespaced_pod("stubborn", NAMESPACE, grace_period_seconds=2)
    assert dying.metadata.deletion_grace_period_seconds == 2
    assert (await core.read_namespaced_pod("stubborn", NAMESPACE)).metadata.deletion_timestamp
    await until(core, "stubborn", "none: until it is deleted")
    assert (await core.list_namespaced_pod(NAMESPACE, label_selector="test=stubborn")).items == []


async def test_exec(core: Any, configuration: Any) -> None:
    """The official client's exec sees output and exit code."""
    await core.create_namespaced_pod(NAMESPACE, pod("exec", "sleep", "1000"))
    await until(core, "exec", "Running")
    async with WsApiClient(configuration) as api:
        connect = k8s.CoreV1Api(api).connect_get_namespaced_pod_exec_without_preload_content
        response = await connect(
            "exec", NAMESPACE, command=["sh", "-c", "id -u; exit 4"], stdout=True, stderr=True, stdin=False, tty=False
        )
        received: dict[int, bytes] = {}
        async with response as socket:
            async for message in socket:
                received[message.data[0]] = received.get(message.data[0], b"") + message.data[1:]
        assert received[1] == b"0\n"
        assert WsApiClient.parse_error_data(received[3].decode()) == 4
    await core.delete_namespaced_pod("exec", NAMESPACE)


async def test_deadline(core: Any) -> None:
    """activeDeadlineSeconds ends a real process."""
    await core.create_namespaced_pod(NAMESPACE, pod("late", "sleep", "1000", activeDeadlineSeconds=1))
    assert (await until(core, "late", "Failed")).status.reason == "DeadlineExceeded"
    await core.delete_namespaced_pod("late", NAMESPACE)


async def test_many_pods_at_once(core: Any) -> None:
    """Forty pods are created, watched, and deleted together, each seen once at its end."""
    names = [f"many-{index}" for index in range(40)]
    version = (await core.list_namespaced_pod(NAMESPACE)).metadata.resource_version
    await asyncio.gather(*(core.create_namespaced_pod(NAMESPACE, pod(name, "true")) for name in names))
    ended: list[str] = []
    async with asyncio.timeout(90), Watch() as events:
        async for event in events.stream(core.list_namespaced_pod, NAMESPACE, resource_version=version):
            if event["type"] != "DELETED" and event["object"].status.phase == "Succeeded":
                ended.append(event["object"].metadata.name)
            if len(ended) == len(names):
                break
    assert sorted(ended) == sorted(names)
    await asyncio.gather(*(core.delete_namespaced_pod(name, NAMESPACE) for name in names))
    assert (await core.list_namespaced_pod(NAMESPACE)).items == []


async def test_deployment_and_scale(configuration: Any) -> None:
    """The typed client creates, scales and deletes a Deployment."""
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "debian", "command": ["sleep", "1000"]}],
        },
    }
    body = {"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"app": "w"}}, "template": template}}
    async with k8s.ApiClient(configuration) as api:
        apps, core = k8s.AppsV1Api(api), k8s.CoreV1Api(api)
        await apps.create_namespaced_deployment(NAMESPACE, body)
        await apps.patch_namespaced_deployment_scale("w", NAMESPACE, {"spec": {"replicas": 3}})
        async with asyncio.timeout(60):
            while (await apps.read_namespaced_deployment("w", NAMESPACE)).status.ready_replicas != 3:
                await asyncio.sleep(0.1)
            await apps.delete_namespaced_deployment("w", NAMESPACE)
            while (await core.list_namespaced_pod(NAMESPACE, label_selector="app=w")).items:
                await asyncio.sleep(0.1)


async def test_expired_watch(core: Any) -> None:
    """The client sees 410 for a version that is forgotten."""
    async with Watch() as events:
        changes = events.stream(core.list_namespaced_pod, NAMESPACE, resource_version="1")
        with pytest.raises(k8s.ApiException) as caught:
            await anext(changes)
    assert caught.value.status == 410


async def test_wrong_token(configuration: Any) -> None:
    """Another token is refused."""
    configuration.api_key = {"BearerToken": "Bearer wrong"}
    async with k8s.ApiClient(configuration) as api:
        with pytest.raises(k8s.ApiException) as caught:
            await k8s.CoreV1Api(api).list_namespaced_pod(NAMESPACE)
    assert caught.value.status == 401
