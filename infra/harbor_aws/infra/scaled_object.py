"""The ScaledObject by which KEDA scales a stack's workers: what it is called, and what it says. Pure.

https://keda.sh/docs/2.20/reference/scaledobject-spec/
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.labels import PREFIX
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

Json = dict[str, Any]

KEDA_API = "keda.sh/v1alpha1"

SCALED_OBJECT = WORKER_DEPLOYMENT
"""Its name, and that of its TriggerAuthentication."""

PAUSED_AT = "autoscaling.keda.sh/paused-replicas"
"""An annotation of KEDA's: it sets so many workers, and then leaves them alone.
https://keda.sh/docs/2.20/concepts/scaling-deployments/#pausing-autoscaling"""

PAUSED = "autoscaling.keda.sh/paused"
"""Another, which leaves them alone as they are. `scale` does not set it, but heeds and removes it."""

MIN_WORKERS = f"{PREFIX}min-workers"
"""An annotation with what `scale --min` said, which `deploy` heeds."""

MAX_WORKERS = f"{PREFIX}max-workers"
"""Likewise of `scale --max`."""

KEDAS_MIN, KEDAS_MAX = 0, 100
"""What KEDA takes if nothing is said."""


class Autoscaling(BaseModel):
    """What a ScaledObject says."""

    model_config = ConfigDict(frozen=True)

    minimum: int
    """Workers when the queue is empty."""
    maximum: int
    is_paused: bool
    """Whether the number of workers is somebody's word instead."""
    trouble: str | None
    """Why KEDA does not scale, in its own words; ``None`` if it does, or has not said."""

    @classmethod
    def of(cls, scaled_object: Json) -> Self:
        spec = scaled_object["spec"]
        annotations = scaled_object["metadata"].get("annotations") or {}
        conditions = (scaled_object.get("status") or {}).get("conditions") or []
        ready: Json = next((each for each in conditions if each.get("type") == "Ready"), {})
        return cls(
            minimum=spec.get("minReplicaCount", KEDAS_MIN),
            maximum=spec.get("maxReplicaCount", KEDAS_MAX),
            is_paused=PAUSED_AT in annotations or annotations.get(PAUSED, "false") != "false",
            trouble=ready.get("message", "no reason") if ready.get("status") == "False" else None,
        )


def scaled_object_path(namespace: str) -> str:
    return f"/apis/{KEDA_API}/namespaces/{namespace}/scaledobjects/{SCALED_OBJECT}"


def authentication_path(namespace: str) -> str:
    return f"/apis/{KEDA_API}/namespaces/{namespace}/triggerauthentications/{SCALED_OBJECT}"
