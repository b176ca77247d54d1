"""Secrets as files, one a variable: what workers read, and how the local stack keeps its own."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.secrets.names import is_variable
from harbor_aws.infra.secrets.stored import StoredSecret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_secrets(directory: Path) -> dict[str, str]:
    """The secrets in a directory, by name; empty if there is none. Other files are left alone.

    Raises:
        UsageError: one cannot be read, or no variable can hold it.
    """
    if not directory.is_dir():
        return {}
    return {path.name: _text(path) for path in sorted(directory.iterdir()) if is_variable(path.name)}


class DirectorySecrets:
    """The secrets of the local stack, which go with it. Each is written whole and for its owner alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def set(self, name: str, value: str) -> None:
        """Keep a secret, instead of the one that had the name."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self._directory, name, value)

    async def remove(self, name: str) -> bool:
        """``False`` if there was none."""
        path = self._directory / name
        there = path.is_file()
        path.unlink(missing_ok=True)
        return there

    async def list(self) -> list[StoredSecret]:
        """Names and ages, by name."""
        if not self._directory.is_dir():
            return []
        paths = [path for path in sorted(self._directory.iterdir()) if is_variable(path.name)]
        return [StoredSecret(path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC)) for path in paths]


def replace_secrets(directory: Path, secrets: Mapping[str, str]) -> str:
    """Make ``secrets`` all that is in a directory; a text that changes when they do, and tells nothing of them.

    Who reads it meanwhile finds of each secret the old or the new one.
    """
    wanted = {name: value for name, value in secrets.items() if is_variable(name)}
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _holds(directory, wanted):
        for name, value in wanted.items():
            _write(directory, name, value)
        for path in directory.iterdir():
            if path.name not in wanted:
                path.unlink()
        now = time.time_ns()  # the system's own times are coarser
        os.utime(directory, ns=(now, now))
    return str(directory.stat().st_mtime_ns)


def _holds(directory: Path, wanted: Mapping[str, str]) -> bool:
    try:
        return read_secrets(directory) == wanted
    except UsageError:  # it is made anew
        return False


def _write(directory: Path, name: str, value: str) -> None:
    descriptor, partial = tempfile.mkstemp(prefix=".", dir=directory)
    with os.fdopen(descriptor, "wb") as file:
        file.write(value.encode(errors="surrogateescape"))
    os.replace(partial, directory / name)  # noqa: PTH105 - mkstemp's are texts


def _text(path: Path) -> str:
    """As the process's environment will have it: bytes that are no text are kept."""
    try:
        value = path.read_bytes().decode(errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"The secret {path.name} cannot be read: {error.strerror}.") from error
    if "\0" in value:
        raise UsageError(f"The secret {path.name} holds a NUL, which no variable can. To do: encode it.")
    return value
