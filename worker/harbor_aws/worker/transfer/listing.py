"""The archives of images without tar: what a shell can read, and what a shell can write.

Into the pod: one line a member, its odd bytes as octal numbers, each file's content behind its line. Out of the pod:
the same facts before a NUL, since a shell cannot escape, a file's content behind them and a mark behind that. Whether
two names are one file does not show in what comes out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harbor_aws.worker.transfer.download_script import LIST_END
from harbor_aws.worker.transfer.member import ArchiveError, Kind, Member
from harbor_aws.worker.transfer.pack import large_file_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harbor_aws.worker.transfer.byte_source import ByteSource
    from harbor_aws.worker.transfer.frames import Ahead
    from harbor_aws.worker.transfer.limits import TransferLimits
    from harbor_aws.worker.transfer.pack import Entry

_WORDS = {Kind.FILE: b"f", Kind.DIRECTORY: b"d", Kind.SYMLINK: b"l", Kind.HARD_LINK: b"h"}
_KINDS = {b"f": Kind.FILE, b"d": Kind.DIRECTORY, b"l": Kind.SYMLINK}

_FACTS = re.compile(rb"([fdl]) ([0-7]{1,4}|-) (-?\d{1,12}|-) (\d{1,18}) (.+)\Z", re.DOTALL)
_FACTS_BYTES = 64
_ODD = re.compile(rb"[^A-Za-z0-9./_-]")


def list_pieces(entries: Iterable[Entry]) -> Iterator[bytes | Ahead]:
    """What the upload script's shell follows.

    Raises:
        TransferError: a file became shorter since it was looked at.
    """
    made = {b""}
    for member, path in entries:
        parent = member.name.rpartition(b"/")[0]
        if parent not in made:
            made.add(parent)
            yield b"p - - 0 %b\n" % _escaped(parent)
        facts = (_WORDS[member.kind], member.mode or 0, member.mtime or 0, member.size)
        yield b"%b %o %d %d %b %b\n" % (*facts, _escaped(member.name), _escaped(member.link))
        yield from large_file_pieces(path, size=member.size)


def _escaped(name: bytes) -> bytes:
    """For ``printf %b``."""
    return _ODD.sub(lambda odd: b"\\0%03o" % odd[0][0], name)


def list_members(source: ByteSource, *, limits: TransferLimits, what: str) -> Iterator[Member]:
    """The members of what the download script's shell writes; who iterates reads each one's content before the next.

    Raises:
        ArchiveError: this is no such list, or a file became shorter while the shell wrote it.
        TransferLimitError: a name is longer than the limit.
    """
    longest = limits.path_bytes + _FACTS_BYTES
    while not source.at_end():
        line = source.until(b"\0", limit=longest)
        if line is None:
            raise limits.exceeded("path_bytes", longest, what)
        facts = _FACTS.match(line)
        if facts is None:
            raise ArchiveError(f"What the pod sends is no list of files: {line[:200]!r}")
        kind, mode, mtime, size, name = facts.groups()
        link = source.until(b"\0", limit=longest) if kind == b"l" else b""
        if link is None:
            raise limits.exceeded("path_bytes", longest, what)
        yield Member(
            name,
            _KINDS[kind],
            None if mode == b"-" else int(mode, 8),
            None if mtime == b"-" else int(mtime),
            int(size),
            int(size),
            link,
        )
        if kind == b"f" and source.take(1) != LIST_END:
            raise ArchiveError("A file became shorter while it was downloaded.")
