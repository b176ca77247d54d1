"""Where a fetch makes ready what it brings, beside the job's directory; one fetch at a time has it.

The lock is the kernel's, which undoes it however a process ends. So what lies there when a fetch begins is of one that
was killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

LOCK_NAME = ".harbor-aws-fetch.lock"
"""The file in a job's directory that is locked while a fetch writes there. It stays; Harbor looks at directories."""


@contextmanager
def fetch_place(job_directory: Path) -> Iterator[Path]:
    """An empty directory for the length of a ``with``, on the job directory's file system. A second fetch waits.

    Raises:
        UsageError: the job's directory, or one beside it, cannot be made, or not be locked.
    """
    with _usable(job_directory):
        job_directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(job_directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(lock, job_directory)
        place = job_directory.with_name(f".{job_directory.name}.fetching")
        with _usable(place):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"Nothing can be written into {directory}: {error}. -o names another directory.") from error


def _lock(lock: int, job_directory: Path) -> None:
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("Another fetch writes into %s; waiting until it ends.", job_directory)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise UsageError(f"{job_directory} cannot be locked: {error}. -o names another directory.") from error
