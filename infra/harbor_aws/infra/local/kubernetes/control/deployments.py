"""The Deployment controller: one ReplicaSet for each template, scaled by the rollout."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.control.owners import controller_of, owned_by, owner_reference
from harbor_aws.infra.local.kubernetes.control.rollout import ReplicaCount, bounds, next_replicas
from harbor_aws.infra.local.kubernetes.control.work_queue import WorkQueue
from harbor_aws.infra.local.kubernetes.control.writes import change_object, create_object
from harbor_aws.infra.local.kubernetes.objects.names import timestamp
from harbor_aws.infra.local.kubernetes.objects.resources import DEPLOYMENTS, REPLICA_SETS

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.control.events import EventRecorder
    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.store import Change, Object, ObjectStore

_COMPONENT = "deployment-controller"
_HASH_LABEL = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"


class DeploymentController:
    """Keeps every Deployment's ReplicaSets."""

    def __init__(self, store: ObjectStore, events: EventRecorder) -> None:
        self._store = store
        self._events = events
        self.queue = WorkQueue(self._reconcile)
        store.listen(self._changed)

    def _changed(self, resource: Resource, change: Change) -> None:
        metadata = change.new.item["metadata"]
        if resource is DEPLOYMENTS:
            self.queue.add((metadata["namespace"], metadata["name"]))
        elif resource is REPLICA_SETS and (owner := controller_of(change.new.item)):
            self.queue.add((metadata["namespace"], owner["name"]))

    def _reconcile(self, key: tuple[str, str]) -> None:
        stored = self._store.find(DEPLOYMENTS, *key)
        if stored is None:
            return
        owner, sets = stored.item, owned_by(self._store, REPLICA_SETS, stored.item)
        label = _template_hash(owner)
        new = next((one for one in sets if one["metadata"]["labels"].get(_HASH_LABEL) == label), None)
        old = sorted((one for one in sets if one is not new), key=_revision)
        new = self._newest(owner, new, old, label)
        replicas, strategy = owner["spec"]["replicas"], owner["spec"]["strategy"]
        wanted, kept = next_replicas(replicas, strategy, _count(new), [_count(one) for one in old])
        new = self._scale(owner, new, wanted)
        old = [self._scale(owner, one, count) for one, count in zip(old, kept, strict=True)]
        self._forget(owner, old)
        revision = new["metadata"]["annotations"][_REVISION]
        annotations = {**(owner["metadata"].get("annotations") or {}), _REVISION: revision}
        metadata = {**owner["metadata"], "annotations": annotations}
        self._store.replace(DEPLOYMENTS, {**owner, "metadata": metadata, "status": _status(owner, new, old)})

    def _newest(self, owner: Object, new: Object | None, old: list[Object], label: str) -> Object:
        """The template's own ReplicaSet, made if there is none, with the highest revision."""
        last = max(map(_revision, old), default=0)
        if new is None:
            return self._create(owner, label, last + 1)
        if _revision(new) > last:
            return new
        annotations = {**new["metadata"]["annotations"], _REVISION: str(last + 1)}
        changed = {**new, "metadata": {**new["metadata"], "annotations": annotations}}
        return self._store.replace(REPLICA_SETS, changed).item

    def _create(self, owner: Object, label: str, revision: int) -> Object:
        spec, metadata = owner["spec"], owner["metadata"]
        labels = {**(spec["template"]["metadata"].get("labels") or {}), _HASH_LABEL: label}
        selector = spec["selector"]
        matched = {**(selector.get("matchLabels") or {}), _HASH_LABEL: label}
        body = {
            "metadata": {
                "name": f"{metadata['name']}-{label}",
                "labels": labels,
                "annotations": {_REVISION: str(revision)},
                "ownerReferences": [owner_reference(owner)],
            },
            "spec": {
                "replicas": 0,
                "selector": {**selector, "matchLabels": matched},
                "template": {**spec["template"], "metadata": {**spec["template"]["metadata"], "labels": labels}},
            },
        }
        return create_object(self._store, REPLICA_SETS, metadata["namespace"], body).item

    def _scale(self, owner: Object, item: Object, replicas: int) -> Object:
        before = item["spec"]["replicas"]
        if before == replicas:
            return item
        way = "up" if replicas > before else "down"
        message = f"Scaled {way} replica set {item['metadata']['name']} from {before} to {replicas}"
        self._events.record(owner, "ScalingReplicaSet", message, component=_COMPONENT)
        changed = {**item, "spec": {**item["spec"], "replicas": replicas}}
        return change_object(self._store, REPLICA_SETS, item, changed).item

    def _forget(self, owner: Object, old: list[Object]) -> None:
        """Remove old, empty ReplicaSets beyond the revision history's limit."""
        empty = [one for one in old if one["spec"]["replicas"] == 0 and one["status"]["replicas"] == 0]
        for item in empty[: max(0, len(empty) - owner["spec"]["revisionHistoryLimit"])]:
            self._store.remove(REPLICA_SETS, item["metadata"]["namespace"], item["metadata"]["name"])


def _template_hash(owner: Object) -> str:
    template = json.dumps(owner["spec"]["template"], sort_keys=True).encode()
    return hashlib.sha256(template).hexdigest()[:10]


def _revision(item: Object) -> int:
    return int((item["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _count(item: Object) -> ReplicaCount:
    status = item["status"]
    return ReplicaCount(item["spec"]["replicas"], status["replicas"], status.get("readyReplicas", 0))


def _status(owner: Object, new: Object, old: list[Object]) -> dict[str, Any]:
    replicas, sets = owner["spec"]["replicas"], [new, *old]
    total = sum(one["status"]["replicas"] for one in sets)
    ready = sum(one["status"].get("readyReplicas", 0) for one in sets)
    updated = new["status"]["replicas"]
    enough = ready >= replicas - bounds(owner["spec"]["strategy"], replicas).unavailable
    complete = updated == total == ready == replicas
    progress = (
        ("NewReplicaSetAvailable", "has successfully progressed")
        if complete
        else ("ReplicaSetUpdated", "is progressing")
    )
    earlier = {one["type"]: one for one in owner["status"].get("conditions") or ()}
    conditions = [
        _condition(
            earlier,
            "Available",
            enough,
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        ),
        _condition(earlier, "Progressing", True, progress[0], f'ReplicaSet "{new["metadata"]["name"]}" {progress[1]}.'),
    ]
    status = {
        "observedGeneration": owner["metadata"]["generation"],
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, replicas - ready),
    }
    return {key: value for key, value in status.items() if value} | {"conditions": conditions}


def _condition(earlier: dict[str, Any], kind: str, holds: bool, reason: str, message: str) -> dict[str, Any]:
    now, status, before = timestamp(), "True" if holds else "False", earlier.get(kind, {})
    same = all(
        before.get(key) == value for key, value in (("status", status), ("reason", reason), ("message", message))
    )
    if same:
        return dict(before)
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": now,
        "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == status else now,
    }
