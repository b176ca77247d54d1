"""Keeps what happens, in order, in memory and in a file."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.chaos.jobs.events import Event, Kind

if TYPE_CHECKING:
    from pathlib import Path


class History:
    """Appended to from one event loop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")
        self._began = time.monotonic()
        self.events: list[Event] = []

    def add(self, kind: Kind, **fields: Any) -> Event:
        """Something happened just now."""
        event = Event(at=round(time.monotonic() - self._began, 3), kind=kind, **fields)
        self.events.append(event)
        self._file.write(json.dumps(event.as_json()) + "\n")
        self._file.flush()
        return event

    def fault(self, note: str, *, actor: str = "") -> None:
        """Something was broken."""
        self.add(Kind.FAULT, note=note, actor=actor)

    def faults(self) -> dict[str, int]:
        """How often each kind of fault happened."""
        return dict(sorted(Counter(event.note for event in self.events if event.kind is Kind.FAULT).items()))

    def close(self) -> None:
        self._file.close()
