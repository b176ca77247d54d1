"""What is inside of a stack's cluster: that which CloudFormation cannot make."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.deploy.apply import apply_objects
from harbor_aws.infra.deploy.keda import apply_autoscaling, remove_autoscaling, remove_keda_namespace
from harbor_aws.infra.deploy.manifests import manifests
from harbor_aws.infra.deploy.manifests.plan import plan_from_outputs
from harbor_aws.infra.deploy.removal import remove_objects
from harbor_aws.infra.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harbor_aws.infra.deploy.follow import Watcher
    from harbor_aws.infra.stack import Stack


class ClusterObjects(Protocol):
    """A stack's Kubernetes objects: namespaces, service account, RBAC, quota, the workers' Deployment and so on."""

    def apply(self, stack: Stack, outputs: Mapping[str, str]) -> None:
        """Make them, or make them as they should be. Called after the stack is as it should be, changed or not."""
        ...

    def remove(self, stack: Stack) -> None:
        """Drain the workers and delete everything. Called before the stack goes, while it has a cluster."""
        ...


class EksObjects:
    """Those of a deployed stack. Blocking. A stack without a cluster, which an emulated one is, has none.

    Args:
        keda: the objects of KEDA's release manifest; ``None`` for the one that this version knows of.
        account_vcpus: asked for what Fargate gives the account at once, in vCPUs, which bounds how many workers the
            queue may have; ``None`` if nobody knows.
    """

    def __init__(
        self,
        watcher: Watcher,
        *,
        keda: Sequence[dict[str, Any]] | None = None,
        account_vcpus: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._watcher = watcher
        self._keda = keda
        self._account_vcpus = account_vcpus

    def apply(self, stack: Stack, outputs: Mapping[str, str]) -> None:
        """Make them, or make them as they should be; how many workers there are, and may be, stays as it is.

        Raises:
            PermanentError: the cluster does not know a kind of object, or refuses one.
            AccessRefusedError: it does not take these credentials.
            TransientError: it does not answer.
            UsageError: it cannot be reached as the stack says.
        """
        if stack.cluster_name is None:
            self._watcher.began("This CloudFormation is an emulator's: there is no cluster, and nothing to make in one")
            return
        self._watcher.began(f"Making what is inside of the cluster {stack.cluster_name}")
        asyncio.run(self._apply(stack, outputs))

    def remove(self, stack: Stack) -> None:
        """Drain the workers, delete all pods and wait until they are gone, then delete the rest."""
        if stack.cluster_name is not None:
            asyncio.run(remove_objects(stack, watcher=self._watcher))

    async def _apply(self, stack: Stack, outputs: Mapping[str, str]) -> None:
        plan = replace(plan_from_outputs(stack, outputs), account_vcpus=await asyncio.to_thread(self._account_vcpus))
        async with Cluster.open(stack.workers) as cluster:
            unknown = await apply_objects(cluster, manifests(plan))
            if plan.keda_role_arn is not None:
                await apply_autoscaling(cluster, plan, manifest=self._keda, watcher=self._watcher)
            else:
                await remove_autoscaling(cluster, stack, watcher=self._watcher)
                await remove_keda_namespace(cluster, stack)
        if unknown:
            raise PermanentError(
                f"The cluster {stack.cluster_name} does not know {', '.join(unknown)}, which every EKS cluster does; "
                "all else was made. Look at the cluster's version, then run the command again."
            )
