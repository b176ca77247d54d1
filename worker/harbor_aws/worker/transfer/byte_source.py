"""Reading exact amounts from a stream that comes in pieces of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.worker.transfer.member import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ByteSource:
    """A stream to read from, once, in order; what is read large is not copied."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._position = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            ArchiveError: the stream ends before that.
        """
        end = self._position + size
        if end <= len(self._chunk):
            data = self._chunk[self._position : end]
            self._position = end
            return data
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes | memoryview]:
        """The next ``size`` bytes, in pieces.

        Raises:
            ArchiveError: the stream ends before that.
        """
        while size:
            held = len(self._chunk) - self._position
            if not held and not self._next():
                raise ArchiveError(f"The archive ends {size} bytes before it should.")
            held = len(self._chunk) - self._position
            piece = memoryview(self._chunk)[self._position : self._position + min(size, held)]
            self._position += len(piece)
            size -= len(piece)
            yield piece

    def until(self, end: bytes, *, limit: int) -> bytes | None:
        """What comes before the next byte ``end``, which is read too; ``None`` if that is not within ``limit`` bytes.

        Raises:
            ArchiveError: the stream ends before that.
        """
        found = bytearray()
        while len(found) <= limit:
            if self._position == len(self._chunk) and not self._next():
                raise ArchiveError("The archive ends in the middle of a name.")
            position = self._chunk.find(end, self._position)
            if position >= 0:
                found += self._chunk[self._position : position]
                self._position = position + 1
                return bytes(found) if len(found) <= limit else None
            found += self._chunk[self._position :]
            self._position = len(self._chunk)
        return None

    def skip(self, size: int) -> None:
        """Read ``size`` bytes and forget them.

        Raises:
            ArchiveError: the stream ends before that.
        """
        for _ in self.pieces(size):
            pass

    def rest(self) -> Iterator[bytes]:
        """All that is left, in pieces."""
        while not self.at_end():
            yield self._chunk[self._position :]
            self._position = len(self._chunk)

    def at_end(self) -> bool:
        """Whether nothing more comes."""
        return self._position == len(self._chunk) and not self._next()

    def _next(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._position = chunk, 0
                return True
        return False
