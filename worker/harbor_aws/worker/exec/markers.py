"""The words that a command's wrapper puts among its output, and taking them out again. Pure.

``harbor-aws:<id>:start:<pid>:`` on stdout when the command begins; ``harbor-aws:<id>:end:<exit code>:`` on stdout and
on stderr, each behind the last byte that the command wrote there. The id is random, so no output contains it by chance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marker:
    """A word that was found."""

    kind: str
    """``start`` or ``end``."""
    number: int
    """The pid, or the exit code."""


class MarkerScanner:
    """Takes the markers out of one stream, however it is cut into pieces."""

    def __init__(self, command_id: str) -> None:
        self._prefix = f"harbor-aws:{command_id}:".encode()
        self._pattern = re.compile(re.escape(self._prefix) + rb"(start|end):(\d+):")
        self._held = b""

    def feed(self, data: bytes) -> list[bytes | Marker]:
        """What the piece adds, in order: output, and markers. What may be the beginning of a marker is held back."""
        data = self._held + data
        found: list[bytes | Marker] = []
        position = 0
        for match in self._pattern.finditer(data):
            found += [data[position : match.start()], Marker(match[1].decode(), int(match[2]))]
            position = match.end()
        safe = max(position, self._held_from(data))
        found.append(data[position:safe])
        self._held = data[safe:]
        return [item for item in found if item]

    def flush(self) -> bytes:
        """What was held back, once nothing more will come."""
        held, self._held = self._held, b""
        return held

    def _held_from(self, data: bytes) -> int:
        """Where an unfinished marker at the end of ``data`` begins, or its length."""
        longest = len(self._prefix) + 32  # "start:" and a number
        start = data.rfind(self._prefix, max(0, len(data) - longest))
        if start >= 0 and not self._pattern.match(data, start):
            return start
        for length in range(min(len(self._prefix) - 1, len(data)), 0, -1):
            if data.endswith(self._prefix[:length]):
                return len(data) - length
        return len(data)
