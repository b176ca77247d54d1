"""Where what is inside of the cluster comes in: that which CloudFormation cannot make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack


class ClusterObjects(Protocol):
    """A stack's Kubernetes objects: namespaces, service accounts, RBAC, quota, the workers' Deployment and so on."""

    def apply(self, stack: Stack) -> None:
        """Make them, or make them as they should be. Called after the stack is as it should be, changed or not."""
        ...

    def remove(self, stack: Stack) -> None:
        """Drain the workers, delete all pods and wait for their network interfaces. Called before the stack goes."""
        ...


class NoClusterObjects:
    """Leaves the cluster empty."""

    def apply(self, stack: Stack) -> None: ...

    def remove(self, stack: Stack) -> None: ...
