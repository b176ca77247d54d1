"""The bundles of a worker process: fetched once, kept while in use, dropped when many lie idle."""

from __future__ import annotations

import asyncio
import shutil
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.worker.trial_fakes import MemoryStore

from harbor_aws.infra.layout import bundle_key
from harbor_aws.producer.bundle import pack_task
from harbor_aws.worker.bundles import SHORT_OF, BundleCache
from harbor_aws.worker.disk import GIB, least_free_bytes

if TYPE_CHECKING:
    from pathlib import Path


def bundled(store: MemoryStore, directory: Path, name: str) -> str:
    """A task in the store; its digest."""
    task = directory / name
    task.mkdir()
    (task / "instruction.md").write_text(name)
    archive = directory / f"{name}.tar.zst"
    digest = pack_task(task, archive)
    store.objects[bundle_key(digest)] = archive.read_bytes()
    return digest


def cache_of(store: MemoryStore, directory: Path, *, idle: int = 64) -> BundleCache:
    return BundleCache(cast("Any", store), directory=directory / "cache", idle_bundles=idle)


async def test_trials_of_one_task_share_its_files(tmp_path: Path) -> None:
    """Two at once download it once."""
    store = MemoryStore()
    digest = bundled(store, tmp_path, "task")
    cache = cache_of(store, tmp_path)
    async with cache.unpacked(digest, name="task") as first:
        del store.objects[bundle_key(digest)]
        async with cache.unpacked(digest, name="task") as second:
            assert (second, (second / "instruction.md").read_text()) == (first, "task")


async def test_idle_bundles_are_dropped_the_oldest_first(tmp_path: Path) -> None:
    """Those in use stay, however many."""
    store = MemoryStore()
    digests = [bundled(store, tmp_path, name) for name in ("a", "b", "c")]
    cache = cache_of(store, tmp_path, idle=1)
    paths = []
    for digest in digests:
        async with cache.unpacked(digest, name="task") as path:
            paths.append(path)
    assert [path.exists() for path in paths] == [False, False, True]


async def test_no_idle_bundle_is_kept_when_the_disk_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would keep the worker from taking trials for ever; what is in use stays."""
    store = MemoryStore()
    digests = [bundled(store, tmp_path, name) for name in ("idle", "used", "last")]
    cache = cache_of(store, tmp_path)
    async with cache.unpacked(digests[0], name="task") as idle:
        pass
    assert idle.exists()
    total = 100 * GIB
    free = SHORT_OF * least_free_bytes(total) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(total=total, free=free))
    async with cache.unpacked(digests[1], name="task") as used:
        async with cache.unpacked(digests[2], name="task") as last:
            pass
        assert [path.exists() for path in (idle, used, last)] == [False, True, False]


async def test_one_that_was_never_fetched_is_no_trouble_to_drop(tmp_path: Path) -> None:
    """A bundle that is missing costs its own trial, and not the one after it."""
    store = MemoryStore()
    digest = bundled(store, tmp_path, "task")
    cache = cache_of(store, tmp_path, idle=0)
    with pytest.raises(Exception, match="There is no"):
        async with cache.unpacked("0" * 64, name="task"):
            pass
    async with cache.unpacked(digest, name="task") as path:
        assert path.exists()


async def test_a_cancelled_fetch_disturbs_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next trial of the task waits for it to end, and has the whole task."""
    store, begun, go_on = MemoryStore(), threading.Event(), threading.Event()
    digest = bundled(store, tmp_path, "task")
    cache = cache_of(store, tmp_path)
    download = store.download

    def slowly(key: str, path: Path) -> None:
        begun.set()
        go_on.wait(10)
        download(key, path)

    monkeypatch.setattr(store, "download", slowly)

    async def use() -> str:
        async with cache.unpacked(digest, name="task") as path:
            return (path / "instruction.md").read_text()

    first = asyncio.create_task(use())
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    second = asyncio.create_task(use())
    go_on.set()
    assert await second == "task"
    with pytest.raises(asyncio.CancelledError):
        await first
