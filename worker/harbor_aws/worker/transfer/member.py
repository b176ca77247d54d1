"""One entry of an archive, whatever the archive's format. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from harbor_aws.infra.errors import TransferError


class Kind(Enum):
    """What an entry is."""

    FILE = auto()
    DIRECTORY = auto()
    SYMLINK = auto()
    HARD_LINK = auto()
    OTHER = auto()
    """A device or a FIFO, which no transfer makes."""


class Member(NamedTuple):
    """An entry. Names are bytes, as file systems have them."""

    name: bytes
    kind: Kind
    mode: int | None = None
    """Permission bits; ``None`` where the other side cannot tell."""
    mtime: int | None = None
    """Seconds since 1970; ``None`` where the other side cannot tell."""
    size: int = 0
    """Bytes of the file as it is read."""
    stored: int = 0
    """Bytes of it in the archive: fewer than ``size`` if the file has holes."""
    link: bytes = b""
    """What a symbolic link says, or the name of the entry that a hard link is one with."""
    extents: tuple[tuple[int, int], ...] | None = None
    """Offset and length of what is stored of a file with holes; ``None``: all of it."""


class ArchiveError(TransferError):
    """What came is no archive, or ends in the middle of one."""
