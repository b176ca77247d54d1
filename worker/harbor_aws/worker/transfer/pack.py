"""A directory as a tar that is made while it is sent."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransferError
from harbor_aws.worker.transfer.frames import FRAME_BYTES, Ahead
from harbor_aws.worker.transfer.member import Kind, Member
from harbor_aws.worker.transfer.tar_header import (
    DIRECTORY,
    END,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    header,
    padding,
    sparse_header,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK_BYTES = 1024 * 1024
"""How much of a file is read at a time."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO put in a file's place is not waited for

_TYPE_FLAGS = {Kind.HARD_LINK: HARD_LINK, Kind.SYMLINK: SYMLINK, Kind.DIRECTORY: DIRECTORY}

type Entry = tuple[Member, bytes]
"""A member, and the path of what it is here."""


def directory_entries(root: bytes) -> Iterator[Entry]:
    """All below a directory but what has no content to send (sockets, FIFOs, devices); not the directory itself.

    A directory comes behind what is in it, so that its mode and time are what remains of it.
    """
    seen: dict[tuple[int, int], bytes] = {}

    def below(path: bytes, prefix: bytes) -> Iterator[Entry]:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            name = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from below(entry.path, name + b"/")
            member = _member(name, entry.path, status, seen)
            if member is not None:
                yield member, entry.path

    return below(root, b"")


def file_entry(path: bytes, name: bytes) -> Entry:
    """A file, symbolic links followed.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = os.path.realpath(path)
    member = _member(name, path, Path(os.fsdecode(path)).stat(), {})
    if member is None or member.kind is not Kind.FILE:
        raise FileNotFoundError(f"{os.fsdecode(path)} is no regular file to upload.")
    return member, path


def _member(name: bytes, path: bytes, status: os.stat_result, seen: dict[tuple[int, int], bytes]) -> Member | None:
    mode, mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    if stat.S_ISREG(status.st_mode):
        if status.st_nlink > 1:
            first = seen.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                return Member(name, Kind.HARD_LINK, mode, mtime, link=first)
        extents = _extents(path, status) if status.st_blocks * 512 < status.st_size else None
        return Member(name, Kind.FILE, mode, mtime, status.st_size, status.st_size, extents=extents)
    if stat.S_ISDIR(status.st_mode):
        return Member(name, Kind.DIRECTORY, mode, mtime)
    if stat.S_ISLNK(status.st_mode):
        return Member(name, Kind.SYMLINK, mode, mtime, link=os.readlink(path))  # noqa: PTH115 - Path would tidy up what the link says
    return None


def tar_pieces(entries: Iterable[Entry], *, sparse: bool) -> Iterator[bytes | Ahead]:
    """A tar of these.

    Args:
        sparse: whether who reads it knows GNU's format for files with holes.

    Raises:
        TransferError: a file became shorter since it was looked at.
    """
    for member, path in entries:
        if member.kind is not Kind.FILE:
            name = member.name + b"/" if member.kind is Kind.DIRECTORY else member.name
            mode, mtime = member.mode or 0, member.mtime or 0
            yield header(name, type_flag=_TYPE_FLAGS[member.kind], mode=mode, mtime=mtime, link=member.link)
        else:
            yield from _file(member, path, sparse=sparse)
    yield END


def _file(member: Member, path: bytes, *, sparse: bool) -> Iterator[bytes | Ahead]:
    mode, mtime = member.mode or 0, member.mtime or 0
    if sparse and member.extents is not None:
        head, size = sparse_header(member.name, mode=mode, mtime=mtime, size=member.size, extents=member.extents)
        yield head
        for offset, length in member.extents:
            yield from large_file_pieces(path, size=length, offset=offset)
    else:
        size = member.size
        head = header(member.name, type_flag=REGULAR, mode=mode, size=size, mtime=mtime)
        if 0 < size <= CHUNK_BYTES:
            content = b"".join(file_pieces(path, size=size))
            yield b"%b%b%b" % (head, content, bytes(padding(size)))
            return
        yield head
        yield from large_file_pieces(path, size=size)
    if padding(size):
        yield bytes(padding(size))


def large_file_pieces(path: bytes, *, size: int, offset: int = 0) -> Iterator[bytes | Ahead]:
    """As :func:`file_pieces`, announced if they are many."""
    if size >= FRAME_BYTES:
        yield Ahead(size)
    yield from file_pieces(path, size=size, offset=offset)


def file_pieces(path: bytes, *, size: int, offset: int = 0) -> Iterator[bytes]:
    """So many bytes of a file.

    Raises:
        TransferError: it has fewer.
    """
    if not size:
        return
    file = os.open(path, _READ)
    try:
        while size:
            piece = os.pread(file, min(CHUNK_BYTES, size), offset)
            if not piece:
                raise TransferError(f"{os.fsdecode(path)} became shorter while it was uploaded.")
            size -= len(piece)
            offset += len(piece)
            yield piece
    finally:
        os.close(file)


def _extents(path: bytes, status: os.stat_result) -> tuple[tuple[int, int], ...] | None:
    """Where a file has content rather than holes; ``None`` if its file system cannot tell."""
    file = os.open(path, _READ)
    found: list[tuple[int, int]] = []
    position = 0
    try:
        while position < status.st_size:
            start = os.lseek(file, position, os.SEEK_DATA)
            if start >= status.st_size:
                break
            position = min(os.lseek(file, start, os.SEEK_HOLE), status.st_size)
            found.append((start, position - start))
    except OSError as error:
        if error.errno != errno.ENXIO:  # there is nothing but a hole any more
            return None
    finally:
        os.close(file)
    return tuple(found)
