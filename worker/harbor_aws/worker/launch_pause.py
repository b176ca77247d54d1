"""How a process launches pods while there is no room for them: one at a time, at growing distances. Pure.

A pod that is refused for want of room stays Pending, holds a place in a worker and costs requests, and may not be tried
again by Fargate's scheduler (aws/containers-roadmap#2654). So while there is no room the trials wait for their turn, or
in the queue, and a single pod in a while finds out whether there is some again.

A pod that is refused and gets room a moment later is ordinary where a cluster's nodes are full, and slows nothing for
long: only pods that were given up make the distance grow.
"""

from __future__ import annotations

FIRST_PAUSE_SECONDS = 15.0
"""Between launches after the first refusal; doubled when pods are given up, and halved by every pod that gets room."""

LONGEST_PAUSE_SECONDS = 300.0


class LaunchPause:
    """Times are the caller's, in seconds.

    A burst of launches that comes to nothing makes the pause grow once: what was launched before it last grew tells
    nothing of how long it should be.
    """

    def __init__(self) -> None:
        self._pause = 0.0
        self._grew_at = float("-inf")
        self._next_at = float("-inf")
        self._next_at_before = float("-inf")

    @property
    def seconds(self) -> float:
        """Between two launches; 0 for as fast as the rate allows."""
        return self._pause

    def refused(self, *, now: float) -> bool:
        """There is no room for a pod at the moment; ``True`` if launches pause from now on."""
        return self._pause == 0 and self._grow(now)

    def given_up(self, *, launched_at: float, now: float) -> bool:
        """There was no room for a pod for so long that it was given up; ``True`` if the pause is longer from now on."""
        return launched_at >= self._grew_at and self._grow(now)

    def admitted(self, *, since: float) -> None:
        """There was room for a pod, at some moment since."""
        if since < self._grew_at:
            return
        self._pause = self._pause / 2 if self._pause > FIRST_PAUSE_SECONDS else 0.0
        self._next_at = min(self._next_at, since + self._pause)

    def launched(self, *, now: float) -> None:
        """A pod is to be launched now."""
        self._next_at_before = self._next_at
        if self._pause:
            self._next_at = max(self._next_at, now + self._pause)

    def not_launched(self) -> None:
        """The last pod that was to be launched was not, so another one may be."""
        self._next_at = min(self._next_at, self._next_at_before)

    def seconds_until_next(self, *, now: float) -> float:
        """How long until one may be launched."""
        return max(0.0, self._next_at - now)

    def _grow(self, now: float) -> bool:
        before = self._pause
        self._pause = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._grew_at = now
        self._next_at = now + self._pause
        return self._pause > before
