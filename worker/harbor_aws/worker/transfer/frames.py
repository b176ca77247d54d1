"""What an upload sends to the script in the pod: frames of a stated length, then size and SHA-256 of all. Pure.

A stream of the older protocol cannot say that stdin ends, and how long an archive becomes is not known before it is
made. A frame is its length in decimal, a newline, and so many bytes; ``end SIZE SHA256`` and a newline come last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harbor_aws.worker.transfer.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FRAME_BYTES = 4 * 1024**2
"""A frame costs the pod one process; and it is held here while it is made."""


class Ahead(NamedTuple):
    """Among pieces: so many bytes come next, which may be a frame of their own and need not be held for it."""

    size: int


def frames(pieces: Iterable[bytes | Ahead], *, whole: bool = False, frame_bytes: int = FRAME_BYTES) -> Iterator[bytes]:
    """The frames and the end.

    Args:
        whole: each frame comes in one piece that begins with its length.
        frame_bytes: from what size on pieces that were not announced become a frame.
    """
    digest = Digest()
    held: list[bytes] = []
    size = announced = 0
    for piece in pieces:
        if isinstance(piece, Ahead):
            if piece.size and not whole:
                yield _frame(held, size)
                yield b"%d\n" % piece.size
                held, size, announced = [], 0, piece.size
            continue
        digest.add(piece)
        if announced:
            announced -= len(piece)
            yield piece
            continue
        held.append(piece)
        size += len(piece)
        if size >= frame_bytes:
            yield _frame(held, size)
            held, size = [], 0
    yield _frame(held, size)
    yield b"end %d %b\n" % (digest.size, digest.sha256.encode())


def without_announcements(pieces: Iterable[bytes | Ahead]) -> Iterator[bytes]:
    """The bytes alone, for who changes how many they are."""
    return (piece for piece in pieces if not isinstance(piece, Ahead))


def _frame(held: list[bytes], size: int) -> bytes:
    return b"".join((b"%d\n" % size, *held)) if size else b""
