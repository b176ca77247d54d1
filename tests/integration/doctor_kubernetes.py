"""A cluster's API as far as a doctor looks at it: objects by their paths, reviews of rights, pods that start, exec."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harbor_aws.infra.local.kubernetes.api.certificate import ServerCertificate

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

_PLURALS = {"NetworkPolicy": "networkpolicies", "SecurityGroupPolicy": "securitygrouppolicies"}
_CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
_SUCCESS = {"status": "Success"}


def ago(**since: float) -> str:
    """A time as Kubernetes writes it."""
    return (datetime.now(UTC) - timedelta(**since)).strftime("%Y-%m-%dT%H:%M:%SZ")


def path_of(manifest: Json) -> str:
    """Where the API has an object."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = "" if kind in _CLUSTER_WIDE else f"/namespaces/{metadata['namespace']}"
    return f"{root}{place}/{_PLURALS.get(kind, kind.lower() + 's')}/{metadata['name']}"


def running_pod(name: str, namespace: str, labels: dict[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "creationTimestamp": ago(minutes=10)},
        "spec": {"containers": [{"name": "main"}]},
        "status": _running(),
    }


def _running() -> Json:
    return {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(seconds=0)}],
        "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": ago(seconds=0)}}}],
    }


class FakeCluster:
    """What :func:`fake_cluster` serves.

    Attributes:
        objects: by path.
        denied: rights that a review denies (``create pods/exec``).
        forbidden: paths, or beginnings of such, that are answered with 403.
        silent: paths that are never answered.
        knows_nobody: 401 to everybody.
        new_pod_status: of a pod that is made; ``None``: it runs at once.
        cut_in: pods in which the streams of commands end without a word.
        executed: commands by pod.
    """

    def __init__(self) -> None:
        self.endpoint, self.certificate_authority = "", ""
        self.reset()

    def reset(self) -> None:
        self.objects: dict[str, Json] = {}
        self.denied: set[str] = set()
        self.forbidden: tuple[str, ...] = ()
        self.silent: set[str] = set()
        self.knows_nobody = False
        self.new_pod_status: Json | None = None
        self.cut_in: set[str] = set()
        self.executed: list[tuple[str, str]] = []
        self.version = "v1.33.1-eks-1234567"

    def put(self, manifest: Json) -> None:
        self.objects[path_of(manifest)] = manifest

    def find(self, kind: str, name: str) -> Json:
        (found,) = (each for each in self.objects.values() if (each["kind"], each["metadata"]["name"]) == (kind, name))
        return found

    def remove(self, kind: str, name: str) -> None:
        del self.objects[path_of(self.find(kind, name))]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path in self.silent:
            await asyncio.sleep(60)
        if path == "/version":
            return web.json_response({"gitVersion": self.version})
        if self.knows_nobody or not request.headers.get("Authorization", "").startswith("Bearer k8s-aws-v1."):
            return _status(401, "Unauthorized")
        if path.startswith(self.forbidden) and self.forbidden:
            return _status(403, f"forbidden: {path}")
        if path == "/apis":
            return web.json_response({"kind": "APIGroupList", "groups": []})
        if path.endswith("/subjectaccessreviews"):
            return web.json_response({"status": {"allowed": self._allows(await request.json())}}, status=201)
        if path.endswith("/exec"):
            return await self._exec(request)
        match request.method:
            case "POST":
                return self._create(path, await request.json())
            case "DELETE" if path in self.objects:
                return web.json_response(self.objects.pop(path))
        return self._read(request)

    def _read(self, request: web.Request) -> web.Response:
        path = request.path
        if path in self.objects:
            return web.json_response(self.objects[path])
        selector = request.query.get("labelSelector", "")
        items = [
            each
            for place, each in self.objects.items()
            if place.rpartition("/")[0] == path and _matches(each["metadata"].get("labels") or {}, selector)
        ]
        is_list = path.rpartition("/")[2] in {"pods", "scaledobjects"}
        return web.json_response({"items": items}) if is_list else _status(404, f"{path} not found")

    def _create(self, path: str, manifest: Json) -> web.Response:
        namespace = path.split("/")[4]
        manifest["metadata"] |= {"namespace": namespace, "creationTimestamp": ago(seconds=1)}
        manifest["status"] = self.new_pod_status or _running()
        self.put(manifest)
        return web.json_response(manifest, status=201)

    def _allows(self, review: Json) -> bool:
        spec = review["spec"]
        asked = spec["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        is_workers = spec["user"] == "system:serviceaccount:harbor-aws:harbor-aws-worker"
        return is_workers and f"{asked['verb']} {resource}" not in self.denied

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        pod = request.path.split("/")[-2]
        websocket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await websocket.prepare(request)
        self.executed.append((pod, request.query["command"]))
        await websocket.send_bytes(b"\x01")  # an empty piece of stdout, as real servers begin
        if pod not in self.cut_in:
            await websocket.send_bytes(b"\x03" + json.dumps(_SUCCESS).encode())
            await websocket.receive()
        await websocket.close()
        return websocket


@contextmanager
def fake_cluster() -> Iterator[FakeCluster]:
    """One on a free port of the loopback, in a thread of its own, with TLS."""
    cluster, certificate = FakeCluster(), ServerCertificate.make("127.0.0.1")
    cluster.certificate_authority = base64.b64encode(certificate.pem).decode()
    is_up = threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", cluster.serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate.context).start()
        cluster.endpoint = f"https://localhost:{runner.addresses[0][1]}"
        is_up.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert is_up.wait(30)
        yield cluster
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _matches(labels: dict[str, str], selector: str) -> bool:
    terms = [term.partition("=") for term in selector.split(",") if term]
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in terms)


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "status": "Failure", "message": message, "code": code}, status=code)
