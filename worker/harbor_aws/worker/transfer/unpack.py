"""Putting members of an archive from a pod, which is hostile until shown otherwise, into an empty directory.

The directory is ours, and nothing in it was made by anybody else. Names are checked as text; directories are only made,
never followed; symbolic links are made last. So no path is ever resolved that could lead outside, and nothing depends
on how the kernel, or Python, would resolve one (CVE-2025-4517).
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

from harbor_aws.worker.transfer.member import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from harbor_aws.worker.transfer.byte_source import ByteSource
    from harbor_aws.worker.transfer.limits import TransferLimits
    from harbor_aws.worker.transfer.member import Member

logger = logging.getLogger(__name__)

_MEMBERS_OWN_FAULT = {
    errno.EEXIST,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMLINK,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
}
"""What a member's name can bring about, as opposed to this machine's disk."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL_BYTES = 1024 * 1024
_TIMES = range(-(2**31), 2**34)
"""Seconds since 1970 that file systems take."""


def unpack(
    members: Iterable[Member],
    source: ByteSource,
    target: Path,
    *,
    limits: TransferLimits,
    wanted: Callable[[bytes], bool] | None = None,
    what: str,
) -> None:
    """Put members into an empty directory.

    Left out, as Harbor leaves them out: paths and links that would lead outside, devices, FIFOs, setuid bits, owners.
    Files can be read by their owner afterwards, and directories be changed, whatever their modes were.

    Args:
        members: reads from ``source``, and leaves the members' contents there to be read.
        wanted: whether a member of this name, without a ``./`` before it, is one to keep; asked when all are there,
            since one that is kept may be a hard link to one that is not.

    Raises:
        TransferLimitError: more than ``limits``.
        ArchiveError: this is no archive.
    """
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree = _Tree(root)
        _add_all(tree, members, source, limits=limits, what=what)
        if wanted is not None:
            tree.keep_only(wanted)
        tree.finish()
    finally:
        os.close(root)


def _add_all(tree: _Tree, members: Iterable[Member], source: ByteSource, *, limits: TransferLimits, what: str) -> None:
    size = 0
    for count, member in enumerate(members, 1):
        size += member.size
        if count > limits.members:
            raise limits.exceeded("members", count, what)
        if size > limits.size_bytes:
            raise limits.exceeded("size_bytes", size, what)
        longest = max(len(member.name), len(member.link))
        if longest > limits.path_bytes:
            raise limits.exceeded("path_bytes", longest, what)
        name = relative_name(member.name)
        unread = member.stored
        if name:
            try:
                unread -= tree.add(name, member, source)
            except OSError as error:
                _leave_out(error)
        source.skip(unread)


def relative_name(name: bytes) -> bytes | None:
    """A member's name without what means nothing in it; ``None`` if it leads outside or is no name."""
    if name.startswith(b"/") or b"\0" in name:
        return None
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    return None if b".." in parts else b"/".join(parts)


