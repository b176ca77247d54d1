"""Takes secrets out of a directory that an agent may have filled: contents, names, and where links lead.

Whatever is in it is data: links are not followed, files are read as they come and never whole, and what holds no secret
is not written. What does is written anew beside and renamed, with its mode and times.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.worker.scrub.needles import Needles

CHUNK_BYTES = 2**18
"""Read at once. The search keeps Python's lock: this is 0.5 to 2 ms of it."""

_SAMPLE_BYTES = 8192
"""A file with a NUL this near its beginning is binary, as Harbor says too (``Trial._scrub_jobs_dir``)."""

_NAME_BYTES = 255


def scrub_tree(root: Path, needles: Needles) -> set[str]:
    """Replace the secrets in everything below ``root``; the names of those that were there. Blocks.

    In a text a secret becomes its name in brackets, in a binary file something of the same length.

    Raises:
        OSError: something cannot be read or written; what was done stays.
    """
    found: set[str] = set()
    if not needles:
        return found
    for directory, directories, files in os.walk(os.fsencode(root), topdown=False, onerror=_raise):
        for name in (*directories, *files):
            path = os.path.join(directory, name)  # noqa: PTH118 - names may be no text
            found |= _scrub_entry(path, needles)
            found |= _scrub_name(directory, name, needles)
    return found


def _raise(error: OSError) -> None:
    raise error


def _scrub_entry(path: bytes, needles: Needles) -> set[str]:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return _scrub_link(path, needles)
    return _scrub_file(path, needles) if stat.S_ISREG(mode) else set()


def _scrub_link(path: bytes, needles: Needles) -> set[str]:
    target = os.readlink(path)  # noqa: PTH115 - of a path that may be no text
    if found := needles.names_in(target):
        os.unlink(path)  # noqa: PTH108 - likewise
        os.symlink(needles.replaced(target), path)  # noqa: PTH211 - likewise
    return found


def _scrub_file(path: bytes, needles: Needles) -> set[str]:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as source:
        found = needles.names_in_stream(_chunks(source))
        if found:
            source.seek(0)
            _rewrite(path, source, needles)
    return found


def _rewrite(path: bytes, source: BinaryIO, needles: Needles) -> None:
    status = os.fstat(source.fileno())
    is_binary = b"\0" in source.read(_SAMPLE_BYTES)
    source.seek(0)
    descriptor, partial = tempfile.mkstemp(prefix=b".scrub-", dir=os.path.dirname(path))  # noqa: PTH120 - no text
    try:
        with os.fdopen(descriptor, "wb") as target:
            for piece in needles.replaced_in_stream(_chunks(source), same_length=is_binary):
                target.write(piece)
            target.flush()
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(partial, path)  # noqa: PTH105 - no text
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)  # noqa: PTH108 - no text
        raise


def _scrub_name(directory: bytes, name: bytes, needles: Needles) -> set[str]:
    """A name that is taken gets a number."""
    found = needles.names_in(name)
    if found:
        base = needles.replaced(name)
        new, number = base, 1
        while os.path.lexists(os.path.join(directory, new)):  # noqa: PTH118 - no text
            number += 1
            suffix = b"-%d" % number
            new = base[: _NAME_BYTES - len(suffix)] + suffix
        os.rename(os.path.join(directory, name), os.path.join(directory, new))  # noqa: PTH104, PTH118 - no text
    return found


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
