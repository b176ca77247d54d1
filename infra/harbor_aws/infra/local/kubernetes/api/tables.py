"""Objects as the rows of a table, for ``kubectl get``. Pure but for the clock.

The columns are those of https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.api.pod_summary import pod_status, ready_containers, restarts
from harbor_aws.infra.local.kubernetes.objects.durations import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harbor_aws.infra.local.kubernetes.objects.resources import Resource

    Object = dict[str, Any]
    Column = tuple[str, str, int]
    """Name, type, and priority: 1 is shown with ``-o wide`` only."""

_NAME = ("Name", "string", 0)
_AGE = ("Age", "string", 0)
_WORKLOAD_WIDE = (("Containers", "string", 1), ("Images", "string", 1), ("Selector", "string", 1))

_COLUMNS: dict[str, tuple[Column, ...]] = {
    "pods": (
        _NAME,
        ("Ready", "string", 0),
        ("Status", "string", 0),
        ("Restarts", "string", 0),
        _AGE,
        ("IP", "string", 1),
        ("Node", "string", 1),
        ("Nominated Node", "string", 1),
        ("Readiness Gates", "string", 1),
    ),
    "namespaces": (_NAME, ("Status", "string", 0), _AGE),
    "deployments": (
        _NAME,
        ("Ready", "string", 0),
        ("Up-to-date", "string", 0),
        ("Available", "string", 0),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    "replicasets": (
        _NAME,
        ("Desired", "integer", 0),
        ("Current", "integer", 0),
        ("Ready", "integer", 0),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    "events": (
        ("Last Seen", "string", 0),
        ("Type", "string", 0),
        ("Reason", "string", 0),
        ("Object", "string", 0),
        ("Subobject", "string", 1),
        ("Source", "string", 1),
        ("Message", "string", 0),
        ("First Seen", "string", 1),
        ("Count", "string", 1),
        ("Name", "string", 1),
    ),
}


def table(
    resource: Resource, items: Iterable[Object], list_metadata: Object, *, include: str, columns: bool = True
) -> Object:
    """A ``Table`` of objects.

    Args:
        include: what each row carries: ``Metadata`` (the default of the API), ``Object`` or ``None``.
        columns: whether the columns are described; in a watch only the first table does.
    """
    definitions = [
        {
            "name": name,
            "type": kind,
            "format": "name" if name == "Name" else "",
            "description": name,
            "priority": priority,
        }
        for name, kind, priority in _COLUMNS[resource.plural]
    ]
    cells = _CELLS[resource.plural]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata,
        "columnDefinitions": definitions if columns else None,
        "rows": [{"cells": cells(item), **_row_object(item, include)} for item in items],
    }


def _row_object(item: Object, include: str) -> Object:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": item}
    metadata = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
    return {"object": metadata}


def _pod(item: Object) -> list[Any]:
    ready, total = ready_containers(item)
    status, spec = item["status"], item["spec"]
    return [
        item["metadata"]["name"],
        f"{ready}/{total}",
        pod_status(item),
        restarts(item),
        _age(item),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        "<none>",
        "<none>",
    ]


def _namespace(item: Object) -> list[Any]:
    return [item["metadata"]["name"], item["status"]["phase"], _age(item)]


def _deployment(item: Object) -> list[Any]:
    status = item["status"]
    return [
        item["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{item['spec']['replicas']}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(item),
        *_workload_wide(item),
    ]


def _replica_set(item: Object) -> list[Any]:
    status = item["status"]
    return [
        item["metadata"]["name"],
        item["spec"]["replicas"],
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(item),
        *_workload_wide(item),
    ]


def _workload_wide(item: Object) -> list[str]:
    containers = item["spec"]["template"]["spec"]["containers"]
    labels = (item["spec"]["selector"].get("matchLabels") or {}).items()
    return [
        ",".join(one["name"] for one in containers),
        ",".join(one["image"] for one in containers),
        ",".join(f"{key}={value}" for key, value in labels),
    ]


def _event(item: Object) -> list[Any]:
    about = item.get("involvedObject") or {}
    source = item.get("source") or {}
    return [
        age(item.get("lastTimestamp") or item.get("eventTime") or item.get("firstTimestamp")),
        item.get("type", ""),
        item.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(filter(None, (source.get("component"), source.get("host")))),
        (item.get("message") or "").strip(),
        age(item.get("firstTimestamp") or item.get("eventTime")),
        item.get("count") or 1,
        item["metadata"]["name"],
    ]


def _age(item: Object) -> str:
    return age(item["metadata"].get("creationTimestamp"))


_CELLS: dict[str, Callable[[Object], list[Any]]] = {
    "pods": _pod,
    "namespaces": _namespace,
    "deployments": _deployment,
    "replicasets": _replica_set,
    "events": _event,
}
