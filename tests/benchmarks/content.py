"""Files to transfer, which no compression makes smaller, and whether they arrived."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.exec_peers.kubectl import kubectl_argv

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.target import Target

_BLOCK_BYTES = 2**20
_FILES_PER_DIRECTORY = 200

_REMOTE_DIGEST = """
cd {directory} && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum && find . -type f | wc -l
"""


@dataclass(frozen=True, slots=True)
class Content:
    """A file, or a directory of small ones."""

    path: Path
    size_bytes: int
    files: int
    fingerprint: str
    """SHA-256 of all files' bytes in the order of their names, and their number."""

    @property
    def is_directory(self) -> bool:
        return self.path.is_dir()


def make_big_file(path: Path, *, mib: int) -> Content:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(_BLOCK_BYTES))
    return Content(path, mib * _BLOCK_BYTES, 1, local_fingerprint(path))


def make_small_files(directory: Path, *, count: int, each_bytes: int) -> Content:
    for number in range(count):
        parent = directory / f"d{number // _FILES_PER_DIRECTORY:03d}"
        if number % _FILES_PER_DIRECTORY == 0:
            parent.mkdir(parents=True)
        (parent / f"f{number:06d}").write_bytes(os.urandom(each_bytes))
    return Content(directory, count * each_bytes, count, local_fingerprint(directory))


def local_fingerprint(path: Path) -> str:
    """Of a file or directory; says so if there is none."""
    if not path.exists():
        return "nothing"
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda found: str(found.relative_to(path)).encode()):
        with file.open("rb") as content:
            while block := content.read(_BLOCK_BYTES):
                digest.update(block)
    return f"{digest.hexdigest()} {len(files)}"


async def remote_fingerprint(target: Target, path: str, *, directory: bool) -> str:
    """As :func:`local_fingerprint`, of what is in the pod, by kubectl and the pod's own programs."""
    place = shlex.quote(path)
    script = _REMOTE_DIGEST.format(directory=place) if directory else f"sha256sum <{place} && echo 1"
    words = (await in_pod(target, script)).split()
    return f"{words[0]} {words[-1]}" if len(words) > 1 else "nothing"


async def in_pod(target: Target, script: str) -> str:
    """What a shell script prints in the pod, whatever its exit code."""
    process = await asyncio.create_subprocess_exec(
        *kubectl_argv(target, "exec", "-c", "main", target.pod, "--", "sh", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace")
