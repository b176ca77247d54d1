"""Finding a fault's place in what passes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.faults import Direction, Later, Part, Place, Words

if TYPE_CHECKING:
    from tests.chaos.faults import Where


class Tripwire:
    """Sees everything that is about to pass a connection, and says once where the place is."""

    def __init__(self, place: Where | None) -> None:
        self._place = place
        self._passed = 0
        self._tail = b""

    def reached(self, data: bytes, direction: Direction, part: Part) -> int | None:
        """How many of these bytes pass before the place; ``None`` if it is not among them."""
        match self._place:
            case None | Later():
                return None
            case Place(direction=of, part=within, after_bytes=limit):
                if (of, within) != (direction, part):
                    return None
                before, self._passed = self._passed, self._passed + len(data)
                found = limit - before if self._passed > limit else None
            case Words(text=text):
                if (direction, part) != (Direction.DOWN, Part.BODY):
                    return None
                found = self._behind(text, data)
        if found is not None:
            self._place = None
        return found

    def _behind(self, text: bytes, data: bytes) -> int | None:
        seen = self._tail + data
        position = seen.find(text)
        if position < 0:
            self._tail = seen[-len(text) :]
            return None
        return position + len(text) - len(self._tail)
