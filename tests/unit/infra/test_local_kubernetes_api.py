"""The API over HTTP, with a runtime that runs nothing."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.infra.fake_runtime import FakeRuntime

from harbor_aws.infra.local.kubernetes.api import reads
from harbor_aws.infra.local.kubernetes.api.application import Api
from harbor_aws.infra.local.kubernetes.control.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
Json = dict[str, Any]


class Client:
    """Requests to a server, and what is behind it."""

    def __init__(self, session: aiohttp.ClientSession, runtime: FakeRuntime) -> None:
        self.session = session
        self.runtime = runtime

    async def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        content_type = options.pop("content_type", "application/json")
        data = json.dumps(body) if isinstance(body, dict) else body
        headers = {"Content-Type": content_type, **options.pop("headers", {})}
        async with self.session.request(method, path, data=data, headers=headers, **options) as response:
            text = await response.text()
            assert response.status == status, text
            return json.loads(text) if response.content_type == "application/json" else text

    async def run(self, name: str, *command: str, **spec: Any) -> Any:
        """Create a pod of one container and wait until it runs or ended."""
        await self("POST", PODS, pod(name, *command, **spec), status=201)
        return await self.until(f"{PODS}/{name}", lambda item: item["status"]["phase"] != "Pending")

    async def until(self, path: str, holds: Any) -> Any:
        async with asyncio.timeout(20):
            while not holds(item := await self("GET", path)):
                await asyncio.sleep(0.01)
            return item

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[Json]]:
        async with self.session.get(path, params={"watch": "1", **query}) as response:
            assert response.status == 200

            async def events() -> AsyncIterator[Json]:
                async for line in response.content:
                    yield json.loads(line)

            yield events()


def pod(name: str, *command: str, image: str = "debian", **spec: Any) -> Json:
    metadata = spec.pop("metadata", {})
    container = {"name": "main", "image": image, "command": list(command or ["sleep"])}
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def deployment(replicas: int, **fields: Any) -> Json:
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "main", "image": "i:1", **fields}]},
    }
    return {
        "metadata": {"name": "w"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "w"}}, "template": template},
    }


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    runtime = FakeRuntime()
    cluster = Cluster(runtime)
    runner = web.AppRunner(Api(cluster, token="t").application(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer t"}) as session:
        yield Client(session, runtime)
    await cluster.close()
    await runner.cleanup()
    assert runtime.closed


async def test_token_is_asked_for(client: Client) -> None:
    """Without the token everything but health and version is 401, in Kubernetes' words."""
    for header in ("Bearer wrong", "", "t"):
        refused = await client("GET", PODS, status=401, headers={"Authorization": header})
        assert (refused["kind"], refused["reason"], refused["message"]) == ("Status", "Unauthorized", "Unauthorized")
    for path in ("/healthz", "/readyz", "/livez"):
        assert await client("GET", path, headers={"Authorization": ""}) == "ok"
    assert (await client("GET", "/version", headers={"Authorization": ""}))["minor"] == "32"


async def test_discovery(client: Client) -> None:
    """Groups, resources and subresources are listed as clients look for them."""
    assert (await client("GET", "/api"))["versions"] == ["v1"]
    assert [group["name"] for group in (await client("GET", "/apis"))["groups"]] == ["apps", "coordination.k8s.io"]
    names = {row["name"] for row in (await client("GET", "/api/v1"))["resources"]}
    assert {"pods", "pods/exec", "pods/log", "namespaces", "events"} <= names
    assert {row["name"] for row in (await client("GET", "/apis/apps/v1"))["resources"]} >= {"deployments/scale"}
    (lease,) = (await client("GET", "/apis/coordination.k8s.io/v1"))["resources"]
    assert (lease["name"], lease["kind"], "shortNames" in lease) == ("leases", "Lease", False)


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason"),
    [
        ("GET", f"{PODS}/nope", None, 404, "NotFound"),
        ("GET", "/api/v1/nothing", None, 404, "NotFound"),
        ("POST", "/api/v1/namespaces/nope/pods", pod("p"), 404, "NotFound"),
        ("POST", PODS, {"metadata": {"name": "p"}, "spec": {}}, 422, "Invalid"),
        ("POST", PODS, {"metadata": {}, "spec": {}}, 422, "Invalid"),
        ("POST", PODS, {**pod("p"), "kind": "Deployment"}, 400, "BadRequest"),
        ("POST", PODS, pod("p", metadata={"namespace": "kube-system"}), 400, "BadRequest"),
        ("POST", PODS, b"{", 400, "BadRequest"),
        ("POST", PODS, b"", 400, "BadRequest"),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}}, 409, "AlreadyExists"),
        ("DELETE", "/api/v1/namespaces/default", None, 403, "Forbidden"),
        ("PUT", PODS, pod("p"), 405, "MethodNotAllowed"),
        ("GET", f"{PODS}?fieldSelector=x%3Dy", None, 400, "BadRequest"),
        ("GET", f"{PODS}?limit=x", None, 400, "BadRequest"),
        ("GET", f"{PODS}?resourceVersion=99999999999999999", None, 504, "Timeout"),
    ],
)
async def test_refusals(client: Client, method: str, path: str, body: Any, code: int, reason: str) -> None:
    """Every refusal is a Status with Kubernetes' code and reason."""
    refused = await client(method, path, body, status=code)
    assert (refused["kind"], refused["status"], refused["code"], refused["reason"]) == (
        "Status",
        "Failure",
        code,
        reason,
    )


