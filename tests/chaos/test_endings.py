"""Time-outs and cancellations while the connection fails: the command has ended all the same."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from tests.chaos.direct import processes, until_gone
from tests.chaos.faults import Answer, Cut, Direction, HalfOpen, Later, Part, Place
from tests.chaos.schedule import Listed, Weather
from tests.chaos.storm import storm

from harbor_aws.infra.errors import ExecError
from harbor_aws.worker.exec import command as command_module
from harbor_aws.worker.exec.command import CommandResult, run_command
from harbor_aws.worker.exec.command_script import Command

if TYPE_CHECKING:
    from tests.chaos.conftest import Record
    from tests.chaos.faults import Fault
    from tests.chaos.proxy import ChaosProxy

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.pod import Pod

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

LIMIT_SECONDS = 3
GENEROUS_SECONDS = 60

LATER_SECONDS = 4.0
"""After what went wrong, to tell what ends late from what never ends."""

_marks = itertools.count(361_000_000)

FAULTS: dict[str, list[Fault]] = {
    "cut before the time": [Cut(Later(1))],
    "reset as the time ends": [Cut(Later(LIMIT_SECONDS), reset=True)],
    "again and again": [Cut(Later(0.7)), Answer(503), Cut(Later(0.7)), Answer(500), Cut(Later(0.7)), Cut(Later(0.7))],
    "its start unheard": [Cut(Place(Direction.DOWN, Part.BODY, 10))],
}


@pytest.fixture(params=["debian", "busybox"])
def pod(request: pytest.FixtureRequest, debian: Pod, busybox: Pod) -> Pod:
    return debian if request.param == "debian" else busybox


class Endless:
    """A command that runs for years unless it is ended, with a child that ignores TERM."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.mark = str(next(_marks))
        text = f"echo begun; (trap '' TERM; sleep {self.mark}) & sleep {self.mark}; echo unreachable"
        self.command = Command(text, {})

    async def remains(self, direct: Cluster) -> int:
        """How many processes there are of it."""
        return await processes(direct, self.pod.name, self.mark)


@pytest.mark.parametrize("faults", FAULTS)
async def test_a_timeout(cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy, faults: str) -> None:
    """A command that runs out of time while its stream is cut gives 124, what it printed, and leaves nothing."""
    proxy.schedule = Listed(FAULTS[faults])
    endless = Endless(pod)
    result = await run_command(cluster, pod.name, endless.command, timeout_seconds=LIMIT_SECONDS)
    assert result == CommandResult(exit_code=124, stdout="begun\n", stderr="")
    assert await endless.remains(direct) == 0


async def test_a_timeout_while_the_server_is_away(
    cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy
) -> None:
    """The command ends in its time though nobody can tell it to, and its 124 is fetched later."""
    endless = Endless(pod)
    running = asyncio.create_task(run_command(cluster, pod.name, endless.command, timeout_seconds=LIMIT_SECONDS))
    await asyncio.sleep(1)
    async with proxy.away():
        await asyncio.sleep(LIMIT_SECONDS + 5)
        async with asyncio.timeout(GENEROUS_SECONDS):
            await until_gone(direct, pod.name, endless.mark)
    assert await running == CommandResult(exit_code=124, stdout="begun\n", stderr="")