class _Tree:
    """What has been made so far."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._directories: dict[bytes, Member | None] = {b"": None}
        self._files: set[bytes] = set()
        self._links: dict[bytes, bytes] = {}

    def add(self, name: bytes, member: Member, source: ByteSource) -> int:
        """Make a member; how many bytes of its content were read.

        Raises:
            OSError: it cannot be made. None of its content was read then, if that is the member's own fault.
        """
        self._links.pop(name, None)
        match member.kind:
            case Kind.DIRECTORY:
                self._make_directory(name)
                self._directories[name] = member
            case Kind.SYMLINK:
                self._links[name] = member.link
            case Kind.HARD_LINK:
                self._make_hard_link(name, relative_name(member.link))
            case Kind.FILE:
                self._write(name, member, source)
                return member.stored
        return 0

    def keep_only(self, wanted: Callable[[bytes], bool]) -> None:
        """Remove what is not wanted, and the directories on the way that are empty for it."""
        self._links = {name: link for name, link in self._links.items() if wanted(name)}
        for name in [name for name in self._files if not wanted(name)]:
            os.unlink(name, dir_fd=self._root)
            self._files.discard(name)
        needed = {b""}
        for name in (*self._files, *self._links, *filter(wanted, self._directories)):
            while name not in needed:
                needed.add(name)
                name = name.rpartition(b"/")[0]
        for name in [name for name in reversed(self._directories) if name not in needed]:
            os.rmdir(name, dir_fd=self._root)
            del self._directories[name]

    def finish(self) -> None:
        """Make the symbolic links, and give the directories their modes and times."""
        for name, link in self._links.items():
            try:
                self._make_link(name, link)
            except OSError as error:
                _leave_out(error)
        for name, member in reversed(self._directories.items()):
            if member is not None:
                if member.mode is not None:
                    os.chmod(name, kept_mode(member.mode) | 0o700, dir_fd=self._root)
                if member.mtime is not None:
                    os.utime(name, kept_times(member.mtime), dir_fd=self._root)

    def _write(self, name: bytes, member: Member, source: ByteSource) -> None:
        file = self._new_file(name)
        try:
            if member.extents is not None:
                _write_extents(file, member, source)
            elif member.stored <= _SMALL_BYTES:
                _write_all(file, source.take(member.stored))
            else:
                for piece in source.pieces(member.stored):
                    _write_all(file, piece)
            if member.mode is not None:
                os.fchmod(file, kept_mode(member.mode))
            if member.mtime is not None:
                os.utime(file, kept_times(member.mtime))
        finally:
            os.close(file)

    def _new_file(self, name: bytes) -> int:
        self._make_parent(name)
        try:
            file = os.open(name, _NEW_FILE, 0o644, dir_fd=self._root)
        except FileExistsError:
            if name not in self._files:
                raise
            os.unlink(name, dir_fd=self._root)  # the archive has it twice, and the later one counts
            file = os.open(name, _NEW_FILE, 0o644, dir_fd=self._root)
        self._files.add(name)
        return file

    def _make_hard_link(self, name: bytes, to: bytes | None) -> None:
        if to in self._links:
            self._links[name] = self._links[to]
        elif to is None or to not in self._files:
            logger.debug("Left out of a download: a hard link to what is not in it.", extra={"action": "skip_member"})
        elif to != name:
            self._make_parent(name)
            if name in self._files:
                os.unlink(name, dir_fd=self._root)
            os.link(to, name, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
            self._files.add(name)

    def _make_link(self, name: bytes, link: bytes) -> None:
        if not self._stays_inside(name, link):
            logger.debug("Left out of a download: a link that leads outside.", extra={"action": "skip_member"})
            return
        self._make_parent(name)
        if name in self._files:
            os.unlink(name, dir_fd=self._root)
        os.symlink(link, name, dir_fd=self._root)

    def _stays_inside(self, name: bytes, link: bytes) -> bool:
        """Whether a link leads nowhere but below the root, even by way of other links.

        ``..`` means the parent of what a link before it leads to, so it may only follow a directory that is no link.
        """
        if not link or link.startswith(b"/") or b"\0" in link:
            return False
        place = name.split(b"/")[:-1]
        parts = [part for part in link.split(b"/") if part not in (b"", b".")]
        last_up = max((index for index, part in enumerate(parts) if part == b".."), default=-1)
        for part in parts[: last_up + 1]:
            if part != b"..":
                place.append(part)
            elif not place or b"/".join(place) not in self._directories:
                return False
            else:
                place.pop()
        return True

    def _make_directory(self, name: bytes) -> None:
        if name not in self._directories:
            self._make_parent(name)
            os.mkdir(name, dir_fd=self._root)
            self._directories[name] = None

    def _make_parent(self, name: bytes) -> None:
        parent = name.rpartition(b"/")[0]
        if parent not in self._directories:
            self._make_directory(parent)


def _write_extents(file: int, member: Member, source: ByteSource) -> None:
    for offset, length in member.extents or ():
        os.lseek(file, offset, os.SEEK_SET)
        for piece in source.pieces(length):
            _write_all(file, piece)
    os.ftruncate(file, member.size)


def _write_all(file: int, data: bytes | memoryview) -> None:
    written = os.write(file, data) if data else 0
    while written < len(data):
        written += os.write(file, data[written:])


def kept_mode(mode: int) -> int:
    """What is kept of a mode: neither setuid, setgid nor sticky; and its owner can read what it has."""
    return mode & 0o777 | 0o400


def kept_times(mtime: int) -> tuple[int, int]:
    """Times of access and of change that every file system takes."""
    seconds = min(max(mtime, _TIMES.start), _TIMES.stop)
    return seconds, seconds


def _leave_out(error: OSError) -> None:
    if error.errno not in _MEMBERS_OWN_FAULT:
        raise error
    logger.debug("Left out of a download: %s", error, extra={"action": "skip_member"})
