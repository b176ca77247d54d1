"""Events: what happened to an object, in a person's words, as ``kubectl describe`` shows it."""

from __future__ import annotations

import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.objects.names import timestamp
from harbor_aws.infra.local.kubernetes.objects.pod_rules import NODE_NAME
from harbor_aws.infra.local.kubernetes.objects.resources import EVENTS

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.objects.store import Object, ObjectStore

_KEPT = 10_000
"""Events kept at most; Kubernetes keeps each for an hour."""
_KEPT_SECONDS = 3600.0


class EventRecorder:
    """Records events; one that happens again to the same object only counts up."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._recorded: deque[tuple[float, str, str]] = deque()
        self._names: dict[tuple[str, ...], str] = {}

    def record(
        self, about: Object, reason: str, message: str, *, component: str, field_path: str = "", warning: bool = False
    ) -> None:
        namespace = about["metadata"].get("namespace") or "default"
        same = (about["metadata"]["uid"], reason, message, field_path)
        seen = self._store.find(EVENTS, namespace, self._names.get(same, ""))
        now = timestamp()
        if seen is not None:
            self._store.replace(EVENTS, {**seen.item, "count": seen.item["count"] + 1, "lastTimestamp": now})
            return
        event = _event(about, namespace, now, component=component, field_path=field_path)
        event |= {"reason": reason, "message": message, "type": "Warning" if warning else "Normal"}
        self._store.create(EVENTS, event)
        self._names[same] = event["metadata"]["name"]
        self._recorded.append((time.monotonic(), namespace, event["metadata"]["name"]))
        self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - _KEPT_SECONDS
        while len(self._recorded) > _KEPT or (self._recorded and self._recorded[0][0] < oldest):
            _, namespace, name = self._recorded.popleft()
            if self._store.find(EVENTS, namespace, name) is not None:
                self._store.remove(EVENTS, namespace, name)
        if len(self._names) > 2 * _KEPT:
            kept = {name for _, _, name in self._recorded}
            self._names = {same: name for same, name in self._names.items() if name in kept}


def _event(about: Object, namespace: str, now: str, *, component: str, field_path: str) -> dict[str, Any]:
    metadata = about["metadata"]
    involved = {
        "kind": about["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": about["apiVersion"],
        "resourceVersion": metadata["resourceVersion"],
        **({"fieldPath": field_path} if field_path else {}),
    }
    name = f"{metadata['name'][:230]}.{time.time_ns():x}"
    source = {"component": component, **({"host": NODE_NAME} if component == "kubelet" else {})}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now},
        "involvedObject": involved,
        "source": source,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "eventTime": None,
        "reportingComponent": component,
        "reportingInstance": NODE_NAME,
    }
