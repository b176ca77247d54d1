"""Worker processes that are kept as a Deployment keeps its pods, and what can be done to them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.chaos.jobs.events import FROZEN, Kind

from harbor_aws.infra.stack import stack_file

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tests.chaos.jobs.history import History

    from harbor_aws.infra.stack import Stack

ROOT = Path(__file__).parents[3]
STACK = "chaos"
MODULE = "tests.chaos.jobs.worker"
VISIBILITY_SECONDS = 15
LEASE_SECONDS = 4
PRESENCE_SECONDS = VISIBILITY_SECONDS + 5 * LEASE_SECONDS
SLOTS = 8
DISK_MIB = 128
RESTART_SECONDS = 1.0

SETTINGS = {
    "STACK": STACK,
    "VISIBILITY_TIMEOUT_SECONDS": VISIBILITY_SECONDS,
    "LEASE_INTERVAL_SECONDS": LEASE_SECONDS,
    "DRAIN_SECONDS": 5,
    "POD_START_TIMEOUT_SECONDS": 60,
}


@dataclass
class Place:
    """Where one worker lives, and the next one after it: its directory outlives a process as a pod's volume does."""

    name: str
    directory: Path
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    thaws: asyncio.Task[None] | None = None

    @property
    def disk(self) -> Path:
        return self.directory / "disk"

    @property
    def clock(self) -> Path:
        return self.directory / "clock"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def is_frozen(self) -> bool:
        return self.thaws is not None

    def left_on_disk(self) -> list[str]:
        return [f"{self.name}: {path.name}" for path in sorted(self.disk.iterdir())]


class Fleet:
    """Make it with :meth:`open`."""

    def __init__(self, places: Sequence[Place], history: History, *, slots: int, without: str | None) -> None:
        self.places = list(places)
        self._slots = slots
        self._history = history
        self._without = ["--without", without] if without else []
        self._keepers: list[asyncio.Task[None]] = []

    @classmethod
    @asynccontextmanager
    async def open(
        cls, stacks: Mapping[str, Stack], history: History, *, directory: Path, slots: int, without: str | None
    ) -> AsyncIterator[Self]:
        """Places for workers, for the length of an ``async with``; none has one yet.

        Args:
            stacks: what the worker of each place takes for its stack.
            slots: trials that a worker runs at once.
            without: what the workers do without; see :mod:`tests.chaos.jobs.worker`.
        """
        places = [_make_place(directory / name, stack) for name, stack in stacks.items()]
        fleet = cls(places, history, slots=slots, without=without)
        fleet._keepers = [asyncio.create_task(fleet._keep(place)) for place in places]
        try:
            yield fleet
        finally:
            for task in [*fleet._keepers, *(place.thaws for place in places if place.thaws)]:
                task.cancel()
            await asyncio.gather(*fleet._keepers, return_exceptions=True)
            for place in places:
                await _end(place)
                subprocess.run(["umount", "-l", place.disk], check=True)

    def scale(self, count: int) -> None:
        """Have so many workers, in the first places; the others are told to end."""
        for number, place in enumerate(self.places):
            if number < count:
                place.wanted.set()
            elif place.wanted.is_set():
                place.wanted.clear()
                self._tell_to_end(place)

    def running(self) -> list[Place]:
        """Places whose worker runs and is not frozen."""
        return [place for place in self.places if place.process is not None and not place.is_frozen]

    def named(self, name: str) -> Place | None:
        """The running place of that name."""
        return next((place for place in self.running() if place.name == name), None)

    def kill(self, place: Place) -> None:
        self._history.fault("worker killed", actor=place.name)
        self._signal(place, signal.SIGKILL)

    def terminate(self, place: Place) -> None:
        self._history.fault("worker told to end", actor=place.name)
        self._tell_to_end(place)

    def freeze(self, place: Place, seconds: float) -> None:
        """SIGSTOP now, SIGCONT later."""
        self._history.fault(f"{FROZEN} for {seconds:.0f} s", actor=place.name)
        self._signal(place, signal.SIGSTOP)
        place.thaws = asyncio.create_task(self._thaw(place, seconds))

    def step_clock(self, place: Place, seconds: int) -> None:
        """Move the calendar's clock of a place."""
        self._history.fault("clock stepped", actor=place.name)
        place.clock.write_text(str(seconds))

    async def fill_disk(self, place: Place, seconds: float) -> None:
        """Leave no room on a place's disk for a while."""
        self._history.fault("disk full", actor=place.name)
        filler = place.disk / "filler"
        with suppress(OSError):
            await asyncio.to_thread(filler.write_bytes, b"x" * DISK_MIB * 1024 * 1024)
        await asyncio.sleep(seconds)
        filler.unlink()

    async def until_thawed(self) -> None:
        await asyncio.gather(*(place.thaws for place in self.places if place.thaws))

    async def until_ended(self) -> None:
        """Wait for those who were told to end."""
        while any(place.process is not None and not place.wanted.is_set() for place in self.places):
            await asyncio.sleep(0.1)

    def choose(self, draw: random.Random) -> Place | None:
        running = self.running()
        return draw.choice(running) if running else None

    async def _thaw(self, place: Place, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._signal(place, signal.SIGCONT)
        self._history.add(Kind.THAWED, actor=place.name)
        place.thaws = None
        if not place.wanted.is_set():
            self._tell_to_end(place)

    async def _keep(self, place: Place) -> None:
        while True:
            await place.wanted.wait()
            command: list[str | Path] = [sys.executable, "-m", MODULE, "--clock", place.clock, *self._without]
            with place.log.open("ab") as log:
                place.process = await asyncio.create_subprocess_exec(
                    *command, env=_environment(place, slots=self._slots), cwd=ROOT, stdout=log, stderr=log
                )
            self._history.add(Kind.STARTED, actor=place.name)
            if not place.wanted.is_set():  # when it was told to end it could not be told yet
                self._tell_to_end(place)
            code = await place.process.wait()
            place.process = None
            self._history.add(Kind.ENDED, actor=place.name, note=str(code))
            await asyncio.sleep(RESTART_SECONDS)

    def _tell_to_end(self, place: Place) -> None:
        self._history.add(Kind.TOLD, actor=place.name)
        self._signal(place, signal.SIGTERM)

    def _signal(self, place: Place, number: signal.Signals) -> None:
        if place.process is not None:
            with suppress(ProcessLookupError):
                place.process.send_signal(number)


def _make_place(directory: Path, stack: Stack) -> Place:
    place = Place(directory.name, directory)
    place.disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", place.disk], check=True)
    place.clock.write_text("0")
    file = stack_file(STACK, directory=directory / "state" / "harbor-aws")
    file.parent.mkdir(parents=True)
    file.write_text(stack.model_dump_json())
    return place


def _environment(place: Place, *, slots: int) -> dict[str, str]:
    return {
        **os.environ,
        **{f"HARBOR_AWS_{name}": str(value) for name, value in SETTINGS.items()},
        "HARBOR_AWS_SLOTS": str(slots),
        "XDG_STATE_HOME": str(place.directory / "state"),
        "TMPDIR": str(place.disk),
    }


async def _end(place: Place) -> None:
    if place.process is not None:
        with suppress(ProcessLookupError):
            place.process.kill()
        await place.process.wait()
