"""What a command printed, as text and within bounds. Pure."""

from __future__ import annotations

import codecs

LIMIT_BYTES = 10 * 1024 * 1024
"""How much of one stream is kept."""


class BoundedOutput:
    """The beginning and the end of a stream, with a notice between them if it was longer than ``limit_bytes``.

    Args:
        kept_in: where the pod has all of it, for the notice.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, *, kept_in: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self.size = 0
        self._kept_in = kept_in
        self._half = limit_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, data: bytes) -> str:
        """Keep a piece. Its text, for display as it comes: a character cut by the piece's end comes with the next."""
        self.size += len(data)
        room = self._half - len(self._head)
        self._head += data[: max(0, room)]
        self._tail += data[max(0, room) :]
        if len(self._tail) > 2 * self._half:  # cut rarely, so that the copying stays linear
            self._cut()
        return self._decoder.decode(data)

    def text(self) -> str:
        """All that was kept."""
        self._cut()
        if not self._dropped:
            return bytes(self._head + self._tail).decode(errors="replace")
        notice = (
            f"\n[harbor-aws: {self._dropped} bytes of output are left out here; the pod has all in {self._kept_in}]\n"
        )
        return self._head.decode(errors="replace") + notice + self._tail.decode(errors="replace")

    def _cut(self) -> None:
        excess = len(self._tail) - self._half
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess
