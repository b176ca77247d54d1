"""The cluster behind the API: its objects and what acts on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.control.deletes import Deleter
from harbor_aws.infra.local.kubernetes.control.deployments import DeploymentController
from harbor_aws.infra.local.kubernetes.control.events import EventRecorder
from harbor_aws.infra.local.kubernetes.control.kubelet import Kubelet
from harbor_aws.infra.local.kubernetes.control.replica_sets import ReplicaSetController
from harbor_aws.infra.local.kubernetes.control.writes import create_object
from harbor_aws.infra.local.kubernetes.objects.resources import NAMESPACES
from harbor_aws.infra.local.kubernetes.objects.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harbor_aws.infra.local.kubernetes.runtime import PodRuntime

NAMESPACES_AT_START = ("default", "kube-system", "harbor-aws")


class Cluster:
    """One cluster, whose pods ``runtime`` runs. To be made and used on one loop."""

    def __init__(self, runtime: PodRuntime, *, namespaces: Iterable[str] = NAMESPACES_AT_START) -> None:
        self.runtime = runtime
        self.store = ObjectStore()
        self.events = EventRecorder(self.store)
        self.kubelet = Kubelet(self.store, runtime, self.events)
        self.deleter = Deleter(self.store, self.kubelet)
        self._deployments = DeploymentController(self.store, self.events)
        self._replica_sets = ReplicaSetController(self.store, self.kubelet, self.events)
        for name in namespaces:
            create_object(self.store, NAMESPACES, None, {"metadata": {"name": name}})

    async def close(self) -> None:
        """Make no more pods, stop all that run, and end every watch."""
        self._deployments.queue.close()
        self._replica_sets.queue.close()
        await self.kubelet.close()
        self.store.end_watches()
