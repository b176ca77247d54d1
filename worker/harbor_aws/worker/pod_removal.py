"""Pods that are to go: deleted at once, or else in the background until it works."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import PATIENCE_SECONDS, ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.errors import InfrastructureError

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster

logger = logging.getLogger(__name__)

LATE_SECONDS = 120.0
"""How long after a create that was given up its pod may still appear."""

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Left:
    uid: str | None
    """``None``: whatever has the name."""
    until: float
    """The loop's time before which "there is none" does not mean that there will be none."""


class PodRemoval:
    """Belongs to one event loop; :meth:`run` is its background."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._left: dict[str, _Left] = {}
        self._wake = asyncio.Event()

    @property
    def names(self) -> list[str]:
        """The pods that are still to be deleted, or looked for."""
        return list(self._left)

    async def remove(self, name: str, *, uid: str | None) -> bool:
        """Delete a pod. If that fails, say so once and leave it to the background: ``False``."""
        try:
            if await delete_pod(self._cluster, name, uid=uid):
                self._left.pop(name, None)
        except asyncio.CancelledError:
            self._later(name, uid=uid)
            raise
        except InfrastructureError as error:
            self._later(name, uid=uid)
            logger.warning(
                "Pod %s could not be deleted, which is tried again for as long as this worker lives: %s",
                name,
                error,
                extra={"action": "delete_pod", "pod": name},
            )
            return False
        return True

    def expect(self, name: str) -> None:
        """Delete a pod that may not be there yet: its create was given up while it was on its way."""
        self._later(name, uid=None, until=asyncio.get_running_loop().time() + LATE_SECONDS)

    def forget(self, name: str) -> None:
        """The name is wanted again."""
        self._left.pop(name, None)

    async def run(self) -> None:
        """Try again for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            pause = FIRST_PAUSE_SECONDS
            while self._left:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                for name, left in list(self._left.items()):
                    await self._try(name, left)

    def _later(self, name: str, *, uid: str | None, until: float = 0.0) -> None:
        known = self._left.get(name)
        self._left[name] = _Left(uid, max(until, known.until if known else 0.0))
        self._wake.set()

    async def _try(self, name: str, left: _Left) -> None:
        with suppress(Exception):  # said when it was put here
            existed = await delete_pod(self._cluster, name, uid=left.uid, patience_seconds=0)
            if (existed or asyncio.get_running_loop().time() >= left.until) and self._left.get(name) is left:
                del self._left[name]


async def delete_pod(
    cluster: Cluster, name: str, *, uid: str | None, patience_seconds: float = PATIENCE_SECONDS
) -> bool:
    """Delete a pod; ``False`` if there is none, or another has its name now.

    Raises:
        TransientError: the cluster does not answer; the pod may be left.
        PermanentError, AccessRefusedError: the cluster refuses; the pod is left.
    """
    options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if uid is not None:
        options["preconditions"] = {"uid": uid}
    try:
        path = f"{cluster.pods_path}/{name}"
        await cluster.request("DELETE", path, body=options, patience_seconds=patience_seconds)
    except (ObjectNotFoundError, ObjectConflictError):
        return False
    return True
