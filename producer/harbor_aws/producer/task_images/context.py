"""What an image is built from, as one archive: the environment's directory and nothing else of the task."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEFT_OUT = frozenset({"__pycache__", ".DS_Store"})
"""What a task's bundle leaves out too; Harbor's hash, which names the image, knows nothing of it."""

_MODIFIED = 946_684_800
"""Of every file, as a Unix time: 2000-01-01. ZIP files, and so Python's wheels, know no time before 1980."""

_COMPRESSION_LEVEL = 1
"""It travels once, and a file of gigabytes is mostly compressed already."""


def write_context(directory: Path, archive: Path) -> None:
    """Write a build's context to ``archive``, a tar.gz: no owners, no times, of the modes only who may execute.

    Raises:
        OSError: a file cannot be read.
    """
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT, compresslevel=_COMPRESSION_LEVEL) as tar:
        for name in _members(directory):
            _add(tar, directory / name, name)


def _members(root: Path) -> Iterator[str]:
    for directory, directories, files in os.walk(root, onerror=_refuse):
        directories[:] = sorted(set(directories) - _LEFT_OUT)
        below = Path(directory).relative_to(root)
        yield from ((below / name).as_posix() for name in sorted({*directories, *files} - _LEFT_OUT))


def _refuse(error: OSError) -> NoReturn:
    """A directory that is silently left out makes another image."""
    raise error


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    member, status = tarfile.TarInfo(name), path.lstat()
    member.mtime = _MODIFIED
    if stat.S_ISLNK(status.st_mode):
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        tar.addfile(member)
    elif stat.S_ISDIR(status.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    elif stat.S_ISREG(status.st_mode):
        member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        with path.open("rb") as file:
            member.size = os.fstat(file.fileno()).st_size
            tar.addfile(member, file)