async def test_other_media_types(client: Client) -> None:
    """A body in another format is 415, a too large one 413, and an answer that cannot be made 406."""
    await client("POST", PODS, b"k8s\0", status=415, content_type="application/vnd.kubernetes.protobuf")
    await client("POST", PODS, io.BytesIO(b" " * (3 * 1024 * 1024 + 1)), status=413)
    await client("GET", PODS, status=406, headers={"Accept": "application/vnd.kubernetes.protobuf"})
    made = await client(
        "POST",
        PODS,
        b"metadata: {name: y}\nspec: {containers: [{name: c, image: i}]}",
        status=201,
        content_type="application/yaml",
    )
    assert made["metadata"]["name"] == "y"


async def test_pod_life(client: Client) -> None:
    """A pod is created with its defaults, runs, is deleted with grace, and is gone when the runtime has stopped it."""
    made = await client("POST", PODS, pod("p", terminationGracePeriodSeconds=7), status=201)
    assert made["status"]["phase"] == "Pending"
    assert {"uid", "creationTimestamp", "resourceVersion"} <= made["metadata"].keys()
    running = await client.until(f"{PODS}/p", lambda item: item["status"]["phase"] == "Running")
    assert {one["type"] for one in running["status"]["conditions"]} == {"Ready", "PodScheduled"}
    client.runtime.may_stop.clear()
    dying = await client("DELETE", f"{PODS}/p")
    assert dying["metadata"]["deletionGracePeriodSeconds"] == 7
    assert "deletionTimestamp" in (await client("GET", f"{PODS}/p"))["metadata"]
    client.runtime.may_stop.set()
    async with asyncio.timeout(20):
        while (await client("GET", PODS))["items"]:
            await asyncio.sleep(0.01)
    assert client.runtime.stopped == [(made["metadata"]["uid"], 7)]
    reasons = [item["reason"] for item in (await client("GET", "/api/v1/namespaces/default/events"))["items"]]
    assert sorted(reasons) == ["Created", "Killing", "Pulled", "Scheduled", "Started"]


async def test_forced_delete(client: Client) -> None:
    """A grace of 0 removes the object at once, whether in body or query, and an ended pod needs none."""
    for name, query, body, command in (
        ("a", "?gracePeriodSeconds=0", None, "sleep"),
        ("b", "", {"gracePeriodSeconds": 0}, "sleep"),
        ("c", "", None, "exit"),
    ):
        await client.run(name, command, "0")
        await client("DELETE", f"{PODS}/{name}{query}", body)
        await client("GET", f"{PODS}/{name}", status=404)


async def test_shorter_grace_comes_through(client: Client) -> None:
    """A second, shorter delete of a pod that is still stopping reaches the runtime; a longer one does not."""
    await client.run("p")
    client.runtime.may_stop.clear()
    for grace in (30, 40, 2):
        await client("DELETE", f"{PODS}/p", {"gracePeriodSeconds": grace})
    assert [seconds for _, seconds in client.runtime.stopped] == [30, 2]
    client.runtime.may_stop.set()


async def test_delete_preconditions(client: Client) -> None:
    """A delete that names another uid is a conflict and deletes nothing."""
    await client.run("p")
    refused = await client("DELETE", f"{PODS}/p", {"preconditions": {"uid": "other"}}, status=409)
    assert refused["reason"] == "Conflict"
    assert await client("GET", f"{PODS}/p")


async def test_delete_collection(client: Client) -> None:
    """Deleting a collection deletes what its selector matches."""
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"})):
        await client("POST", PODS, pod(name, metadata={"labels": labels}), status=201)
    await client("DELETE", f"{PODS}?labelSelector=x%3D1", {"gracePeriodSeconds": 0})
    assert [item["metadata"]["name"] for item in (await client("GET", PODS))["items"]] == ["b"]


async def test_deadline(client: Client) -> None:
    """activeDeadlineSeconds ends a pod as DeadlineExceeded."""
    await client.run("p", activeDeadlineSeconds=1)
    failed = await client.until(f"{PODS}/p", lambda item: item["status"]["phase"] == "Failed")
    assert failed["status"]["reason"] == "DeadlineExceeded"
    assert "terminated" in failed["status"]["containerStatuses"][0]["state"]


async def test_image_that_cannot_be_pulled(client: Client) -> None:
    """The pod waits with its reason, and a warning event tells why."""
    await client("POST", PODS, pod("p", image="missing"), status=201)
    await client.until(
        f"{PODS}/p",
        lambda item: (
            item["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}).get("reason")
            == "ErrImagePull"
        ),
    )
    events = (await client("GET", "/api/v1/namespaces/default/events?fieldSelector=type%3DWarning"))["items"]
    assert [(item["reason"], item["message"], item["involvedObject"]["name"]) for item in events] == [
        ("Failed", "no such image", "p")
    ]


async def test_list_pages(client: Client) -> None:
    """A list with a limit comes in pages of one version; a version of another life is 410."""
    for name in "abcde":
        await client("POST", PODS, pod(name), status=201)
    first = await client("GET", f"{PODS}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    second = await client("GET", PODS, params={"limit": "3", "continue": first["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in first["items"] + second["items"]] == list("abcde")
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in second["metadata"]
    assert (await client("GET", f"{PODS}?resourceVersion=1&resourceVersionMatch=Exact", status=410))[
        "reason"
    ] == "Expired"


async def test_generated_names(client: Client) -> None:
    """generateName gives different names."""
    body = {**pod(""), "metadata": {"generateName": "trial-"}}
    names = {(await client("POST", PODS, body, status=201))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("trial-") and len(name) == 11 for name in names)


async def test_watch(client: Client) -> None:
    """A watch from a list's version shows each change of the selected pods, once, in order."""
    version = (await client("GET", PODS))["metadata"]["resourceVersion"]
    async with client.watch(PODS, resourceVersion=version, labelSelector="x=1") as events:
        await client("POST", PODS, pod("other"), status=201)
        await client("POST", PODS, pod("p", "exit", "3", metadata={"labels": {"x": "1"}}), status=201)
        seen = []
        async with asyncio.timeout(20):
            async for event in events:
                seen.append((event["type"], event["object"]["status"]["phase"]))
                if seen[-1] == ("MODIFIED", "Failed"):
                    await client("DELETE", f"{PODS}/p")
                if event["type"] == "DELETED":
                    break
    assert seen == [
        ("ADDED", "Pending"),
        ("MODIFIED", "Pending"),
        ("MODIFIED", "Running"),
        ("MODIFIED", "Failed"),
        ("DELETED", "Failed"),
    ]


async def test_watch_of_a_forgotten_version(client: Client) -> None:
    """A watch from a version that is forgotten says 410 as an event and ends."""
    async with client.watch(PODS, resourceVersion="1") as events:
        (event,) = [event async for event in events]
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_bookmarks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that allows bookmarks is told the version now and then, and ends when its time is over."""
    monkeypatch.setattr(reads, "BOOKMARK_SECONDS", 0.2)
    async with client.watch(PODS, allowWatchBookmarks="true", timeoutSeconds="1") as events:
        await client("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}}, status=201)
        seen = [event async for event in events]
    version = (await client("GET", PODS))["metadata"]["resourceVersion"]
    assert {event["type"] for event in seen} == {"BOOKMARK"}
    assert seen[-1]["object"]["metadata"]["resourceVersion"] == version


async def test_initial_events(client: Client) -> None:
    """A streaming list begins with what is there and says when that is all."""
    await client.run("p")
    seen = []
    async with client.watch(PODS, sendInitialEvents="true", allowWatchBookmarks="true") as events:
        async for event in events:
            seen.append(event["type"])
            if event["type"] == "BOOKMARK":
                assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
                break
    assert seen == ["ADDED", "BOOKMARK"]


async def test_updates_and_conflicts(client: Client) -> None:
    """PUT and PATCH change what may change; an old resourceVersion is a conflict; status is a thing of its own."""
    old = await client.run("p")
    new = await client("PUT", f"{PODS}/p", {**old, "metadata": {**old["metadata"], "labels": {"a": "1"}}, "status": {}})
    assert (new["metadata"]["labels"], new["status"]["phase"]) == ({"a": "1"}, "Running")
    assert (await client("PUT", f"{PODS}/p", old, status=409))["reason"] == "Conflict"
    patch = {"metadata": {"labels": {"b": "2"}}, "status": {"phase": "Failed"}}
    merged = await client("PATCH", f"{PODS}/p", patch, content_type="application/merge-patch+json")
    assert (merged["metadata"]["labels"], merged["status"]["phase"]) == ({"a": "1", "b": "2"}, "Running")
    set_by_hand = await client("PATCH", f"{PODS}/p/status", patch, content_type="application/merge-patch+json")
    assert (set_by_hand["metadata"]["labels"], set_by_hand["status"]["phase"]) == ({"a": "1", "b": "2"}, "Failed")
    command = {"spec": {"containers": [{"name": "main", "command": ["x"]}]}}
    await client("PATCH", f"{PODS}/p", command, status=422, content_type="application/strategic-merge-patch+json")


async def test_server_side_apply_creates_and_changes(client: Client) -> None:
    """An apply creates what is not there and then changes it; without a manager it is refused."""
    body = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment(1)}
    options: dict[str, Any] = {"content_type": "application/apply-patch+yaml"}
    await client("PATCH", f"{DEPLOYMENTS}/w", body, status=422, **options)
    await client("PATCH", f"{DEPLOYMENTS}/w?fieldManager=me", body, status=201, **options)
    body["spec"]["replicas"] = 0
    assert (await client("PATCH", f"{DEPLOYMENTS}/w?fieldManager=me", body, **options))["spec"]["replicas"] == 0


async def test_dry_run_changes_nothing(client: Client) -> None:
    """dryRun answers as if and stores nothing."""
    await client("POST", f"{PODS}?dryRun=All", pod("p"), status=201)
    await client("GET", f"{PODS}/p", status=404)


async def test_log(client: Client) -> None:
    """The log's tail, bound and follow; a container that has not started has none; unknown ones are named."""
    await client.run("p")
    assert await client("GET", f"{PODS}/p/log?tailLines=1") == "three\n"
    assert await client("GET", f"{PODS}/p/log?limitBytes=2&container=main") == "on"
    assert (await client("GET", f"{PODS}/p/log?follow=true")).endswith("three\nfour\n")
    assert "not valid for pod p" in (await client("GET", f"{PODS}/p/log?container=x", status=400))["message"]
    await client("POST", PODS, pod("q", image="missing"), status=201)
    assert "is waiting to start" in (await client("GET", f"{PODS}/q/log", status=400))["message"]


async def run_exec(
    client: Client, *command: str, protocol: str = "v5.channel.k8s.io", sent: Iterable[bytes] = (), **query: str
) -> dict[int, bytes]:
    """All that comes back on each channel."""
    parameters = [*{"stdout": "true", "stderr": "true", **query}.items(), *(("command", word) for word in command)]
    received: dict[int, bytes] = {}
    async with client.session.ws_connect(
        f"{PODS}/p/exec", params=parameters, protocols=[protocol], method=query.pop("method", "GET")
    ) as socket:
        assert socket.protocol == protocol
        for message in sent:
            await socket.send_bytes(message)
        async with asyncio.timeout(20):
            async for answer in socket:
                received[answer.data[0]] = received.get(answer.data[0], b"") + answer.data[1:]
    return received


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
async def test_exec_outputs_and_status(client: Client, protocol: str) -> None:
    """Bytes come on their channels and the exit code on channel 3, as Kubernetes' Status."""
    await client.run("p")
    received = await run_exec(client, "both", protocol=protocol)
    assert (received[1], received[2]) == (b"out\xff", b"err")
    assert json.loads(received[3]) == {"metadata": {}, "status": "Success"}
    failed = json.loads((await run_exec(client, "exit", "3", protocol=protocol))[3])
    assert (failed["reason"], failed["details"]["causes"]) == (
        "NonZeroExitCode",
        [{"reason": "ExitCode", "message": "3"}],
    )
    assert all(process.detached for process in client.runtime.processes)


async def test_exec_end_of_stdin(client: Client) -> None:
    """v5's close frame ends stdin."""
    await client.run("p")
    received = await run_exec(client, "cat", stdin="true", sent=[b"\0one ", b"\0two", b"\xff\0"])
    assert received[1] == b"one two"


async def test_exec_resizes_its_terminal(client: Client) -> None:
    """Channel 4 carries the size of the terminal; nonsense on it is passed over."""
    await client.run("p")
    sizes = [b"\x04nonsense", b'\x04{"Width":80,"Height":24}']
    assert (await run_exec(client, "size", tty="true", sent=sizes))[1] == b"80x24"


async def test_exec_of_no_such_program(client: Client) -> None:
    """A program that cannot be executed is an internal error on channel 3, without an exit code."""
    await client.run("p")
    failed = json.loads((await run_exec(client, "nosuch"))[3])
    assert (failed["reason"], failed["code"]) == ("InternalError", 500)
    assert "executable file not found" in failed["message"]


async def test_exec_refusals(client: Client) -> None:
    """Before the upgrade: no such pod 404, no such container or no upgrade 400, a container that does not run 500."""
    await client.run("p")
    await client.run("ended", "exit", "0")
    await client("GET", f"{PODS}/p/exec?command=x&stdout=1", status=400)
    for path, query, status in (("nope", "", 404), ("p", "&container=x", 400), ("ended", "", 500)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.session.ws_connect(
                f"{PODS}/{path}/exec?command=x&stdout=1{query}", protocols=["v4.channel.k8s.io"]
            )
        assert caught.value.status == status


async def test_exec_client_that_leaves(client: Client) -> None:
    """When the client goes away, the process is let go, not waited for."""
    await client.run("p")
    socket = await client.session.ws_connect(
        f"{PODS}/p/exec?command=cat&stdin=1&stdout=1", protocols=["v4.channel.k8s.io"]
    )
    assert (await socket.receive_bytes()) == b"\x01"
    await socket.close()
    async with asyncio.timeout(20):
        while not client.runtime.processes[0].detached:
            await asyncio.sleep(0.01)


async def test_deployment_makes_replaces_and_removes_pods(client: Client) -> None:
    """A Deployment has its pods, gets another for one that ends, and takes them along when it is deleted."""
    await client("POST", DEPLOYMENTS, deployment(3), status=201)
    ready = await client.until(f"{DEPLOYMENTS}/w", lambda item: item["status"].get("readyReplicas") == 3)
    assert {one["type"]: one["status"] for one in ready["status"]["conditions"]} == {
        "Available": "True",
        "Progressing": "True",
    }
    lost = (await client("GET", PODS))["items"][0]["metadata"]["name"]
    await client("DELETE", f"{PODS}/{lost}")
    await client.until(
        PODS, lambda items: len(items["items"]) == 3 and lost not in {one["metadata"]["name"] for one in items["items"]}
    )
    gone = await client("DELETE", f"{DEPLOYMENTS}/w")
    assert (gone["status"], gone["details"]["kind"]) == ("Success", "deployments")
    await client.until(PODS, lambda items: not items["items"])


async def test_scale(client: Client) -> None:
    """The scale subresource changes the number of pods; the youngest goes first."""
    await client("POST", DEPLOYMENTS, deployment(1), status=201)
    first = (await client.until(PODS, lambda items: len(items["items"]) == 1))["items"][0]["metadata"]["name"]
    scale = await client("GET", f"{DEPLOYMENTS}/w/scale")
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 1, "app=w")
    await asyncio.sleep(1.1)  # creation times have whole seconds
    patch = {"spec": {"replicas": 3}}
    await client("PATCH", f"{DEPLOYMENTS}/w/scale", patch, content_type="application/merge-patch+json")
    await client.until(f"{DEPLOYMENTS}/w", lambda item: item["status"].get("readyReplicas") == 3)
    await client("PUT", f"{DEPLOYMENTS}/w/scale", scale, status=409)
    del scale["metadata"]["resourceVersion"]
    await client("PUT", f"{DEPLOYMENTS}/w/scale", scale)
    left = await client.until(PODS, lambda items: len(items["items"]) == 1)
    assert left["items"][0]["metadata"]["name"] == first


async def test_rolling_update(client: Client) -> None:
    """A changed template replaces all pods, never fewer than allowed ready, by a second ReplicaSet."""
    await client("POST", DEPLOYMENTS, deployment(4), status=201)
    await client.until(f"{DEPLOYMENTS}/w", lambda item: item["status"].get("readyReplicas") == 4)
    await client("PUT", f"{DEPLOYMENTS}/w", deployment(4, env=[{"name": "A", "value": "1"}]))
    done = await client.until(
        f"{DEPLOYMENTS}/w",
        lambda item: (
            item["status"].get("updatedReplicas") == item["status"].get("replicas") == 4
            and item["status"]["observedGeneration"] == 2
        ),
    )
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    await client.until(PODS, lambda items: len(items["items"]) == 4)
    sets = (await client("GET", "/apis/apps/v1/namespaces/default/replicasets"))["items"]
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 4]


