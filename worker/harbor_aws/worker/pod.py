"""One pod of ours, as the watch tells of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harbor_aws.worker.pod_failure import end_error, ended_before_start, loss_error, start_error
from harbor_aws.worker.pod_status import Reason, end_of

if TYPE_CHECKING:
    from harbor_aws.infra.errors import PodError
    from harbor_aws.producer.dead_letters.pod_end import PodEvent

Json = dict[str, Any]


class Pod:
    """A pod of ours, kept up to date by the keeper's watch.

    Attributes:
        name: its name.
        uid: what tells it from another pod of its name.
        launched_at: the loop's time at which it was made.
        events: its last events, once they were asked for.
        made_at: when it was asked for, by this machine's clock.
        gone_at: when it was deleted, by whomever, by this machine's clock.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid: str | None = None
        self.launched_at = asyncio.get_running_loop().time()
        self.events: tuple[PodEvent, ...] = ()
        self.made_at = datetime.now(UTC)
        self.gone_at: datetime | None = None
        self._object: Json | None = None
        self._changed = asyncio.Event()
        self._ended: asyncio.Future[PodError] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was deleted."""
        return self._ended.done()

    @property
    def ending(self) -> PodError | None:
        """Why it is over, or ``None`` if it is not."""
        return self._ended.result() if self._ended.done() else None

    @property
    def object(self) -> Json:
        """The newest object that is known."""
        return self._object or {"metadata": {}}

    def see(self, pod: Json) -> None:
        """Take in a newer object of this name."""
        uid = pod["metadata"]["uid"]
        if self.uid is not None and uid != self.uid:
            self.lose(Reason("Replaced", f"another pod ({uid}) has its name"))
            return
        if self.uid is not None and self._object is not None and _version(pod) < _version(self._object):
            return
        self.uid, self._object = uid, pod
        end = end_of(pod)
        if end is not None:
            self._end(end_error(self.name, pod, end))
        self._tell()

    def lose(self, reason: Reason) -> None:
        """It does not exist any more."""
        self.gone_at = self.gone_at or datetime.now(UTC)
        self._end(loss_error(self.name, self.object, reason))
        self._tell()

    async def change(self) -> None:
        """Wait until something is new about it."""
        await self._changed.wait()

    async def end(self) -> PodError:
        """Wait until it is over; why it is."""
        return await asyncio.shield(self._ended)

    def _end(self, error: PodError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def not_started(pod: Pod, *, after_seconds: float) -> PodError:
    """The error for a pod that does not run yet, with what is known now of the reason."""
    if pod.ending is not None:
        return ended_before_start(pod.ending)
    return start_error(pod.name, pod.object, pod.events, after_seconds=after_seconds)


def _version(pod: Json) -> int:
    """Order of two objects of one pod. Opaque by contract, a growing number in every server there is."""
    return int(pod["metadata"]["resourceVersion"])
