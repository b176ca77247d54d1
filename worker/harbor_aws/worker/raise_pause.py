"""How long a process takes no trials after one about which nothing could be done or recorded. Pure.

A message whose trial raises comes back, and each time costs it one of the receives that SQS allows. A process that can
do nothing, for want of S3 or of the rights that it needs, always has free slots: without pauses it would soon have used
up those of the whole queue.

Raises are in a row while what was taken right after a pause raises again. So a single message that raises wherever it
goes holds a process up for the first pause each time, and no longer: it comes back later than that.
"""

from __future__ import annotations

FIRST_PAUSE_SECONDS = 5.0
"""After the first raise; doubled by each further one in a row."""

LONGEST_PAUSE_SECONDS = 300.0

IN_A_ROW_SECONDS = 15.0
"""A raise is in a row with the last one if its message was received within so many seconds of the end of the pause. A
process that was waiting for that end has its messages well before, if there are any; the message that raised is hidden
for longer (:data:`~harbor_aws.worker.settle.BACKOFF_SECONDS`)."""


class RaisePause:
    """Times are the caller's, in seconds of one clock.

    Many trials that raise at the same time make the pause grow once: what was received before it last grew tells
    nothing of how long it should be.
    """

    def __init__(self) -> None:
        self._pause = 0.0
        self._began_at = float("-inf")

    def raised(self, *, received_at: float, now: float) -> None:
        """A trial whose message was received then has raised."""
        if received_at < self._began_at:
            return
        in_a_row = received_at < self._ends_at + IN_A_ROW_SECONDS
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS) if in_a_row else FIRST_PAUSE_SECONDS
        self._began_at = now

    def returned(self) -> None:
        """A trial has come to its ending, so they can: whatever pause there is ends."""
        self._pause = 0.0
        self._began_at = float("-inf")

    def seconds_left(self, *, now: float) -> float:
        """For how long nothing should be taken; 0 for not at all."""
        return max(0.0, self._ends_at - now)

    @property
    def _ends_at(self) -> float:
        return self._began_at + self._pause