async def test_an_end_in_time_that_nobody_heard_of(
    cluster: Cluster, pod: Pod, proxy: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that ended by itself, and is fetched long after its time, has its own exit code."""
    monkeypatch.setattr(command_module, "OVERDUE_SECONDS", 1.0)
    command = Command("sleep 2; echo done; exit 7", {})
    running = asyncio.create_task(run_command(cluster, pod.name, command, timeout_seconds=LIMIT_SECONDS))
    await asyncio.sleep(1)
    async with proxy.away():
        await asyncio.sleep(LIMIT_SECONDS + 2)
    assert await running == CommandResult(exit_code=7, stdout="done\n", stderr="")


CANCELLED: dict[str, tuple[list[Fault], float]] = {
    "long after a cut": ([Cut(Later(0.5))], 2),
    "as it is cut": ([Cut(Later(1), reset=True)], 1),
    "its start unheard": ([Cut(Place(Direction.DOWN, Part.BODY, 10)), Answer(503), Answer(503)], 0.5),
    "the end refused at first": ([Cut(Later(20)), Answer(503), Cut(Place(Direction.DOWN, Part.HEAD, 0))], 1),
    "the end cut": ([Cut(Later(20)), Cut(Place(Direction.DOWN, Part.BODY, 0)), Cut(Later(0.3))], 1),
}


@pytest.mark.parametrize("when", CANCELLED)
async def test_a_cancellation(cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy, when: str) -> None:
    """When a cancelled command's caller goes on, the command has ended, whatever the connection did meanwhile."""
    faults, seconds = CANCELLED[when]
    proxy.schedule = Listed(faults)
    left: list[ExecError] = []
    endless = Endless(pod)
    running = asyncio.create_task(
        run_command(cluster, pod.name, endless.command, timeout_seconds=600, on_left_running=left.append)
    )
    await asyncio.sleep(seconds)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await endless.remains(direct) == 0
    assert left == []


@pytest.mark.slow
async def test_a_cancellation_on_a_half_open_connection(
    cluster: Cluster, debian: Pod, busybox: Pod, direct: Cluster, proxy: ChaosProxy
) -> None:
    """A stream that says nothing more does not keep a cancelled command alive, nor does one that was to end it."""
    silent, deaf = HalfOpen(Later(0.5)), HalfOpen(Place(Direction.DOWN, Part.HEAD, 0))
    proxy.schedule = Listed([silent, silent, deaf, deaf])
    endless = [Endless(debian), Endless(busybox)]
    running = [
        asyncio.create_task(run_command(cluster, one.pod.name, one.command, timeout_seconds=600)) for one in endless
    ]
    await asyncio.sleep(1.5)
    for task in running:
        task.cancel()
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.CancelledError]
    assert [await one.remains(direct) for one in endless] == [0, 0]
    assert sum(proxy.counts.values()) == 4


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_endings_in_bad_weather(
    cluster: Cluster,
    debian: Pod,
    busybox: Pod,
    direct: Cluster,
    proxy: ChaosProxy,
    record: Record,
    chaos_seed: int,
    *,
    is_real: bool,
) -> None:
    """Dozens of commands are ended by their time or by a cancellation, through all kinds of faults: none goes on."""
    count = 12 if is_real else 60
    endings = [Ending(cluster, (debian, busybox)[number % 2], number) for number in range(count)]
    places = asyncio.Semaphore(12)

    async def end(ending: Ending) -> str | None:
        async with places:
            return await ending.problem(direct)

    proxy.schedule = Weather(chaos_seed, half_open_share=0.01)
    async with storm(proxy, seed=chaos_seed, every_seconds=3):
        found = await asyncio.gather(*(end(ending) for ending in endings))
    problems = [problem for problem in found if problem]
    record({"seed": chaos_seed, "endings": count, "wrong": len(problems)})
    assert not problems, "\n".join([f"seed {chaos_seed}: {len(problems)} problems", *problems])


class Ending:
    """One command that is ended, every other pair of them by its time, the others by a cancellation."""

    def __init__(self, cluster: Cluster, pod: Pod, number: int) -> None:
        self._cluster = cluster
        self._pod = pod
        self._number = number
        self._endless = Endless(pod)

    async def problem(self, direct: Cluster) -> str | None:
        """What is wrong with how it ended."""
        by_time = self._number % 4 < 2
        found = await (self._by_time() if by_time else self._by_cancellation())
        remains = await self._endless.remains(direct)
        if not (found or remains):
            return None
        await asyncio.sleep(LATER_SECONDS)
        later = await self._endless.remains(direct)
        return f"{self._number} in {self._pod.name}, {by_time=}: {found}, {remains} processes left, {later} later"

    async def _by_time(self) -> str | None:
        seconds = 1 + self._number % 3
        try:
            result = await run_command(self._cluster, self._pod.name, self._endless.command, timeout_seconds=seconds)
        except ExecError as error:
            return repr(error)
        return None if result == CommandResult(exit_code=124, stdout="begun\n", stderr="") else str(result)

    async def _by_cancellation(self) -> str | None:
        left: list[ExecError] = []
        running = asyncio.create_task(
            run_command(self._cluster, self._pod.name, self._endless.command, on_left_running=left.append)
        )
        await asyncio.sleep(self._number % 12 * 0.25)
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            return repr(left) if left else None
        except ExecError as error:
            return repr(error)
        return "it was not cancelled"
