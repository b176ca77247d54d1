"""A small Kubernetes for tests of what goes wrong: pods, a watch and exec, any of which a test may break."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Exec = Callable[[web.WebSocketResponse, list[str]], Awaitable[None]]

Json = dict[str, Any]

PODS = "/api/v1/namespaces/harbor-aws/pods"


class FakeKubernetes:
    """What the server has and was asked for.

    Attributes:
        pods: by name; they stay Pending until a test says otherwise by :meth:`change`.
        deleted: names of pods that were there and are not any more.
        requests: methods and paths, in order; a watch is ``WATCH``.
        events: what it recorded of all pods.
        interfere: answers a request in the server's stead, unless it returns ``None``.
        exec: plays the process of an exec.
    """

    def __init__(self) -> None:
        self.pods: dict[str, Json] = {}
        self.deleted: list[str] = []
        self.events: list[Json] = []
        self.requests: list[str] = []
        self.interfere: Callable[[str], Awaitable[web.Response | None]] = _nothing
        self.exec: Exec = _hang
        self._version = 0
        self._watchers: list[asyncio.Queue[Json | None]] = []

    def change(self, name: str, **status: Any) -> None:
        """Give a pod a new status, and tell the watches."""
        self._version += 1
        pod = self.pods[name]
        pod["metadata"]["resourceVersion"] = str(self._version)
        pod["status"] = status
        self.tell({"type": "MODIFIED", "object": json.loads(json.dumps(pod))})

    def run(self, name: str) -> None:
        self.change(name, phase="Running", containerStatuses=[{"name": "main", "state": {"running": {}}}])

    def tell(self, event: Json) -> None:
        """Send any event to the watches."""
        for watcher in self._watchers:
            watcher.put_nowait(event)

    def end_watches(self) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(None)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, and do what it asks for even if nobody waits for the answer any more."""
        return await asyncio.shield(asyncio.ensure_future(self._answer(request)))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        word = "WATCH" if "watch" in request.query else f"{request.method} {request.path}"
        self.requests.append(word)
        body = await request.read()
        answer = await self.interfere(word)
        if answer is not None:
            return answer
        if word == "WATCH":
            return await self._watch(request)
        if request.path.endswith("/exec"):
            return await self._exec(request)
        if request.method == "POST":
            return self._create(json.loads(body))
        if request.method == "DELETE":
            return self._delete(request.path.rpartition("/")[2])
        if request.path.startswith(f"{PODS}/"):
            pod = self.pods.get(request.path.removeprefix(f"{PODS}/"))
            return refusal(404) if pod is None else web.json_response(pod)
        events = self.events if request.path.endswith("/events") else []
        items = list(self.pods.values()) if request.path == PODS else events
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    def _create(self, pod: Json) -> web.Response:
        self._version += 1
        name = pod["metadata"]["name"]
        pod["metadata"] |= {"uid": f"uid-{self._version}", "resourceVersion": str(self._version)}
        pod["status"] = {"phase": "Pending"}
        self.pods[name] = pod
        return web.json_response(pod, status=201)

    def _delete(self, name: str) -> web.Response:
        if name not in self.pods:
            return refusal(404)
        self.deleted.append(name)
        return web.json_response(self.pods.pop(name))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        events: asyncio.Queue[Json | None] = asyncio.Queue()
        response = web.StreamResponse()
        await response.prepare(request)
        self._watchers.append(events)
        try:
            while (event := await events.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watchers.remove(events)
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        await self.exec(socket, request.query.getall("command"))
        await socket.close()
        return socket


def refusal(status: int, message: str = "") -> web.Response:
    """An answer that is a Kubernetes ``Status``."""
    return web.json_response({"kind": "Status", "message": message}, status=status)


def exit_status(code: int) -> bytes:
    """The message that ends an exec."""
    if code == 0:
        return b'\x03{"status":"Success"}'
    causes = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    return b"\x03" + json.dumps({"status": "Failure", "reason": "NonZeroExitCode", "details": causes}).encode()


@asynccontextmanager
async def serve(kubernetes: FakeKubernetes, directory: Path) -> AsyncIterator[KubernetesAccess]:
    """The server on loopback, and a kubeconfig for it in ``directory``."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", kubernetes.handle)
    async with TestServer(app) as server:
        yield KubernetesAccess(kubeconfig=kubeconfig(directory, str(server.make_url("")).rstrip("/")))
        kubernetes.end_watches()


def kubeconfig(directory: Path, url: str) -> Path:
    """A kubeconfig for one server, with the token ``t``."""
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(content))
    return path


async def _nothing(_word: str) -> None:
    return None


async def _hang(socket: web.WebSocketResponse, _argv: list[str]) -> None:
    """A process that neither reads to an end nor says anything."""
    async for message in socket:
        assert message.type is WSMsgType.BINARY
