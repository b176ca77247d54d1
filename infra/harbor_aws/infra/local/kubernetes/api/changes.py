"""POST, PUT, PATCH and DELETE of objects, their status and their scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.api.bodies import read_document, read_options
from harbor_aws.infra.local.kubernetes.api.list_options import ListOptions
from harbor_aws.infra.local.kubernetes.api.representation import Representation, json_response
from harbor_aws.infra.local.kubernetes.control.deletes import DeleteOptions
from harbor_aws.infra.local.kubernetes.control.scale import scale_of, scaled
from harbor_aws.infra.local.kubernetes.control.writes import change_object, change_status, create_object
from harbor_aws.infra.local.kubernetes.objects.api_errors import FieldError, bad_request, invalid
from harbor_aws.infra.local.kubernetes.objects.patch import APPLY_PATCH, patched

if TYPE_CHECKING:
    from aiohttp import web

    from harbor_aws.infra.local.kubernetes.api.request_path import Target
    from harbor_aws.infra.local.kubernetes.control.cluster import Cluster
    from harbor_aws.infra.local.kubernetes.objects.store import Object, Stored


async def create(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    representation = Representation.of(request, target.resource)
    body = await read_document(request)
    stored = create_object(cluster.store, target.resource, target.namespace, body, dry_run=_dry_run(request))
    return json_response(representation.object(stored), status=201)


async def update(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    representation = Representation.of(request, target.resource)
    body = await read_document(request)
    return json_response(representation.object(_change(request, cluster, target, _current(cluster, target), body)))


async def patch(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    representation = Representation.of(request, target.resource)
    manager = request.query.get("fieldManager", "")
    if request.content_type == APPLY_PATCH and not manager:
        error = FieldError("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
        raise invalid("PatchOptions", "", [error], "meta.k8s.io")
    content = await request.read()
    found = cluster.store.find(target.resource, target.namespace, target.name or "")
    if found is None and request.content_type == APPLY_PATCH and not target.subresource:
        body = patched({"metadata": {"name": target.name}}, APPLY_PATCH, content, manager=manager)
        stored = create_object(cluster.store, target.resource, target.namespace, body, dry_run=_dry_run(request))
        return json_response(representation.object(stored), status=201)
    current = _current(cluster, target)
    body = patched(current, request.content_type, content, manager=manager)
    return json_response(representation.object(_change(request, cluster, target, current, body)))


async def get_scale(_request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    return json_response(scale_of(_current(cluster, target)))


async def update_scale(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    body = await read_document(request)
    return _scale(request, cluster, target, _current(cluster, target), body)


async def patch_scale(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    content = await request.read()
    current = _current(cluster, target)
    manager = request.query.get("fieldManager", "")
    return _scale(
        request, cluster, target, current, patched(scale_of(current), request.content_type, content, manager=manager)
    )


async def delete(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    options = DeleteOptions.read(await read_options(request), request.query)
    return json_response(cluster.deleter.delete(target.resource, _current(cluster, target), options))


async def delete_collection(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    options = DeleteOptions.read(await read_options(request), request.query)
    if target.resource.namespaced and target.namespace is None:
        raise bad_request("a collection is deleted in one namespace at a time")
    match = ListOptions.read(request.query, target.resource).match
    rows = [stored for _, stored in cluster.store.list(target.resource, target.namespace, match)]
    for stored in rows:
        cluster.deleter.delete(target.resource, stored.item, options)
    metadata = {"resourceVersion": str(cluster.store.version)}
    return json_response(Representation.of(request, target.resource).list(rows, metadata))


def _current(cluster: Cluster, target: Target) -> Object:
    return cluster.store.get(target.resource, target.namespace, target.name or "").item


def _change(request: web.Request, cluster: Cluster, target: Target, current: Object, body: dict[str, Any]) -> Stored:
    change = change_status if target.subresource == "status" else change_object
    return change(cluster.store, target.resource, current, body, dry_run=_dry_run(request))


def _scale(
    request: web.Request, cluster: Cluster, target: Target, current: Object, scale: dict[str, Any]
) -> web.Response:
    body = scaled(current, scale)
    stored = change_object(cluster.store, target.resource, current, body, dry_run=_dry_run(request))
    return json_response(scale_of(stored.item))


def _dry_run(request: web.Request) -> bool:
    return "dryRun" in request.query
