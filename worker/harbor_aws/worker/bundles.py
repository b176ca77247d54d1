"""Unpacked task bundles of this process, shared by the trials that run the same task."""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from harbor_aws.infra.layout import bundle_key
from harbor_aws.producer.bundle import unpack_bundle
from harbor_aws.worker.completion import to_completion
from harbor_aws.worker.disk import least_free_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harbor_aws.infra.objects import ObjectStore

IDLE_BUNDLES = 64
"""Unused bundles that are kept for the next trial of their task; more are removed, the least recently used first."""

SHORT_OF = 2
"""Times the least that must be free for a trial to begin: below that no unused bundle is kept."""


class BundleCache:
    """Downloads each bundle once and keeps it while trials use it."""

    def __init__(self, store: ObjectStore, *, directory: Path, idle_bundles: int = IDLE_BUNDLES) -> None:
        self._store = store
        self._directory = directory
        self._idle_bundles = idle_bundles
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def unpacked(self, digest: str, *, name: str) -> AsyncIterator[Path]:
        """The task's directory, called ``name``, which must only be read.

        Raises:
            PermanentError: the bundle is missing, or is not what its digest says.
            TransientError: S3 did not give it.
        """
        self._users[digest] = self._users.pop(digest, 0) + 1
        try:
            async with self._locks[digest]:
                path = self._directory / digest / name
                if not path.exists():
                    await to_completion(asyncio.to_thread(self._fetch, digest, path))
            yield path
        finally:
            self._users[digest] -= 1
            discarded = self._discard_surplus()
            if discarded:
                await asyncio.to_thread(_remove, discarded)

    def _fetch(self, digest: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        archive = path.with_name(f"{path.name}.tar.zst")
        self._store.download(bundle_key(digest), archive)
        try:
            unpack_bundle(archive, path, digest)
        finally:
            archive.unlink(missing_ok=True)

    def _discard_surplus(self) -> list[Path]:
        """Rename what is no longer wanted, which is instant, so that a new user of the task never sees half of it."""
        idle = [digest for digest, users in self._users.items() if users == 0]
        discarded = []
        kept = 0 if self._is_short_of_disk() else self._idle_bundles
        for digest in idle[: max(0, len(idle) - kept)]:
            del self._users[digest]
            self._locks.pop(digest, None)
            with suppress(FileNotFoundError):  # it was never fetched
                discarded.append((self._directory / digest).rename(self._directory / f"discarded-{uuid4().hex}"))
        return discarded

    def _is_short_of_disk(self) -> bool:
        disk = shutil.disk_usage(self._directory.parent)
        return disk.free < SHORT_OF * least_free_bytes(disk.total)


def _remove(directories: list[Path]) -> None:
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
