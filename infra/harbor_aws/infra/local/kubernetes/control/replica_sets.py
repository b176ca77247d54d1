"""The ReplicaSet controller: as many pods as asked for, replaced when they end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.control.kubelet import FINAL_PHASES
from harbor_aws.infra.local.kubernetes.control.owners import controller_of, owned_by, owner_reference
from harbor_aws.infra.local.kubernetes.control.work_queue import WorkQueue
from harbor_aws.infra.local.kubernetes.control.writes import create_object
from harbor_aws.infra.local.kubernetes.objects.names import generate_name, parse_timestamp
from harbor_aws.infra.local.kubernetes.objects.resources import PODS, REPLICA_SETS

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.control.events import EventRecorder
    from harbor_aws.infra.local.kubernetes.control.kubelet import Kubelet
    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.store import Change, Object, ObjectStore

_COMPONENT = "replicaset-controller"
_LONGEST_BACKOFF_SECONDS = 300.0
_HEALTHY_SECONDS = 600.0
"""A pod that ran this long is replaced at once, as if none had ended before it."""


@dataclass(slots=True)
class _Backoff:
    """How often the pods of a ReplicaSet ended of late, and when the next may be made."""

    seen: set[str] = field(default_factory=set)
    failures: int = 0
    until: float = 0.0


class ReplicaSetController:
    """Keeps every ReplicaSet's number of pods."""

    def __init__(self, store: ObjectStore, kubelet: Kubelet, events: EventRecorder) -> None:
        self._store = store
        self._kubelet = kubelet
        self._events = events
        self._backoffs: dict[str, _Backoff] = {}
        self.queue = WorkQueue(self._reconcile)
        store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.new.item["metadata"]
        if resource is REPLICA_SETS:
            self.queue.add((metadata["namespace"], metadata["name"]))
            if change.type == "DELETED":
                self._backoffs.pop(metadata["uid"], None)
        elif resource is PODS and (owner := controller_of(change.new.item)):
            self.queue.add((metadata["namespace"], owner["name"]))

    def _reconcile(self, key: tuple[str, str]) -> None:
        stored = self._store.find(REPLICA_SETS, *key)
        if stored is None:
            return
        owner = stored.item
        pods = owned_by(self._store, PODS, owner)
        active = [pod for pod in pods if _is_active(pod)]
        wait = self._account_for_ended(owner, [pod for pod in pods if pod["status"].get("phase") in FINAL_PHASES])
        missing = owner["spec"]["replicas"] - len(active)
        if missing > 0 and wait > 0:
            self.queue.add_later(key, wait)
        elif missing > 0:
            active += [self._create(owner) for _ in range(missing)]
        elif missing < 0:
            doomed = sorted(active, key=_worth)[:-missing]
            active = [pod for pod in active if pod not in doomed]
            for pod in doomed:
                self._delete(owner, pod)
        self._store.replace(REPLICA_SETS, {**owner, "status": _status(owner, active)})

    def _account_for_ended(self, owner: Object, ended: list[Object]) -> float:
        """Remember pods that ended, keep only the last; seconds to wait before making others."""
        backoff = self._backoffs.setdefault(owner["metadata"]["uid"], _Backoff())
        now = time.time()
        for pod in ended:
            if pod["metadata"]["uid"] not in backoff.seen:
                backoff.seen.add(pod["metadata"]["uid"])
                healthy = now - parse_timestamp(pod["metadata"]["creationTimestamp"]) > _HEALTHY_SECONDS
                backoff.failures = 0 if healthy else backoff.failures + 1
                backoff.until = now + min(2.0**backoff.failures - 1, _LONGEST_BACKOFF_SECONDS)
        for pod in sorted(ended, key=lambda one: int(one["metadata"]["resourceVersion"]))[:-1]:
            self._kubelet.delete(pod, 0)
        return backoff.until - now

    def _create(self, owner: Object) -> Object:
        template, metadata = owner["spec"]["template"], owner["metadata"]
        body = {
            "metadata": {
                "name": generate_name(f"{metadata['name']}-"),
                "generateName": f"{metadata['name']}-",
                "ownerReferences": [owner_reference(owner)],
                **{key: template["metadata"][key] for key in ("labels", "annotations") if key in template["metadata"]},
            },
            "spec": template["spec"],
        }
        pod = create_object(self._store, PODS, metadata["namespace"], body).item
        self._record(owner, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return pod

    def _delete(self, owner: Object, pod: Object) -> None:
        self._kubelet.delete(pod, None)
        self._record(owner, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")

    def _record(self, owner: Object, reason: str, message: str) -> None:
        self._events.record(owner, reason, message, component=_COMPONENT)


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _is_active(pod: Object) -> bool:
    return pod["status"].get("phase") not in FINAL_PHASES and "deletionTimestamp" not in pod["metadata"]


def _worth(pod: Object) -> tuple[bool, bool, int]:
    """The least is taken away first: pending before running, not ready before ready, young before old."""
    return (
        pod["status"].get("phase") == "Running",
        is_ready(pod),
        -int(parse_timestamp(pod["metadata"]["creationTimestamp"])),
    )


def _status(owner: Object, pods: list[Object]) -> dict[str, Any]:
    ready = sum(is_ready(pod) for pod in pods)
    return {
        "replicas": len(pods),
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "observedGeneration": owner["metadata"]["generation"],
    }
