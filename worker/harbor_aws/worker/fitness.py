"""Whether this process is fit to begin trials.

One that is not would fail each trial that it begins, and since its slots are always free it would be given most of the
queue. So it takes nothing, and the others do; the trials that it has go on.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from harbor_aws.worker.disk import GIB, least_free_bytes
from harbor_aws.worker.raise_pause import RaisePause
from harbor_aws.worker.settle import Ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Unfitness:
    source: str
    """Which of the three things is wrong; reasons of one source may differ in their numbers."""
    reason: str
    advice: str


class Fitness:
    """Any thread may note what it learns, one thread asks. At first all but the disk is taken to be well.

    Args:
        scratch: where the process's trials keep their files; ``None`` if its disk need not be looked at.
        clock: monotonic, in seconds, the one by which messages are received.
    """

    def __init__(self, *, scratch: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._scratch = scratch
        self._clock = clock
        self._lock = Lock()
        self._cluster_trouble: str | None = None
        self._pause = RaisePause()
        self._said: str | None = None

    def note_cluster(self, trouble: str | None) -> None:
        """Whether the cluster took this process's last sign of life: ``None``, or why it did not."""
        with self._lock:
            self._cluster_trouble = trouble

    def note_ending(self, ending: Ending, *, received_at: float) -> None:
        """How a trial ended whose message was received at that time; to be called before its slot is free."""
        with self._lock:
            match ending:
                case Ending.RETURNED:
                    self._pause.returned()
                case Ending.RAISED:
                    self._pause.raised(received_at=received_at, now=self._clock())

    def is_fit(self) -> bool:
        """Whether trials may be begun now, for the one thread that asks. A change, also of the reason, is logged."""
        disk = self._on_disk()
        with self._lock:
            unfitness = self._in_cluster() or disk or self._in_pause()
        self._say(unfitness)
        return unfitness is None

    def _in_cluster(self) -> _Unfitness | None:
        if self._cluster_trouble is None:
            return None
        return _Unfitness(
            "cluster",
            f"the cluster does not take its sign of life: {self._cluster_trouble.rstrip('.')}",
            "Trials begin again with the first that it takes; if that is long in coming, look at the worker's way to "
            "the API server and at its role there (`harbor-aws doctor`).",
        )

    def _on_disk(self) -> _Unfitness | None:
        if self._scratch is None:
            return None
        try:
            disk = shutil.disk_usage(self._scratch)
        except OSError as error:
            return _Unfitness("disk", f"its directory cannot be looked at: {error}", "Start the worker again.")
        least = least_free_bytes(disk.total)
        if disk.free >= least:
            return None
        return _Unfitness(
            "disk",
            f"{disk.free / GIB:.2f} GiB are free at {self._scratch}, of which it needs {least / GIB:.2f}",
            "Make room there, start the worker again, which empties its own directory, or give it another TMPDIR.",
        )

    def _in_pause(self) -> _Unfitness | None:
        seconds = self._pause.seconds_left(now=self._clock())
        if not seconds:
            return None
        return _Unfitness(
            "trials",
            f"of a trial nothing could be done or recorded, so it waits for {seconds:.0f} s",
            "The error before this one says why; if it goes on, look at S3 and at the worker's roles "
            "(`harbor-aws doctor`).",
        )

    def _say(self, unfitness: _Unfitness | None) -> None:
        source = None if unfitness is None else unfitness.source
        if source == self._said:
            return
        self._said = source
        if unfitness is None:
            logger.info("This worker takes trials again.", extra={"action": "take_again"})
        else:
            logger.warning(
                "This worker takes no more trials, and goes on with those that it has: %s. %s",
                unfitness.reason, unfitness.advice, extra={"action": "stop_taking"},
            )  # fmt: skip
