"""By which of their fields the items of Kubernetes' lists are told apart when patches are merged.

From the ``patchMergeKey`` tags of https://github.com/kubernetes/api/blob/master/core/v1/types.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "conditions": "type",
    "ownerReferences": "uid",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
_PORT_KEYS = ("containerPort", "port")
_SETS = frozenset({"finalizers"})


def merge_key(field: str, items: Sequence[Any]) -> str | None:
    """The key of the list ``field``; ``""`` if its items are their own keys; ``None`` if the list is one value."""
    if field in _SETS:
        return ""
    if field == "ports":
        return next((key for key in _PORT_KEYS if any(key in item for item in items)), None)
    return _MERGE_KEYS.get(field)
