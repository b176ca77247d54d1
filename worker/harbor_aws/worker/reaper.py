"""Removes pods that nobody will remove: those of processes that died, and those that this process has forgotten.

Most pods of a worker that was killed are removed by the next attempt at their trial. A reaper, one in every worker, is
for what has no next attempt, and :attr:`~harbor_aws.infra.settings.Settings.pod_deadline_seconds` for when no worker
is left either. A look costs two lists, the one of pods leaving out the pods of those who are known to live.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.infra.labels import PREFIX, WORKER_LABEL, label_value, pods_selector, stack_selector
from harbor_aws.infra.presence import Presence, leases_path
from harbor_aws.worker.owners import Owners
from harbor_aws.worker.pod_removal import delete_pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.pods import PodKeeper
    from harbor_aws.worker.presence import PresenceTerms

logger = logging.getLogger(__name__)

Json = dict[str, Any]

JITTER = 0.25
"""Looks of many workers are spread by so much of their interval, either way."""

GAP_INTERVALS = 2.5
"""Looks further apart than this are not one observation: one of them failed, or this process was frozen. Together with
the interval of renewal it is less than any sign of life lasts, so that an outage that all live through kills none."""

ABSENCE_INTERVALS = 1.0
"""How long an owner's sign of life may be missing. It is there before the first pod, and only a process that ends or
is taken for dead loses it; one that wakes up again renews it first of all."""

_PATIENCE_SECONDS = 5.0
"""For a single request: the next look is another chance."""


@asynccontextmanager
async def reaping(pods: PodKeeper, *, stack: str, terms: PresenceTerms) -> AsyncIterator[None]:
    """Reap for the length of an ``async with``."""
    reaper = Reaper(
        pods.cluster,
        stack=stack,
        worker=pods.worker,
        is_known=pods.knows,
        terms=terms,
        on_count=pods.launches.share_among,
    )
    running = asyncio.create_task(reaper.run(), name="harbor-aws reaper")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Reaper:
    """Belongs to one event loop.

    Args:
        stack: whose pods these are; others' are never seen.
        worker: this process.
        is_known: whether a pod of this process, by its name, is in use.
        on_count: told at every look how many owners live, this process among them.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        stack: str,
        worker: str,
        is_known: Callable[[str], bool],
        terms: PresenceTerms,
        on_count: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._stack = stack
        self._worker = label_value(worker)
        self._is_known = is_known
        self._interval_seconds = terms.interval_seconds
        self._on_count = on_count
        self._clock = clock
        self._owners = Owners(
            observer=self._worker,
            longest_gap_seconds=GAP_INTERVALS * terms.interval_seconds,
            absence_seconds=ABSENCE_INTERVALS * terms.interval_seconds,
        )
        self._suspects: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look at once, then again and again, for ever; a look that fails is a look that was not made."""
        failing = False
        while True:
            try:
                await self.look()
            except Exception as error:  # whatever it is, the next look may work
                self._suspects = frozenset()
                if not failing:
                    logger.warning(
                        "Pods without an owner cannot be looked for, which is tried again until it works: %s",
                        error if isinstance(error, InfrastructureError) else repr(error),
                        exc_info=None if isinstance(error, InfrastructureError) else error,
                        extra={"action": "reap"},
                    )
                failing = True
            else:
                failing = False
            await asyncio.sleep(self._interval_seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret

    async def look(self) -> list[str]:
        """Look once; the names of the pods that were removed.

        A pod is removed only if it was there at the look before, and nobody's then as well: a process that wakes up
        from a long sleep may make a pod before others see that it lives.

        Raises:
            InfrastructureError: the cluster does not answer or refuses.
        """
        left_out = [owner for owner in self._owners.alive() if owner != self._worker]
        pods = [pod for pod in await self._pods(left_out) if not pod["metadata"].get("deletionTimestamp")]
        owners = {_owner(pod) for pod in pods}
        await self._see(owners)
        ownerless = [pod for pod in pods if self._is_ownerless(pod)]
        confirmed = [pod for pod in ownerless if pod["metadata"]["uid"] in self._suspects]
        removed = [pod["metadata"]["name"] for pod in confirmed if await self._remove(pod)]
        self._suspects = frozenset(pod["metadata"]["uid"] for pod in ownerless)
        await self._bury(spared=owners.union(left_out))
        return removed

    async def _pods(self, left_out: Sequence[str]) -> list[Json]:
        """This stack's pods but for those of some owners, from the API server's memory."""
        query = {"labelSelector": pods_selector(self._stack, but_of=left_out), "resourceVersion": "0"}
        answer = await self._cluster.request(
            "GET", self._cluster.pods_path, query=query, patience_seconds=_PATIENCE_SECONDS
        )
        items: list[Json] = answer["items"]
        return items

    async def _see(self, owners: set[str]) -> None:
        asked_at = self._clock()
        answer = await self._cluster.request(
            "GET",
            leases_path(self._cluster.namespace),
            query={"labelSelector": stack_selector(self._stack)},
            patience_seconds=_PATIENCE_SECONDS,
        )
        presences = [Presence.of(item) for item in answer["items"]]
        self._owners.see(presences, owners=owners, asked_at=asked_at, answered_at=self._clock())
        self._on_count(len(self._owners.alive()))

    def _is_ownerless(self, pod: Json) -> bool:
        owner = _owner(pod)
        if owner == self._worker:
            return not self._is_known(pod["metadata"]["name"])
        return self._owners.is_dead(owner)

    async def _remove(self, pod: Json) -> bool:
        metadata = pod["metadata"]
        name, owner = metadata["name"], _owner(pod)
        if not await delete_pod(self._cluster, name, uid=metadata["uid"], patience_seconds=_PATIENCE_SECONDS):
            return False
        job, trial = (metadata.get("annotations", {}).get(PREFIX + key) for key in ("job", "trial"))
        why = (
            "this worker does not know it any more"
            if owner == self._worker
            else f"its owner {owner} has given no sign of life for {self._owners.silent_seconds(owner):.0f} s or more"
        )
        logger.warning(
            "Removed pod %s of trial %s of job %s: %s.",
            name, trial, job, why, extra={"action": "reap_pod", "pod": name, "job": job, "trial": trial},
        )  # fmt: skip
        return True

    async def _bury(self, *, spared: set[str]) -> None:
        """Remove the signs of life of the dead who have no pod left, unless they changed meanwhile."""
        for presence in self._owners.dead_presences():
            if presence.worker in spared or presence.worker == self._worker:
                continue
            path = f"{leases_path(self._cluster.namespace)}/{presence.name}"
            preconditions = {"uid": presence.uid, "resourceVersion": presence.version}
            options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
            with suppress(ObjectNotFoundError, ObjectConflictError):
                await self._cluster.request("DELETE", path, body=options, patience_seconds=_PATIENCE_SECONDS)


def _owner(pod: Json) -> str:
    return str(pod["metadata"]["labels"][WORKER_LABEL])
