"""Directories as archives: a task's files, content-addressed, and what an attempt left.

An archive is a zstandard-compressed tar without owners and times, its members sorted, so that the same files always
make the same bytes and a task that did not change is not uploaded again.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

from harbor_aws.infra.errors import PermanentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_MEMBERS = 500_000
"""Files and directories in one archive, as many as one download from a pod may bring. More is refused in a task and in
what is unpacked, and left out of what an attempt left."""

MAX_BYTES = 16 * 2**30
"""Bytes of an unpacked archive, likewise; a Fargate pod has 20 GiB unless it asks for more."""

LEFT_OUT_NAME = "harbor-aws-left-out.txt"
"""The file in an attempt's archive that says what was too much for it."""

_NOTE_BYTES = 2**20
"""Kept free for that file, which lists as many names as go into it."""

_COMPRESSION_LEVEL = 6
_LEFT_OUT = frozenset({"__pycache__", ".DS_Store"})
_LEFT_OUT_AT_ROOT = frozenset({".git"})
_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY}


class BundleError(PermanentError):
    """An archive is not what its digest says, or holds what must not be unpacked."""


def pack_task(task: Path, archive: Path) -> str:
    """Write a task's files to ``archive``; the SHA-256 (hex) of the archive.

    Left out are ``.git`` at the root, and ``__pycache__`` and ``.DS_Store`` anywhere.

    Raises:
        UsageError: a file cannot travel: a link that leaves the task, a device, too many or too large files.
    """
    members = [member for member in _walk(task) if not _is_left_out(Path(member))]
    for member in members:
        if reason := _why_it_cannot_travel(task, member):
            raise UsageError(f"{member} {reason}")
    if len(members) > MAX_MEMBERS:
        raise UsageError(f"{len(members)} files are more than the {MAX_MEMBERS} that a bundle may hold")
    size = sum((task / member).lstat().st_size for member in members)
    if size > MAX_BYTES:
        raise UsageError(f"{size} bytes of files are more than the {MAX_BYTES} that a bundle may hold")
    return _write(task, members, archive)


def pack_directory(source: Path, archive: Path) -> str:
    """Write what is below ``source`` to ``archive``; the SHA-256 (hex) of the archive.

    Links that leave the directory, devices and sockets are left out: an agent's logs are nobody's to correct. So is
    what goes beyond the limits, the deepest first, and then :data:`LEFT_OUT_NAME` says so.
    """
    members = [member for member in _walk(source) if not _why_it_cannot_travel(source, member)]
    kept = _within_limits(source, members)
    if len(kept) == len(members):
        return _write(source, members, archive)
    left_out = [member for member in members if member not in kept]
    kept.discard(LEFT_OUT_NAME)
    return _write(source, [member for member in members if member in kept], archive, note=_note(left_out))


def unpack_bundle(archive: Path, target: Path, digest: str) -> None:
    """Unpack a task's bundle to ``target``, which appears whole or not at all; no work if it is there.

    Raises:
        BundleError: the archive's SHA-256 is not ``digest``, or it holds what must not be unpacked.
    """
    found = _digest(archive)
    if found != digest:
        raise BundleError(f"The bundle {digest} is damaged: its SHA-256 is {found}. Enqueue the task again.")
    _unpack(archive, target, tarfile.data_filter)


def unpack_attempt(archive: Path, target: Path) -> None:
    """Unpack what an attempt left to ``target``, which appears whole or not at all; unsafe members are left out.

    Raises:
        BundleError: it is not an archive, or is larger than any of ours.
    """
    _unpack(archive, target, _safe_or_nothing)


def _digest(archive: Path) -> str:
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _walk(root: Path) -> Iterator[str]:
    """Every path below ``root``, relative, in one fixed order; parents come before what they hold."""
    for directory, directories, files in os.walk(root):
        directories.sort()
        below = Path(directory).relative_to(root)
        yield from ((below / name).as_posix() for name in sorted([*directories, *files]))


def _is_left_out(member: Path) -> bool:
    return member.parts[0] in _LEFT_OUT_AT_ROOT or not _LEFT_OUT.isdisjoint(member.parts)


def _why_it_cannot_travel(root: Path, member: str) -> str | None:
    path = root / member
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        link = str(path.readlink())
        inside = os.path.normpath(Path(member).parent / link)
        return f"links to {link}, outside the directory" if Path(link).is_absolute() or inside[:2] == ".." else None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "is neither a file, a directory nor a link"


def _within_limits(root: Path, members: list[str]) -> set[str]:
    """What an archive may hold next to a note: whatever still fits, beginning with what lies highest."""
    kept: set[str] = set()
    left = MAX_BYTES - _NOTE_BYTES
    for member in sorted(members, key=lambda member: member.count("/")):
        status = (root / member).lstat()
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        if len(kept) < MAX_MEMBERS - 1 and size <= left:
            kept.add(member)
            left -= size
    return kept


def _note(left_out: list[str]) -> bytes:
    head = f"{len(left_out)} files and directories were left out: an archive holds {MAX_MEMBERS} in {MAX_BYTES} bytes."
    return "\n".join([head, *left_out, ""]).encode(errors="backslashreplace")[:_NOTE_BYTES]


def _write(root: Path, members: list[str], archive: Path, *, note: bytes | None = None) -> str:
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)
    with (
        archive.open("wb") as file,
        compressor.stream_writer(file, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for member in members:
            _add(tar, root / member, member)
        if note is not None:
            info = tarfile.TarInfo(LEFT_OUT_NAME)
            info.size = len(note)
            tar.addfile(info, io.BytesIO(note))
    return _digest(archive)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        tar.addfile(info)
    elif stat.S_ISDIR(status.st_mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    else:
        info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        with path.open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            tar.addfile(info, file)


def _unpack(
    archive: Path, target: Path, member_filter: Callable[[tarfile.TarInfo, str], tarfile.TarInfo | None]
) -> None:
    if target.exists():
        return
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        partial.chmod(0o755)
        _extract(archive, partial, member_filter)
        partial.rename(target)
    except (zstandard.ZstdError, tarfile.TarError) as error:
        raise BundleError(f"{archive.name} cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _extract(
    archive: Path, target: Path, member_filter: Callable[[tarfile.TarInfo, str], tarfile.TarInfo | None]
) -> None:
    members = size = 0
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for member in tar:
            members, size = members + 1, size + member.size
            if members > MAX_MEMBERS or size > MAX_BYTES:
                raise BundleError(f"{archive.name} holds more than {MAX_MEMBERS} files or {MAX_BYTES} bytes.")
            tar.extract(member, target, filter=member_filter)


def _safe_or_nothing(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo | None:
    try:
        return tarfile.data_filter(member, target)
    except tarfile.FilterError:
        return None
