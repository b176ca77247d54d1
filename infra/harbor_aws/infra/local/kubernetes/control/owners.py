"""Who owns which object, and what becomes of what is owned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.objects.resources import DEPLOYMENTS, PODS, REPLICA_SETS

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.control.kubelet import Kubelet
    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.store import Object, ObjectStore

_OWNED = {DEPLOYMENTS: REPLICA_SETS, REPLICA_SETS: PODS}


def owner_reference(owner: Object) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(item: Object) -> dict[str, Any] | None:
    """The owner that manages an object."""
    references = item["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def owned_by(store: ObjectStore, resource: Resource, owner: Object) -> list[Object]:
    """The objects of one resource that ``owner`` manages, by name."""
    uid = owner["metadata"]["uid"]

    def mine(item: Any) -> bool:
        reference = controller_of(item)
        return reference is not None and reference["uid"] == uid

    return [stored.item for _, stored in store.list(resource, owner["metadata"]["namespace"], mine)]


def remove_owned(store: ObjectStore, kubelet: Kubelet, resource: Resource, owner: Object) -> None:
    """Delete what a deleted Deployment or ReplicaSet managed, pods with their grace."""
    owned = _OWNED.get(resource)
    if owned is None:
        return
    for item in owned_by(store, owned, owner):
        if owned is PODS:
            kubelet.delete(item, None)
        else:
            store.remove(owned, item["metadata"]["namespace"], item["metadata"]["name"])
            remove_owned(store, kubelet, owned, item)


def release_owned(store: ObjectStore, resource: Resource, owner: Object) -> None:
    """Let what ``owner`` managed live on without it (``propagationPolicy: Orphan``)."""
    owned = _OWNED.get(resource)
    for item in owned_by(store, owned, owner) if owned else ():
        kept = [one for one in item["metadata"]["ownerReferences"] if one["uid"] != owner["metadata"]["uid"]]
        store.replace(owned, {**item, "metadata": {**item["metadata"], "ownerReferences": kept}})  # type: ignore[arg-type]  # it is set inside the loop
