"""Unpacking what came out of a pod, which is hostile until shown otherwise."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from harbor_aws.worker.transfer.report import RemoteFileError

if TYPE_CHECKING:
    from hashlib import _Hash

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


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """The most that one download may bring."""

    size_bytes: int = 16 * 1024**3
    members: int = 500_000
    path_bytes: int = 4096
    """Length of one member's path (Linux's PATH_MAX)."""


class TransferLimitError(RemoteFileError):
    """A download would bring more than :class:`TransferLimits` allows."""


class DigestingReader:
    """A file to read, once, that remembers how much was read and its SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest: _Hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        self.size += len(data)
        return data

    def read_rest(self) -> None:
        while self.read(64 * 1024):
            pass

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def unpack(reader: DigestingReader, target: Path, limits: TransferLimits) -> None:
    """Unpack a tar into an empty directory, reading to its very end.

    Paths that would leave the directory, devices and FIFOs are left out, as Harbor leaves them out; owners and the
    setuid bits are not kept (``tarfile``'s ``data`` filter).

    Raises:
        TransferLimitError: more than ``limits``.
        tarfile.TarError: not a tar.
    """
    members = size = 0
    links = []
    file = cast("BinaryIO", reader)  # tarfile reads a stream by `read` alone
    with tarfile.open(fileobj=file, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            members += 1
            size += member.size
            if members > limits.members or size > limits.size_bytes or _path_bytes(member) > limits.path_bytes:
                raise TransferLimitError(
                    f"The download has more than {limits.members} members, {limits.size_bytes} bytes, "
                    f"or a path longer than {limits.path_bytes} bytes."
                )
            if member.issym():
                links.append(member)
            elif not member.isdev():
                _extract(archive, member, target)
        # Symbolic links come last, so that nothing is ever written through one: the filter's own check of where they
        # lead has been fooled before (CVE-2025-4517).
        for member in links:
            if not _has_linked_parent(member, target):
                _extract(archive, member, target)
    reader.read_rest()


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    try:
        archive.extract(member, target, filter="data")
    except (tarfile.FilterError, tarfile.ExtractError, KeyError) as error:
        logger.debug("Left out of a download: %s", error, extra={"action": "skip_member"})
    except OSError as error:
        if error.errno not in _MEMBERS_OWN_FAULT:
            raise
        logger.debug("Left out of a download: %s", error, extra={"action": "skip_member"})


def _has_linked_parent(member: tarfile.TarInfo, target: Path) -> bool:
    parents = PurePosixPath(member.name).parents
    return any((target / parent).is_symlink() for parent in parents)


def merge(source: Path, target: Path) -> None:
    """Move what is below ``source`` to the same place below ``target``, over what is there."""
    if not target.exists() and not target.is_symlink():
        source.rename(target)
        return
    for entry in os.scandir(source):
        place = target / entry.name
        if entry.is_dir(follow_symlinks=False) and place.is_dir() and not place.is_symlink():
            merge(Path(entry.path), place)
        else:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            elif entry.is_dir(follow_symlinks=False) and (place.exists() or place.is_symlink()):
                place.unlink()
            Path(entry.path).replace(place)


def _path_bytes(member: tarfile.TarInfo) -> int:
    return max(len(member.name.encode(errors="surrogateescape")), len(member.linkname.encode(errors="surrogateescape")))
