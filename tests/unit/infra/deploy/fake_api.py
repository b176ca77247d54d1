"""A Kubernetes API that stores what is applied: with kinds that come to be served late, finalizers and versions."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from tests.unit.worker.fake_kubernetes import kubeconfig

from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

Json = dict[str, Any]

KINDS: dict[str, dict[str, tuple[str, bool]]] = {
    "/api/v1": {
        "Namespace": ("namespaces", False),
        "ServiceAccount": ("serviceaccounts", True),
        "Service": ("services", True),
        "ConfigMap": ("configmaps", True),
        "ResourceQuota": ("resourcequotas", True),
    },
    "/apis/rbac.authorization.k8s.io/v1": {"Role": ("roles", True), "RoleBinding": ("rolebindings", True)},
    "/apis/policy/v1": {"PodDisruptionBudget": ("poddisruptionbudgets", True)},
    "/apis/vpcresources.k8s.aws/v1beta1": {"SecurityGroupPolicy": ("securitygrouppolicies", True)},
    "/apis/apps/v1": {"Deployment": ("deployments", True)},
    "/apis/apiextensions.k8s.io/v1": {"CustomResourceDefinition": ("customresourcedefinitions", False)},
    "/apis/apiregistration.k8s.io/v1": {"APIService": ("apiservices", False)},
}
"""By API group: each kind's resource, and whether it is in a namespace."""


class FakeApi:
    """The server's side.

    Attributes:
        objects: by path.
        asked: method and path of every request.
        late_looks: so many times the kinds of a definition are asked for in vain.
        interfere: called before each request; it may change the objects.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.asked: list[tuple[str, str]] = []
        self.late_looks = 0
        self.interfere: Callable[[str, str], None] = lambda _method, _path: None
        self._kinds = copy.deepcopy(KINDS)
        self._version = 0

    def put(self, path: str, manifest: Json) -> None:
        """Let an object be there, changed."""
        self._version += 1
        stored = copy.deepcopy(manifest)
        stored.setdefault("metadata", {})["resourceVersion"] = str(self._version)
        self.objects[path] = stored

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path
        self.asked.append((request.method, path))
        self.interfere(request.method, path)
        if request.method == "GET" and path in self._kinds | self._coming():
            return self._discovery(path)
        match request.method:
            case "GET" if path in self.objects:
                return web.json_response(self.objects[path])
            case "GET" if any(path.endswith(f"/{name}") for kinds in KINDS.values() for name, _ in kinds.values()):
                items = [each for key, each in self.objects.items() if key.rpartition("/")[0] == path]
                return web.json_response({"items": [each for each in items if _matches(each, request.query)]})
            case "PATCH":
                return self._patch(request, path, json.loads(await request.text()))
            case "DELETE" if path in self.objects:
                if self.objects[path]["metadata"].get("finalizers"):
                    self.objects[path]["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z"
                else:
                    del self.objects[path]
                return web.json_response({"kind": "Status", "status": "Success"})
        return _refusal(404)

    def _coming(self) -> dict[str, Any]:
        """Groups of definitions that were applied."""
        definitions = [each for each in self.objects.values() if each.get("kind") == "CustomResourceDefinition"]
        groups: dict[str, Any] = {}
        for each in definitions:
            spec = each["spec"]
            for version in spec["versions"]:
                group = groups.setdefault(f"/apis/{spec['group']}/{version['name']}", {})
                group[spec["names"]["kind"]] = (spec["names"]["plural"], spec["scope"] == "Namespaced")
        return groups

    def _discovery(self, group: str) -> web.Response:
        kinds = self._kinds.get(group)
        if kinds is None:
            if self.late_looks:
                self.late_looks -= 1
                return _refusal(404)
            kinds = self._coming()[group]
        resources = [{"kind": kind, "name": name, "namespaced": spaced} for kind, (name, spaced) in kinds.items()]
        return web.json_response({"resources": resources})

    def _patch(self, request: web.Request, path: str, body: Json) -> web.Response:
        path = path.removesuffix("/scale")
        found = self.objects.get(path)
        is_apply = request.content_type == "application/apply-patch+yaml"
        if found is None and not is_apply:
            return _refusal(404)
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and (found is None or found["metadata"]["resourceVersion"] != version):
            return _refusal(409)
        merged = _merged(found or {}, body)
        if not merged["metadata"].get("finalizers") and merged["metadata"].get("deletionTimestamp"):
            del self.objects[path]
        else:
            self.put(path, merged)
        return web.json_response(merged)


def _matches(found: Json, query: Any) -> bool:
    labels = found["metadata"].get("labels") or {}
    wanted = [each.split("=", 1) for each in query.get("labelSelector", "").split(",") if each]
    name = query.get("fieldSelector", "").partition("metadata.name=")[2]
    return all(labels.get(key) == value for key, value in wanted) and name in ("", found["metadata"]["name"])


def _merged(found: Any, body: Any) -> Any:
    if not isinstance(found, dict) or not isinstance(body, dict):
        return body
    kept = {key: value for key, value in found.items() if key not in body}
    return kept | {key: _merged(found.get(key), value) for key, value in body.items() if value is not None}


def _refusal(status: int) -> web.Response:
    return web.json_response({"kind": "Status", "code": status, "message": "no"}, status=status)


@asynccontextmanager
async def serve_fake_api(directory: Path) -> AsyncIterator[tuple[KubernetesAccess, FakeApi]]:
    """The server on loopback, and a kubeconfig for it in ``directory``."""
    fake = FakeApi()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        port = runner.addresses[0][1]
        yield KubernetesAccess(kubeconfig=kubeconfig(directory, f"http://127.0.0.1:{port}")), fake
    finally:
        await runner.cleanup()


@contextmanager
def fake_api_in_a_thread(directory: Path) -> Iterator[tuple[KubernetesAccess, FakeApi]]:
    """The same for tests whose own thread runs a command, which has a loop of its own."""
    is_up, is_over = threading.Event(), asyncio.Event()
    made: list[Any] = []

    async def serve() -> None:
        async with serve_fake_api(directory) as (access, api):
            made.extend((asyncio.get_running_loop(), access, api))
            is_up.set()
            await is_over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert is_up.wait(30)
    loop, access, api = made
    try:
        yield access, api
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join()
