"""Where a worker process keeps what it works on: one directory, that a successor removes if the process was killed.

The directory is locked for as long as its process lives, and the kernel unlocks it however that ends. So one that is
not locked is nobody's. In a container this matters because an ``emptyDir`` outlives the container
(https://kubernetes.io/docs/concepts/storage/volumes/#emptydir).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

PREFIX = "harbor-aws-worker-"
"""Begins the name of every worker's directory."""


@contextmanager
def own_scratch() -> Iterator[Path]:
    """A directory of this process's own for the length of a ``with``, in that of the temporary files (``TMPDIR``).

    What killed processes left there is removed first. Within, everything that this process or a program that it starts
    makes as a temporary file lies below the directory, whichever library asks for it.

    Raises:
        UsageError: there is no place for it.
    """
    try:
        # Asked first, tempfile would go elsewhere when TMPDIR is full, of what is about to be removed for instance.
        parent = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
        _remove_abandoned(parent)
        directory, lock = _make(parent)
    except OSError as error:
        raise UsageError(f"The worker has no place to work in: {error}. TMPDIR names another.") from error
    try:
        with _temporary_files_below(directory):
            yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _make(parent: Path) -> tuple[Path, int]:
    """A new directory and its lock. Until it is locked another process may take it for abandoned."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(directory)
        if lock is not None:
            return directory, lock


def _remove_abandoned(parent: Path) -> None:
    for directory in parent.glob(f"{PREFIX}*"):
        lock = _lock(directory)
        if lock is None:
            continue
        try:
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)
        logger.info("Removed what a worker that was killed left in %s.", directory, extra={"action": "remove_scratch"})


def _lock(directory: Path) -> int | None:
    """Lock a directory of this user's: the descriptor that holds it, or ``None`` if it is another's, or gone."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(descriptor)
        if held.st_uid == os.geteuid() and os.path.samestat(held, directory.lstat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass  # it is in use, or was removed meanwhile by the one who had the lock
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextmanager
def _temporary_files_below(directory: Path) -> Iterator[None]:
    """Harbor, its agents and plugins ask :mod:`tempfile` or ``TMPDIR``."""
    default, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(directory)
    try:
        yield
    finally:
        tempfile.tempdir = default
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable
