"""The ``scale`` subresource: a Deployment or ReplicaSet seen as its number of replicas. Pure."""

from __future__ import annotations

from typing import Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import FieldError, bad_request, invalid


def scale_of(item: dict[str, Any]) -> dict[str, Any]:
    """The ``Scale`` of a workload."""
    metadata = item["metadata"]
    selector = item["spec"].get("selector") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": item["spec"]["replicas"]},
        "status": {
            "replicas": item["status"].get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()),
        },
    }


def scaled(item: dict[str, Any], scale: dict[str, Any]) -> dict[str, Any]:
    """The workload with the replicas of ``scale``, to be stored if it still has the version that ``scale`` names.

    Raises:
        ApiError: 400 or 422, that is no number of replicas.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    name = item["metadata"]["name"]
    if scale.get("kind", "Scale") != "Scale":
        raise bad_request(f"expected a Scale, not {scale['kind']}")
    if not isinstance(replicas, int) or replicas < 0:
        error = FieldError.wrong("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid("Scale", name, [error], "autoscaling")
    sent = (scale.get("metadata") or {}).get("resourceVersion")
    metadata = {**item["metadata"], "resourceVersion": sent} if sent else {**item["metadata"]}
    if not sent:
        metadata.pop("resourceVersion", None)
    return {**item, "metadata": metadata, "spec": {**item["spec"], "replicas": replicas}}
