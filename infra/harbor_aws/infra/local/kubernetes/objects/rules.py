"""The rules of each kind of object, and those that hold for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import ApiError, FieldError, invalid
from harbor_aws.infra.local.kubernetes.objects.names import check_label_name, check_labels, check_subdomain
from harbor_aws.infra.local.kubernetes.objects.pod_rules import check_pod, check_pod_update, default_pod
from harbor_aws.infra.local.kubernetes.objects.workload_rules import (
    check_workload,
    check_workload_update,
    default_deployment,
    default_replica_set,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.local.kubernetes.objects.resources import Resource

    Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """What one kind of object must be like."""

    default: Callable[[Object], Object]
    """Fills in what was left out; for a new object also its first status."""
    check: Callable[[Object], list[FieldError]]
    check_update: Callable[[Object, Object], list[FieldError]]
    """New and old."""


def _nothing(*_: Object) -> list[FieldError]:
    return []


def _default_namespace(item: Object) -> Object:
    name = item["metadata"]["name"]
    labels = {**(item["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": name}
    metadata = {**item["metadata"], "labels": labels}
    return {"spec": {"finalizers": ["kubernetes"]}, **item, "metadata": metadata, "status": {"phase": "Active"}}


_RULES = {
    "namespaces": Rules(_default_namespace, _nothing, _nothing),
    "pods": Rules(default_pod, check_pod, check_pod_update),
    "events": Rules(lambda item: item, _nothing, _nothing),
    "deployments": Rules(default_deployment, check_workload, check_workload_update),
    "replicasets": Rules(default_replica_set, check_workload, check_workload_update),
    "leases": Rules(lambda item: item, _nothing, _nothing),
}


def default_new(resource: Resource, item: Object) -> Object:
    """A new object as it is stored."""
    return _RULES[resource.plural].default(item)


def default_changed(resource: Resource, item: Object, old: Object) -> Object:
    """A changed object as it is stored: with its old status and, for a pod, its place."""
    defaulted = _RULES[resource.plural].default(item)
    if "status" in old:
        defaulted = {**defaulted, "status": old["status"]}
    return defaulted


def check_new(resource: Resource, item: Object) -> None:
    """Raises: ApiError: 422."""
    _raise(resource, item, _check_metadata(resource, item["metadata"]) + _RULES[resource.plural].check(item))


def check_changed(resource: Resource, item: Object, old: Object) -> None:
    """Raises: ApiError: 422."""
    rules = _RULES[resource.plural]
    errors = check_labels("metadata.labels", item["metadata"].get("labels"))
    _raise(resource, item, errors + rules.check(item) + rules.check_update(item, old))


def name_error(resource: Resource) -> ApiError:
    message = "Required value: name or generateName is required"
    return invalid(resource.kind, "", [FieldError("metadata.name", message, "FieldValueRequired")], resource.group)


def _check_metadata(resource: Resource, metadata: Object) -> list[FieldError]:
    check_name = check_label_name if resource.plural == "namespaces" else check_subdomain
    return check_name("metadata.name", metadata["name"]) + check_labels("metadata.labels", metadata.get("labels"))


def _raise(resource: Resource, item: Object, errors: list[FieldError]) -> None:
    if errors:
        raise invalid(resource.kind, str(item["metadata"]["name"]), errors, resource.group)