async def test_crashing_pods_are_made_slowly(client: Client) -> None:
    """Pods that end at once are replaced with a growing delay, and only the last one is kept."""
    await client("POST", DEPLOYMENTS, deployment(1, command=["exit", "1"]), status=201)
    await asyncio.sleep(2.5)
    items = (await client("GET", PODS))["items"]
    assert len(items) <= 2
    events = (await client("GET", "/api/v1/namespaces/default/events?fieldSelector=reason%3DSuccessfulCreate"))["items"]
    assert 1 <= len(events) <= 3


async def test_namespace_deletion(client: Client) -> None:
    """A namespace takes its content along, admits nothing meanwhile, and is gone when its last pod is."""
    await client("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}}, status=201)
    await client("POST", "/api/v1/namespaces/x/pods", pod("p"), status=201)
    client.runtime.may_stop.clear()
    dying = await client("DELETE", "/api/v1/namespaces/x")
    assert dying["status"]["phase"] == "Terminating"
    await client("POST", "/api/v1/namespaces/x/pods", pod("q"), status=403)
    client.runtime.may_stop.set()
    async with asyncio.timeout(20):
        while len((await client("GET", "/api/v1/namespaces"))["items"]) != 3:
            await asyncio.sleep(0.01)


async def test_tables(client: Client) -> None:
    """kubectl's tables have its columns, in lists and in watches."""
    await client.run("p")
    await client("POST", DEPLOYMENTS, deployment(0), status=201)
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = await client("GET", PODS, headers=headers)
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:4] == ["p", "1/1", "Running", "0"]
    assert [column["name"] for column in table["columnDefinitions"]][:5] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
    ]
    for path in ("/api/v1/namespaces", DEPLOYMENTS, "/apis/apps/v1/namespaces/default/replicasets", "/api/v1/events"):
        table = await client("GET", path, headers=headers)
        assert {len(row["cells"]) for row in table["rows"]} == {len(table["columnDefinitions"])}
    async with client.session.get(PODS, params={"watch": "1"}, headers=headers) as response:
        event = json.loads(await response.content.readline())
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Table")


async def test_metrics(client: Client) -> None:
    """Requests are counted by verb, resource and subresource, watches included."""
    await client.run("p")
    async with client.watch(PODS):
        pass
    await run_exec(client, "both")
    async with asyncio.timeout(20):
        while 'verb="WATCH"' not in (text := await client("GET", "/metrics")):
            await asyncio.sleep(0.01)
    assert 'apiserver_request_total{code="201",resource="pods",subresource="",verb="POST"} 1.0' in text
    assert 'apiserver_request_total{code="101",resource="pods",subresource="exec",verb="CONNECT"} 1.0' in text
    assert 'apiserver_request_total{code="200",resource="pods",subresource="",verb="WATCH"} 1.0' in text
