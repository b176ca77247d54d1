"""Keeps what happens, in order, in memory and in a file."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TextIO

from tests.chaos.jobs.events import Event, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class History:
    """Appended to from one event loop. Make it with :meth:`open`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._began = time.monotonic()
        self.events: list[Event] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """A new history, in a file for the length of an ``async with``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            yield cls(file)

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
