"""What moves files into a pod and out of it, ours or another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tests.benchmarks.memory import forget_peak, peak_resident_kib, resident_kib

if TYPE_CHECKING:
    from pathlib import Path


class TransferPeer(Protocol):
    """A client with its connection settings read and its pool open."""

    memory: MemoryMeter

    async def warm_up(self) -> None:
        """Use the connection once, so that what is made only once is not counted."""

    async def upload(self, source: Path, target: str) -> None:
        """A file or a directory, to a path where nothing is."""

    async def download(self, source: str, target: Path, *, directory: bool) -> None:
        """A file or a directory, to a path where nothing is."""

    def requests(self) -> int | None:
        """API requests so far; ``None`` if this peer does not tell."""


class MemoryMeter(Protocol):
    """By how much the peak of resident memory grows."""

    def begin(self) -> None: ...

    def growth_kib(self) -> int:
        """Since :meth:`begin`."""


class OwnMemory:
    """The memory of the process that asks."""

    def __init__(self) -> None:
        self._before = 0

    def begin(self) -> None:
        forget_peak()
        self._before = resident_kib()

    def growth_kib(self) -> int:
        return peak_resident_kib() - self._before
