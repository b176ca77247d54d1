"""A directory as a tar of a size that is known before it is written."""

from __future__ import annotations

import os
import stat
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Archive:
    """What will be in a tar. GNU's format, which BusyBox reads too; everything is root's."""

    members: tuple[tuple[tarfile.TarInfo, Path], ...]

    @cached_property
    def size(self) -> int:
        """Bytes of the whole tar."""
        content = sum(len(_header(info)) + _padded(info.size, tarfile.BLOCKSIZE) for info, _ in self.members)
        return _padded(content + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)

    def chunks(self) -> Iterator[bytes]:
        """The tar, in pieces of any size up to :data:`CHUNK_BYTES`.

        Raises:
            TransferError: a file became shorter since the archive was planned.
        """
        written = 0
        for info, path in self.members:
            header = _header(info)
            yield header
            written += len(header) + _padded(info.size, tarfile.BLOCKSIZE)
            if info.size:
                yield from file_chunks(path, size=info.size)
                yield bytes(_padded(info.size, tarfile.BLOCKSIZE) - info.size)
        yield bytes(self.size - written)


def plan_directory(source: Path) -> Archive:
    """Everything below a directory but what has no content to send (sockets, FIFOs, devices).

    Modes, symbolic links and empty directories are kept; owners become root. The directory itself is not among its
    contents, so that unpacking leaves the target directory's own mode alone.

    Raises:
        NotADirectoryError: there is no such directory.
    """
    if not source.is_dir():
        raise NotADirectoryError(f"There is no directory {source} to upload.")
    members = [(_member(path, source), path) for path in _walk(source)]
    return Archive(tuple((info, path) for info, path in members if info is not None))


def file_chunks(path: Path, *, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes of a file, in pieces.

    Raises:
        TransferError: it has fewer.
    """
    left = size
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise TransferError(f"{path} became shorter while it was uploaded.")
            left -= len(chunk)
            yield chunk


def _walk(directory: Path) -> Iterator[Path]:
    """Parents before what is in them, symbolic links not followed."""
    for entry in sorted(os.scandir(directory), key=lambda found: found.name):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _member(path: Path, root: Path) -> tarfile.TarInfo | None:
    status = path.lstat()
    info = tarfile.TarInfo(path.relative_to(root).as_posix())
    info.mode = stat.S_IMODE(status.st_mode)
    info.mtime = int(status.st_mtime)
    if stat.S_ISREG(status.st_mode):
        info.size = status.st_size
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
    else:
        return None
    return info


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
