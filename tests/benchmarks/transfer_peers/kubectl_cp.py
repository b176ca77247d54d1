"""``kubectl cp``: a process for every transfer, timed from its start to its end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.benchmarks.exec_peers.kubectl import kubectl_argv
from tests.benchmarks.memory import peak_resident_kib

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.benchmarks.target import Target

_POLL_SECONDS = 0.02


class KubectlCp:
    """Its memory's growth is over the peak of a ``kubectl exec`` of ``true``."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.memory = KubectlMemory()

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[KubectlCp]:
        yield cls(target)

    async def warm_up(self) -> None:
        await self._kubectl("exec", "-c", "main", self._target.pod, "--", "true")
        self.memory.small_kib = self.memory.peak_kib

    async def upload(self, source: Path, target: str) -> None:
        await self._kubectl("cp", "-c", "main", str(source), f"{self._target.pod}:{target}")

    async def download(self, source: str, target: Path, *, directory: bool) -> None:
        await self._kubectl("cp", "-c", "main", f"{self._target.pod}:{source}", str(target))

    def requests(self) -> int | None:
        return None

    async def _kubectl(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *kubectl_argv(self._target, *arguments),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        watching = asyncio.create_task(self.memory.watch(process.pid))
        _, stderr = await process.communicate()
        watching.cancel()
        if process.returncode != 0:
            raise RuntimeError(f"kubectl {arguments[0]}: {stderr.decode(errors='replace').strip()[-300:]}")


class KubectlMemory:
    """The peak of the last kubectl process."""

    def __init__(self) -> None:
        self.peak_kib = 0
        self.small_kib = 0

    def begin(self) -> None:
        self.peak_kib = 0

    def growth_kib(self) -> int:
        return self.peak_kib - self.small_kib

    async def watch(self, pid: int) -> None:
        while True:
            try:
                self.peak_kib = max(self.peak_kib, peak_resident_kib(pid))
            except (FileNotFoundError, ProcessLookupError):
                return
            await asyncio.sleep(_POLL_SECONDS)
