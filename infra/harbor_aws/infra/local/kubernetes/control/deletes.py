"""Deleting objects, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from harbor_aws.infra.local.kubernetes.control.owners import release_owned, remove_owned
from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request, conflict, forbidden
from harbor_aws.infra.local.kubernetes.objects.names import timestamp
from harbor_aws.infra.local.kubernetes.objects.resources import (
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.local.kubernetes.control.kubelet import Kubelet
    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.store import Change, Object, ObjectStore

_LASTING = frozenset({"default", "kube-system"})


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete, from the body and the query of the request."""

    grace_seconds: int | None = None
    orphan: bool = False
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any], query: Mapping[str, str]) -> Self:
        """Raises: ApiError: 400, the grace period is not a number."""
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        preconditions = body.get("preconditions") or {}
        try:
            seconds = None if grace is None else int(grace)
        except ValueError as error:
            raise bad_request(f"gracePeriodSeconds is not a number: {grace}") from error
        return cls(
            grace_seconds=seconds,
            orphan="Orphan" in (body.get("propagationPolicy"), query.get("propagationPolicy")),
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            dry_run=bool(body.get("dryRun") or query.get("dryRun")),
        )


class Deleter:
    """Deletes objects of every kind."""

    def __init__(self, store: ObjectStore, kubelet: Kubelet) -> None:
        self._store = store
        self._kubelet = kubelet
        store.listen(self._changed)

    def delete(self, resource: Resource, item: Object, options: DeleteOptions) -> Object:
        """What the API answers: the object on its way out, or a ``Status`` if that is the kind's way.

        Raises:
            ApiError: 403, 404 or 409.
        """
        metadata = item["metadata"]
        name = metadata["name"]
        _check_preconditions(resource, metadata, options)
        if resource is NAMESPACES and name in _LASTING:
            raise forbidden("namespaces", name, "this namespace may not be deleted")
        if options.dry_run:
            return item
        if resource is PODS:
            return self._kubelet.delete(item, options.grace_seconds)
        if resource is NAMESPACES:
            return self._delete_namespace(item)
        self._store.remove(resource, metadata.get("namespace"), name)
        if options.orphan:
            release_owned(self._store, resource, item)
        else:
            remove_owned(self._store, self._kubelet, resource, item)
        group = {"group": resource.group} if resource.group else {}
        details = {"name": name, **group, "kind": resource.plural, "uid": metadata["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _delete_namespace(self, item: Object) -> Object:
        name = item["metadata"]["name"]
        if "deletionTimestamp" in item["metadata"]:
            return item
        ending = {
            **item,
            "metadata": {**item["metadata"], "deletionTimestamp": timestamp()},
            "status": {**item["status"], "phase": "Terminating"},
        }
        ending = self._store.replace(NAMESPACES, ending).item
        for resource in (DEPLOYMENTS, REPLICA_SETS, LEASES):
            for _, stored in list(self._store.list(resource, name)):
                self._store.remove(resource, name, stored.item["metadata"]["name"])
        for _, stored in list(self._store.list(PODS, name)):
            self._kubelet.delete(stored.item, None)
        self._finish_namespace(name)
        return ending

    def _finish_namespace(self, name: str) -> None:
        if any(self._store.list(PODS, name)):
            return
        for _, stored in list(self._store.list(EVENTS, name)):
            self._store.remove(EVENTS, name, stored.item["metadata"]["name"])
        self._store.remove(NAMESPACES, None, name)

    def _changed(self, resource: Resource, change: Change) -> None:
        if resource is not PODS or change.type != "DELETED":
            return
        name = change.new.item["metadata"]["namespace"]
        namespace = self._store.find(NAMESPACES, None, name)
        if namespace is not None and namespace.item["status"]["phase"] == "Terminating":
            self._finish_namespace(name)


def _check_preconditions(resource: Resource, metadata: Mapping[str, Any], options: DeleteOptions) -> None:
    for field, wanted in (("uid", options.uid), ("resourceVersion", options.resource_version)):
        if wanted is not None and metadata[field] != wanted:
            title = "UID" if field == "uid" else "ResourceVersion"
            why = f"Precondition failed: {title} in precondition: {wanted}, {title} in object meta: {metadata[field]}"
            raise conflict(resource.plural, metadata["name"], resource.group, why)
