"""The build context of the workers' image: all that a build needs beside the base image and a package index."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from importlib.metadata import version

from harbor_aws.infra.worker_image.installed import DISTRIBUTION, recipe
from harbor_aws.infra.worker_image.wheel import installed_wheel

_TAG_DIGITS = 12
"""Of the digest; they tell one development state from another, the version does the rest."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the image of this very installation is built from."""

    archive: bytes
    """A tar.gz with the Dockerfile at its top. Its bytes depend on this machine's zlib, so compare the digest."""

    digest: str
    """SHA-256 of the tar, in hex: the same wherever the same files are installed."""

    tag: str
    """The image's: the version and the digest's beginning. Another content has another tag, so none is ever moved."""


@functools.cache
def worker_context() -> WorkerContext:
    """The context of the harbor-aws that runs."""
    wheel, content = installed_wheel()
    tar = _tar(recipe() | {wheel: content})
    digest = hashlib.sha256(tar).hexdigest()
    return WorkerContext(
        archive=gzip.compress(tar, compresslevel=6, mtime=0),
        digest=digest,
        tag=image_tag(version(DISTRIBUTION), digest),
    )


def image_tag(version: str, digest: str) -> str:
    """A tag for this content. A version's ``+local`` is written with a dash, since a tag takes no plus."""
    return f"{version.replace('+', '-')}-{digest[:_TAG_DIGITS]}"


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)  # by itself: nobody's, of the beginning of time, readable by all
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
