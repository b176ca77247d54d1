"""Pods of trials that nobody looks after."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.labels import WORKER_LABEL, pods_selector, stack_selector
from harbor_aws.infra.presence import Presence, leases_path

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack

_PATIENCE_SECONDS = 5.0


async def ownerless_pods(stack: Stack) -> list[str]:
    """The names of the pods whose process has given no sign of life in time.

    One look cannot watch a sign change, as the workers' own reapers do, so it goes by this machine's clock: with the
    usual settings one that is less than four minutes off tells no untruth.

    Raises:
        TransientError: the cluster does not answer.
        AccessRefusedError, PermanentError: it refuses.
        UsageError: it cannot be reached as the stack says.
    """
    async with Cluster.open(stack.trials) as cluster:
        living = await _living(cluster, stack.name)
        query = {"labelSelector": pods_selector(stack.name, but_of=living), "resourceVersion": "0"}
        answer = await cluster.request("GET", cluster.pods_path, query=query, patience_seconds=_PATIENCE_SECONDS)
        owners = {
            item["metadata"]["name"]: item["metadata"]["labels"][WORKER_LABEL]
            for item in answer["items"]
            if not item["metadata"].get("deletionTimestamp")
        }
        if not set(owners.values()) <= set(living):  # a process may have come meanwhile
            living = await _living(cluster, stack.name)
        return sorted(name for name, owner in owners.items() if owner not in living)


async def _living(cluster: Cluster, stack: str) -> list[str]:
    answer = await cluster.request(
        "GET",
        leases_path(cluster.namespace),
        query={"labelSelector": stack_selector(stack)},
        patience_seconds=_PATIENCE_SECONDS,
    )
    now = datetime.now(UTC)
    return sorted(presence.worker for presence in map(Presence.of, answer["items"]) if presence.is_current(now))
