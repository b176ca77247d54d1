"""Keeps this process's sign of life in the cluster, so that others know that its pods have an owner."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra import cluster as cluster_module
from harbor_aws.infra.cluster import ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.infra.presence import lease, lease_name, leases_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.settings import Settings

logger = logging.getLogger(__name__)

MARGIN_INTERVALS = 5
"""How many renewals may fail to come, beyond the time for which messages stay hidden, before a process counts as dead.
With the usual 120 s and 40 s that makes 320 s: a process that was frozen for less than its messages' lease finds its
pods, and so does a command that is followed again after a cut, which is tried for 300 s."""

FIRST_RETRY_SECONDS = 2.0
"""Until the next renewal after one that failed; doubled with every further one, up to the usual interval. A process is
not fit for trials meanwhile, so a short outage should cost it little."""

PATIENCE_SECONDS = 5.0
"""For a single renewal: it is soon known that it fails, and the next one is another chance."""

_FAREWELL_SECONDS = 5.0
"""How long a process that ends tries to take its sign of life back; left there it only makes others wait longer."""


@dataclass(frozen=True, slots=True)
class PresenceTerms:
    """How often the sign of life is renewed, and for how long one counts."""

    interval_seconds: float
    duration_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> PresenceTerms:
        """In step with the lease on messages: pods must outlast it."""
        interval = settings.lease_interval_seconds
        return cls(interval, settings.visibility_timeout_seconds + MARGIN_INTERVALS * interval)


def process_name() -> str:
    """What this process is called in the labels of its pods: unlike any other, its own restart included."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


@asynccontextmanager
async def keep_presence(
    cluster: Cluster,
    *,
    stack: str,
    worker: str,
    terms: PresenceTerms,
    on_renewal: Callable[[str | None], None] = lambda _: None,
) -> AsyncIterator[None]:
    """Be seen to live for the length of an ``async with``, from before the first pod is made.

    Args:
        worker: this process's alone; see :func:`process_name`.
        on_renewal: told of every renewal why it failed, or ``None`` if it did not.

    Raises:
        TransientError: the cluster does not answer.
        PermanentError, AccessRefusedError: the cluster refuses, and the process must not make pods.
    """
    keeper = _Keeper(cluster, stack=stack, worker=worker, terms=terms)
    await keeper.renew(patience_seconds=cluster_module.PATIENCE_SECONDS)  # nothing is kept waiting yet
    renewing = asyncio.create_task(keeper.run(on_renewal), name="harbor-aws presence")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await keeper.withdraw()


class _Keeper:
    def __init__(self, cluster: Cluster, *, stack: str, worker: str, terms: PresenceTerms) -> None:
        self._cluster = cluster
        self._stack = stack
        self._worker = worker
        self._terms = terms
        self._path = leases_path(cluster.namespace)

    async def renew(self, *, patience_seconds: float) -> None:
        """Change the Lease, or make it: it may never have been, or have been taken for a dead process's."""
        body = lease(stack=self._stack, worker=self._worker, duration_seconds=self._terms.duration_seconds)
        try:
            await self._cluster.request(
                "PATCH",
                f"{self._path}/{lease_name(self._worker)}",
                body=body,
                content_type="application/merge-patch+json",
                patience_seconds=patience_seconds,
            )
        except ObjectNotFoundError:
            await self._cluster.ensure_namespace()
            with suppress(ObjectConflictError):  # the answer to our own create was lost
                await self._cluster.request("POST", self._path, body=body)

    async def run(self, on_renewal: Callable[[str | None], None]) -> None:
        """Renew for ever; what fails is tried again."""
        failures = 0
        while True:
            await asyncio.sleep(seconds_until_renewal(failures, terms=self._terms))
            try:
                await self.renew(patience_seconds=min(PATIENCE_SECONDS, self._terms.interval_seconds))
            except Exception as error:  # whatever it is: a process that stops renewing loses its pods
                failures += 1
                why = str(error) if isinstance(error, InfrastructureError) else repr(error)
                if failures == 1:
                    logger.warning(
                        "The cluster does not take this process's sign of life; that is tried again until it does: %s",
                        why,
                        exc_info=None if isinstance(error, InfrastructureError) else error,
                        extra={"action": "renew_presence"},
                    )
                on_renewal(why)
            else:
                failures = 0
                on_renewal(None)

    async def withdraw(self) -> None:
        """Take it back: whatever pods are left have no owner from now on."""
        path = f"{self._path}/{lease_name(self._worker)}"
        try:
            await self._cluster.request("DELETE", path, patience_seconds=_FAREWELL_SECONDS)
        except ObjectNotFoundError:
            pass
        except InfrastructureError as error:
            logger.warning("This process's sign of life is left to be removed by another: %s", error)


def seconds_until_renewal(failures: int, *, terms: PresenceTerms) -> float:
    """How long after the last renewal the next one is due, when so many have failed since one that did not."""
    if not failures:
        return terms.interval_seconds
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16), terms.interval_seconds)
