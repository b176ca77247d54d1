"""Creating and changing objects, as the API does it: metadata, defaults, checks, then the store."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.objects import rules
from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request, forbidden
from harbor_aws.infra.local.kubernetes.objects.names import generate_name, timestamp
from harbor_aws.infra.local.kubernetes.objects.resources import NAMESPACES
from harbor_aws.infra.local.kubernetes.objects.store import Stored

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.store import Object, ObjectStore

_FIXED_METADATA = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_UNTRACKED = ("metadata", "status")


def create_object(
    store: ObjectStore, resource: Resource, namespace: str | None, body: dict[str, Any], *, dry_run: bool = False
) -> Stored:
    """Store a new object.

    Raises:
        ApiError: 400, 403, 404, 409 or 422, as Kubernetes.
    """
    item = {**body, "metadata": dict(_checked_metadata(resource, body))}
    metadata = item["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if resource.namespaced:
        metadata["namespace"] = _agreed_namespace(namespace, metadata.get("namespace"))
        _check_namespace(store, resource, metadata["namespace"], metadata.get("name") or "")
    if not metadata.get("name"):
        if not metadata.get("generateName"):
            raise rules.name_error(resource)
        metadata["name"] = generate_name(metadata["generateName"])
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
        metadata.pop(field, None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
    if resource.group == "apps":
        metadata["generation"] = 1
    item = rules.default_new(resource, {"apiVersion": resource.api_version, "kind": resource.kind, **item})
    rules.check_new(resource, item)
    return Stored(item) if dry_run else store.create(resource, item)


def change_object(
    store: ObjectStore, resource: Resource, current: Object, body: dict[str, Any], *, dry_run: bool = False
) -> Stored:
    """Store what ``body`` makes of everything but the status of ``current``.

    Raises:
        ApiError: 400, 404, 409 or 422, as Kubernetes.
    """
    metadata = _kept_metadata(resource, current, body)
    identity = {"apiVersion": resource.api_version, "kind": resource.kind}
    item = rules.default_changed(resource, {**identity, **body, "metadata": metadata}, current)
    rules.check_changed(resource, item, current)
    generation = current["metadata"].get("generation")
    if generation is not None:
        changed = any(item.get(key) != current.get(key) for key in {*item, *current} if key not in _UNTRACKED)
        metadata = {**item["metadata"], "generation": generation + changed}
        item = {**item, "metadata": metadata}
    return Stored(item) if dry_run else store.replace(resource, item)


def change_status(
    store: ObjectStore, resource: Resource, current: Object, body: dict[str, Any], *, dry_run: bool = False
) -> Stored:
    """Store the status of ``body``, and nothing else of it."""
    sent = _checked_metadata(resource, body).get("resourceVersion")
    metadata = current["metadata"] | ({"resourceVersion": sent} if sent else {})
    item = {**current, "metadata": metadata, "status": body.get("status") or {}}
    return Stored(item) if dry_run else store.replace(resource, item)


def _kept_metadata(resource: Resource, current: Object, body: dict[str, Any]) -> dict[str, Any]:
    metadata = dict(_checked_metadata(resource, body))
    kept = current["metadata"]
    if metadata.get("name", kept["name"]) != kept["name"]:
        why = f"the name of the object ({metadata['name']}) does not match the name on the URL ({kept['name']})"
        raise bad_request(why)
    if resource.namespaced:
        _agreed_namespace(kept["namespace"], metadata.get("namespace"))
    uid = metadata.get("uid")
    for field in _FIXED_METADATA:
        metadata.pop(field, None)
        if field in kept:
            metadata[field] = kept[field]
    if uid:
        metadata["uid"] = uid
    if not metadata.get("resourceVersion"):
        metadata.pop("resourceVersion", None)
    if "generation" in kept:
        metadata["generation"] = kept["generation"]
    return metadata


def _checked_metadata(resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
    kind, version = body.get("kind") or resource.kind, body.get("apiVersion") or resource.api_version
    if kind != resource.kind or version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) or its kind ({kind}) does not match the expected "
            f"{resource.api_version} {resource.kind}"
        )
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or not isinstance(body.get("spec") or {}, dict):
        raise bad_request(f"{resource.kind} in version {version!r} cannot be handled: metadata and spec must be maps")
    return metadata


def _agreed_namespace(of_path: str | None, of_body: str | None) -> str:
    if of_path is None:
        raise bad_request("the namespace of the object is not given")
    if of_body and of_body != of_path:
        raise bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request: "
            f"{of_body} is not {of_path}"
        )
    return of_path


def _check_namespace(store: ObjectStore, resource: Resource, namespace: str, name: str) -> None:
    phase = store.get(NAMESPACES, None, namespace).item["status"]["phase"]
    if phase == "Terminating" and resource.plural != "events":
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise forbidden(resource.plural, name, why)
