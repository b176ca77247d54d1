"""The members of a tar that comes from a pod: GNU's, POSIX's (pax) and the plain old format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.worker.transfer.member import ArchiveError, Kind, Member
from harbor_aws.worker.transfer.tar_header import (
    BLOCK,
    DIRECTORY,
    GNU_LONG_LINK,
    GNU_LONG_NAME,
    GNU_SPARSE,
    HARD_LINK,
    PAX,
    PAX_GLOBAL,
    REGULAR,
    SYMLINK,
    check,
    header_extents,
    more_extents,
    number,
    padding,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor_aws.worker.transfer.byte_source import ByteSource
    from harbor_aws.worker.transfer.limits import TransferLimits

_ZEROS = bytes(BLOCK)

_KINDS = {
    REGULAR: Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    GNU_SPARSE: Kind.FILE,
    HARD_LINK: Kind.HARD_LINK,
    SYMLINK: Kind.SYMLINK,
    DIRECTORY: Kind.DIRECTORY,
}

_LARGEST_PAX = 1024 * 1024
"""Bytes of a pax header beyond the paths in it; real ones have some hundred."""

_MOST_EXTENTS = 1_000_000
"""Of one file with holes; GNU tar stores one for each run of data."""


def tar_members(source: ByteSource, *, limits: TransferLimits, what: str) -> Iterator[Member]:
    """The members, one after the other; who iterates reads all ``stored`` bytes of each before taking the next.

    Archives that follow one another are read as one, and the stream is read to its very end.

    Raises:
        ArchiveError: this is no tar.
        TransferLimitError: a name is longer than the limit.
    """
    said = _Said()
    while not source.at_end():
        block = source.take(BLOCK)
        if block == _ZEROS:
            continue
        check(block)
        type_flag, size = block[156:157], number(block[124:136])
        if size < 0:
            raise ArchiveError("A member of the tar has a negative size.")
        if type_flag in (GNU_LONG_NAME, GNU_LONG_LINK, PAX, PAX_GLOBAL):
            room = _LARGEST_PAX if type_flag in (PAX, PAX_GLOBAL) else 1
            if size > room + 2 * limits.path_bytes:
                raise limits.exceeded("path_bytes", size, what)
            content = source.take(size)
            source.skip(padding(size))
            said.hear(type_flag, content)
            continue
        member = said.about(_member(block, type_flag, size, source))
        said = _Said()
        yield member
        source.skip(padding(member.stored))


def _member(block: bytes, type_flag: bytes, size: int, source: ByteSource) -> Member:
    name, prefix = text(block[:100]), text(block[345:500])
    if prefix and block[257:263] == b"ustar\0":  # POSIX's; GNU has other things there
        name = prefix + b"/" + name
    kind = _KINDS.get(type_flag, Kind.OTHER)
    if kind is Kind.FILE and name.endswith(b"/") and type_flag == b"\0":
        kind = Kind.DIRECTORY  # before there was a flag for it
    extents = None
    full = stored = size if kind in (Kind.FILE, Kind.OTHER) else 0
    if type_flag == GNU_SPARSE:
        extents, full = _extents(block, source, stored), number(block[483:495])
        if any(offset + length > full for offset, length in extents):
            raise ArchiveError("A file with holes in the tar has content beyond its end.")
    link = text(block[157:257]) if kind in (Kind.SYMLINK, Kind.HARD_LINK) else b""
    mtime = number(block[136:148])
    return Member(name, kind, number(block[100:108]) & 0o7777, mtime, full, stored, link, extents)


def _extents(block: bytes, source: ByteSource, stored: int) -> tuple[tuple[int, int], ...]:
    extents, more = header_extents(block)
    while more:
        found, more = more_extents(source.take(BLOCK))
        extents += found
        if len(extents) > _MOST_EXTENTS:
            raise ArchiveError(f"A file in the tar has more than {_MOST_EXTENTS} holes.")
    end = 0
    for offset, length in extents:
        if offset < end or length < 0:
            raise ArchiveError("A file with holes in the tar has content that overlaps.")
        end = offset + length
    if sum(length for _, length in extents) != stored:
        raise ArchiveError("A file with holes in the tar is of another length than its header says.")
    return tuple(extents)


class _Said:
    """What headers before a member say about it."""

    def __init__(self) -> None:
        self._name: bytes | None = None
        self._link: bytes | None = None
        self._pax: dict[bytes, bytes] = {}

    def hear(self, type_flag: bytes, content: bytes) -> None:
        if type_flag == GNU_LONG_NAME:
            self._name = text(content)
        elif type_flag == GNU_LONG_LINK:
            self._link = text(content)
        elif type_flag == PAX:
            self._pax.update(_pax_records(content))
        # a global header says nothing that would concern us

    def about(self, member: Member) -> Member:
        if self._name is not None:
            member = member._replace(name=self._name)
        if self._link is not None:
            member = member._replace(link=self._link)
        return self._by_pax(member) if self._pax else member

    def _by_pax(self, member: Member) -> Member:
        pax = self._pax
        if any(key.startswith(b"GNU.sparse") for key in pax):
            raise ArchiveError("The tar has a file with holes in a format that is not read here.")
        member = member._replace(name=pax.get(b"path", member.name), link=pax.get(b"linkpath", member.link))
        try:
            if b"mtime" in pax:
                member = member._replace(mtime=int(pax[b"mtime"].split(b".")[0] or b"0"))
            if b"size" in pax and member.kind in (Kind.FILE, Kind.OTHER):
                size = int(pax[b"size"])
                member = member._replace(size=size, stored=size)
        except ValueError as error:
            raise ArchiveError(f"A pax header says what is no number: {error}") from error
        if member.stored < 0:
            raise ArchiveError("A member of the tar has a negative size.")
        return member


def _pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """``length key=value newline``, the length counting itself."""
    while content:
        digits, separator, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 10 else 0
        record, content = content[len(digits) + 1 : length - 1], content[length:]
        key, equals, value = record.partition(b"=")
        if not separator or not equals or length <= len(digits) + 1:
            raise ArchiveError("A pax header of the tar cannot be read.")
        yield key, value
