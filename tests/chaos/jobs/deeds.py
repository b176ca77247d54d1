"""What is done to a stack while jobs run on it, and in which order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.jobs.events import Kind
from tests.chaos.jobs.fleet import VISIBILITY_SECONDS
from tests.chaos.jobs.misfortunes import Storm, calm
from tests.chaos.schedule import Weather
from tests.chaos.schedule import calm as calm_connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from tests.chaos.jobs.aws_proxy import AwsProxy
    from tests.chaos.jobs.fleet import Fleet, Place
    from tests.chaos.jobs.history import History
    from tests.chaos.jobs.pods import Pods
    from tests.chaos.proxy import ChaosProxy

    Deed = Callable[["Field"], Awaitable[None]]

WORKERS = 3
MOST_WORKERS = 5
STORM_SECONDS = 15.0
STORM_SHARE = 0.25


@dataclass
class Field:
    """All that can be harmed."""

    fleet: Fleet
    pods: Pods
    aws: AwsProxy
    kubernetes: ChaosProxy
    history: History
    draw: random.Random
    launcher: Callable[[], int | None]
    """Pid of the process that starts pods, where it is one of this machine."""
    away_seconds: float = 30.0
    lasting: set[asyncio.Task[None]] = field(default_factory=set)

    def last(self, work: Coroutine[None, None, None]) -> None:
        """Let something go on beside what follows."""
        task = asyncio.create_task(work)
        self.lasting.add(task)
        task.add_done_callback(self.lasting.discard)

    async def anyone(self) -> Place:
        """A worker, once one runs that is not frozen."""
        while (place := self.fleet.choose(self.draw)) is None:
            await asyncio.sleep(0.1)
        return place

    async def worker_in(self, phase: str, *, patience_seconds: float = 10.0) -> Place:
        """A worker one of whose trials has just come into a phase; any one if none does for a while."""
        seen = len(self.history.events)
        deadline = asyncio.get_running_loop().time() + patience_seconds
        while asyncio.get_running_loop().time() < deadline:
            for event in self.history.events[seen:]:
                if event.kind is Kind.PHASE and event.note == phase and (place := self.fleet.named(event.actor)):
                    return place
            seen = len(self.history.events)
            await asyncio.sleep(0.02)
        return await self.anyone()


async def _kill(on: Field, phase: str) -> None:
    on.fleet.kill(await on.worker_in(phase))


async def _freeze(on: Field, phase: str) -> None:
    on.fleet.freeze(await on.worker_in(phase), VISIBILITY_SECONDS + 10)


async def _freeze_briefly(on: Field) -> None:
    on.fleet.freeze(await on.anyone(), VISIBILITY_SECONDS / 2)


async def _terminate(on: Field) -> None:
    on.fleet.terminate(await on.worker_in("agent"))


async def _api_away(on: Field) -> None:
    on.history.fault(f"API server away for {on.away_seconds:.0f} s")
    async with on.kubernetes.away():
        await asyncio.sleep(on.away_seconds)


async def _cut_streams(on: Field) -> None:
    on.history.fault("all streams cut")
    on.kubernetes.cut_all(reset=on.draw.random() < 0.5)


async def _bad_connections(on: Field) -> None:
    on.history.fault("bad connections to the API server")
    on.kubernetes.schedule = Weather(on.draw.randrange(2**32), half_open_share=0.005)
    on.last(_after(STORM_SECONDS, lambda: setattr(on.kubernetes, "schedule", calm_connections)))


async def _storm(on: Field, *services: str) -> None:
    on.aws.weather = Storm(on.draw.randrange(2**32), services=frozenset(services), share=STORM_SHARE)
    on.last(_after(STORM_SECONDS, lambda: setattr(on.aws, "weather", calm)))


async def _after(seconds: float, work: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    work()


async def _delete_pods(on: Field) -> None:
    await on.pods.delete(on.draw, count=3)


async def _exhaust_pod(on: Field) -> None:
    await on.pods.exhaust(on.draw)


async def _stall_kubelet(on: Field) -> None:
    """New pods stay Pending, and commands are not started."""
    if (launcher := on.launcher()) is not None:
        on.history.fault("pods stuck Pending")
        os.kill(launcher, signal.SIGSTOP)
        try:
            await asyncio.sleep(VISIBILITY_SECONDS)
        finally:
            os.kill(launcher, signal.SIGCONT)


async def _fill_disk(on: Field) -> None:
    on.last(on.fleet.fill_disk(await on.anyone(), 8))


async def _step_clocks(on: Field) -> None:
    for place, seconds in zip(on.fleet.places, (3600, -3600, 7200), strict=False):
        on.fleet.step_clock(place, seconds)


async def _scale(on: Field) -> None:
    for count, seconds in ((0, 8), (MOST_WORKERS, 12), (WORKERS, 0)):
        on.history.fault(f"scaled to {count}")
        on.fleet.scale(count)
        await asyncio.sleep(seconds)


DEEDS: dict[str, Deed] = {
    "kill while starting": lambda on: _kill(on, "starting"),
    "kill while the agent runs": lambda on: _kill(on, "agent"),
    "kill while verifying": lambda on: _kill(on, "verifier"),
    "kill while committing": lambda on: _kill(on, "collecting"),
    "freeze while starting": lambda on: _freeze(on, "starting"),
    "freeze while the agent runs": lambda on: _freeze(on, "agent"),
    "freeze while verifying": lambda on: _freeze(on, "verifier"),
    "freeze while committing": lambda on: _freeze(on, "collecting"),
    "freeze briefly": _freeze_briefly,
    "tell to end": _terminate,
    "API server away": _api_away,
    "cut all streams": _cut_streams,
    "bad connections": _bad_connections,
    "S3 fails": lambda on: _storm(on, "s3"),
    "SQS fails": lambda on: _storm(on, "sqs"),
    "SQS and S3 fail": lambda on: _storm(on, "s3", "sqs"),
    "delete pods": _delete_pods,
    "exhaust a pod": _exhaust_pod,
    "stall the kubelet": _stall_kubelet,
    "fill a disk": _fill_disk,
    "step clocks": _step_clocks,
    "scale from 3 to 0 to 5": _scale,
}


async def do_all(on: Field, *, seed: int, seconds: float) -> None:
    """Every deed once, in an order by the seed, and then again until so many seconds are over."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret; the field's are drawn from as it happens
    until = asyncio.get_running_loop().time() + seconds
    while True:
        for name in dice.sample(sorted(DEEDS), len(DEEDS)):
            await DEEDS[name](on)
            await asyncio.sleep(dice.uniform(1, 4))
        if asyncio.get_running_loop().time() >= until:
            break
    while on.lasting:
        await asyncio.gather(*on.lasting)
