"""What happened while jobs ran, as the wire and the cluster saw it, and not as the workers tell it. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What kind of thing happened."""

    SENT = "sent"
    """A message of a trial came onto the queue: its first, a later attempt's, or a replay's."""
    RECEIVED = "received"
    """A worker was given a message; ``note`` is ``echo`` where SQS gave it out a second time."""
    UNHEARD = "unheard"
    """SQS gave a message out, and the answer reached nobody."""
    EXTENDED = "extended"
    SHOWN = "shown"
    """A worker gave a message back: it is visible after a while, or at once."""
    ACKNOWLEDGED = "acknowledged"
    """A message was deleted."""
    PHASE = "phase"
    """A worker wrote where its trial is; ``note`` is the phase."""
    COMMITTED = "committed"
    """A result was written."""
    REFUSED = "refused"
    """A result was not written, there being one."""
    DEAD = "dead"
    """A worker wrote a dead letter."""
    POD_MADE = "pod made"
    POD_GONE = "pod gone"
    STARTED = "started"
    """A worker process was started."""
    THAWED = "thawed"
    """A worker process that was frozen runs again."""
    TOLD = "told"
    """A worker process was told to end."""
    ENDED = "ended"
    """A worker process ended; ``note`` says how."""
    FAULT = "fault"
    """Something was broken on purpose; ``note`` says what, and ``actor`` whose it was, if one worker's."""


FROZEN = "worker frozen"
"""Begins the note of the fault that a worker stands still from then on."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at: float
    """Seconds since the history began."""
    kind: Kind
    actor: str = ""
    """The worker, or ``producer``."""
    job: str = ""
    trial: str = ""
    replay: int = 0
    attempt: int = 0
    message: str = ""
    """SQS's MessageId."""
    receipt: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Without what is empty."""
        return {name: value for name, value in asdict(self).items() if value not in ("", 0) or name == "at"}

    @property
    def place(self) -> tuple[str, str]:
        """Which trial it is about."""
        return self.job, self.trial
