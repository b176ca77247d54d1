"""Takes in the tar of a build context. Blocking, but for the receiving."""

from __future__ import annotations

import posixpath
import tarfile
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.local.kubernetes.images.dockerignore import Ignored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DOCKERFILE = "Dockerfile"
_IGNORE_FILE = ".dockerignore"


async def receive_context(stream: AsyncIterator[bytes], archive: Path) -> None:
    """Write the stream to a file."""
    with archive.open("wb") as file:
        async for chunk in stream:
            file.write(chunk)


def unpack_context(archive: Path, directory: Path) -> str:
    """Put the context's files into ``directory``, without what its ``.dockerignore`` leaves out.

    Returns:
        The Dockerfile's text.

    Raises:
        PermanentError: it is not a tar archive, names files outside of itself, or has no Dockerfile.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            ignored = Ignored(_text(tar, _IGNORE_FILE) or "")
            text = _text(tar, DOCKERFILE)
            if text is None:
                raise PermanentError("There is no Dockerfile at the root of the build context.")
            wanted = [member for member in tar if _name(member) not in ignored]
            tar.extractall(directory, wanted, filter="tar")  # the filter keeps everything inside
    except (tarfile.TarError, UnicodeDecodeError, EOFError) as error:
        raise PermanentError(f"The build context cannot be unpacked: {error}") from error
    return text


def _name(member: tarfile.TarInfo) -> str:
    return posixpath.normpath(member.name.lstrip("/"))


def _text(tar: tarfile.TarFile, name: str) -> str | None:
    for member in tar:
        if _name(member) == name:
            content = tar.extractfile(member)
            return content.read().decode() if content is not None else None
    return None
