"""Compressing what is transferred, where that is asked for or the link is slow."""

from __future__ import annotations

import zlib
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import zstandard

from harbor_aws.worker.transfer.member import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from harbor_aws.infra.cluster import Cluster

SLOW_LINK_BYTES_PER_SECOND = 8 * 1024**2
"""Below this, gzip's level 1 helps: a quarter of a vCPU, the least that Fargate sells, compresses about this much a
second. Inside a network of AWS nothing is slower than ten times that, and compressing would only cost CPU."""

_GZIP_LEVEL = 1
"""Level 9 takes six times as long as level 1, and saves a tenth of the bytes."""
_ZSTD_LEVEL = 1
_GZIP_WINDOW = 31  # zlib's largest window, with gzip's header

_MEASURED_BYTES = 4 * 1024**2
"""What less than this takes says more of handshakes than of the link."""
_MEASUREMENTS = 8


class Compression(StrEnum):
    """How what is transferred is compressed."""

    AUTO = "auto"
    """By zstd, or else gzip, if the link was measured to be slow; not at all otherwise."""
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    """By zstd, or else gzip, if the image has them."""


class Link:
    """How fast this process's last transfers to one cluster were."""

    def __init__(self) -> None:
        self._speeds: deque[float] = deque(maxlen=_MEASUREMENTS)

    def measured(self, *, size: int, seconds: float) -> None:
        """Take note of a transfer that is done."""
        if size >= _MEASURED_BYTES:
            self._speeds.append(size / max(seconds, 1e-6))

    @property
    def is_slow(self) -> bool:
        """Whether even the fastest of the last transfers was slow; one alone may have been of many small files."""
        return bool(self._speeds) and max(self._speeds) < SLOW_LINK_BYTES_PER_SECOND


def wanted(compression: Compression, link: Link) -> tuple[Compression, ...]:
    """What may be used for a transfer, best first."""
    match compression:
        case Compression.GZIP:
            return (Compression.GZIP,)
        case Compression.AUTO if not link.is_slow:
            return ()
        case Compression.NONE:
            return ()
    return (Compression.ZSTD, Compression.GZIP)


def chosen(wanted: Iterable[Compression], available: Collection[str]) -> Compression:
    """The best of what may be used that the image has."""
    return next((one for one in wanted if one in available), Compression.NONE)


def compressed(pieces: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """A stream, compressed while it passes by."""
    match compression:
        case Compression.GZIP:
            gzip = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)
            for piece in pieces:
                yield gzip.compress(piece)
            yield gzip.flush()
        case Compression.ZSTD:
            zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
            for piece in pieces:
                yield zstd.compress(piece)
            yield zstd.flush()
        case _:
            yield from pieces


_OUTPUT_BYTES = 256 * 1024
_ZSTD_INPUT_BYTES = 512
"""Four bytes of zstd can stand for 128 KiB, and its decompressor does not let its output be bounded otherwise."""
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024  # what zstd's format asks every decoder to support


def decompressed(pieces: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """A stream, decompressed while it passes by, in pieces of bounded size however much it was compressed.

    Raises:
        ArchiveError: it is not compressed so, or ends too early.
    """
    match compression:
        case Compression.GZIP:
            yield from _gunzipped(pieces)
        case Compression.ZSTD:
            yield from _unzstd(pieces)
        case _:
            yield from pieces


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    gzip = zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                yield gzip.decompress(rest, _OUTPUT_BYTES)
                rest = gzip.unconsumed_tail
        yield gzip.flush()
    except zlib.error as error:
        raise ArchiveError(f"What the pod sends is not compressed by gzip: {error}") from error
    if not gzip.eof:
        raise ArchiveError("What the pod sends ends within its gzip stream.")


def _unzstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    zstd = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
    try:
        for piece in pieces:
            for start in range(0, len(piece), _ZSTD_INPUT_BYTES):
                yield zstd.decompress(piece[start : start + _ZSTD_INPUT_BYTES])
    except zstandard.ZstdError as error:
        raise ArchiveError(f"What the pod sends is not compressed by zstd: {error}") from error
    if not zstd.eof:
        raise ArchiveError("What the pod sends ends within its zstd stream.")


_LINKS: WeakKeyDictionary[Cluster, Link] = WeakKeyDictionary()


def link_to(cluster: Cluster) -> Link:
    """What is known of the link to a cluster."""
    return _LINKS.setdefault(cluster, Link())
