"""What a stack has in its cluster, as manifests. Purely data: values in, manifests out, no I/O.

One module per family of objects; :func:`manifests` is all of them, in the order in which they must be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.deploy.manifests.limits import limits
from harbor_aws.infra.deploy.manifests.logs import logs
from harbor_aws.infra.deploy.manifests.namespaces import namespaces
from harbor_aws.infra.deploy.manifests.permissions import permissions
from harbor_aws.infra.deploy.manifests.workers import workers

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

__all__ = ["manifests"]


def manifests(plan: ClusterPlan) -> list[dict[str, Any]]:
    """Every object; what another needs comes before it, and the workers, who make pods, come last."""
    return [*namespaces(plan), *permissions(plan), *limits(plan), *logs(plan), *workers(plan)]
