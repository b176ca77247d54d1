"""The words that the scripts in the pod put among a command's output, and taking them out again. Pure.

``harbor-aws:<id>:<kind>:<number>:`` on stdout, ``end`` on stderr too. The id is random, so no output contains one by
chance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class MarkerKind(StrEnum):
    """What is said."""

    START = "start"
    """The command was started, now or before."""
    ALIVE = "alive"
    """The command is still followed, though it may print nothing."""
    FULL = "full"
    """The pod's disk is full, so maybe not all that was printed could be kept."""
    KILLED = "killed"
    """What ran the command was killed with it, so that nobody is left to tell its exit code."""
    UNKNOWN = "unknown"
    """Nothing in the pod knows of the command."""
    NOWHERE = "nowhere"
    """The command was not started, since no file or pipe can be made in the pod."""
    END = "end"
    """The command has ended, with the number as its exit code, and printed nothing behind this."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A word that was found."""

    kind: MarkerKind
    number: int


def marker_prefix(command_id: str) -> str:
    """What all markers of a command begin with."""
    return f"harbor-aws:{command_id}:"


class MarkerScanner:
    """Takes the markers out of one stream, however it is cut into pieces."""

    def __init__(self, command_id: str) -> None:
        self._prefix = marker_prefix(command_id).encode()
        self._pattern = re.compile(re.escape(self._prefix) + rb"(%b):(\d+):" % "|".join(MarkerKind).encode())
        self._held = b""

    def feed(self, data: bytes) -> list[bytes | Marker]:
        """What the piece adds, in order: output, and markers. What may be the beginning of a marker is held back."""
        data = self._held + data
        found: list[bytes | Marker] = []
        position = 0
        for match in self._pattern.finditer(data):
            found += [data[position : match.start()], Marker(MarkerKind(match[1].decode()), int(match[2]))]
            position = match.end()
        safe = max(position, self._held_from(data))
        found.append(data[position:safe])
        self._held = data[safe:]
        return [item for item in found if item]

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
