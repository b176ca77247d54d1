"""One fault at an exact place of a command's life."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from tests.chaos.direct import output_of, until_gone
from tests.chaos.faults import Answer, Cut, Direction, ExpireToken, HalfOpen, Idle, Part, Place, Words
from tests.chaos.outcome import run_counts
from tests.chaos.schedule import Listed
from tests.chaos.workload import LEDGER, PREPARATION

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.worker.exec.command import CommandResult, run_command
from harbor_aws.worker.exec.command_script import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.conftest import Record
    from tests.chaos.faults import Fault, Where
    from tests.chaos.proxy import ChaosProxy

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.pod import Pod
    from harbor_aws.worker.pods import PodKeeper

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

IMAGES = ["debian", "busybox"]
NUMBER = 4711
MIB = 1024 * 1024

HALF_OPEN_SECONDS = 60.0
"""To find out that a connection is half-open; meant to be about 25."""

LONGEST_SECONDS = 60.0
"""For one short command that is cut a few times."""

CUT = "/chaos/cut"
"""A file that is there once all is cut that was to be."""

OUTPUT_LINES = 100_000
OUTPUT = "".join(f"{line}\n" for line in range(1, OUTPUT_LINES + 1))


def large(number: int = NUMBER) -> Command:
    """A mebibyte of stdin, and more than half a mebibyte of output."""
    return Command(f"echo {number} >>{LEDGER}; : {'x' * MIB}; seq 1 {OUTPUT_LINES}; printf err >&2; exit 7", {})


CUTS = {
    "before the request": Place(Direction.UP, Part.HEAD, 0),
    "within the request": Place(Direction.UP, Part.HEAD, 100),
    "before the answer": Place(Direction.DOWN, Part.HEAD, 0),
    "within the answer": Place(Direction.DOWN, Part.HEAD, 60),
    "before stdin": Place(Direction.UP, Part.BODY, 0),
    "within stdin": Place(Direction.UP, Part.BODY, MIB // 2),
    "before the first output": Place(Direction.DOWN, Part.BODY, 0),
    "within the first output": Place(Direction.DOWN, Part.BODY, 30),
    "within the output": Place(Direction.DOWN, Part.BODY, 300_000),
}


@pytest.fixture(params=IMAGES)
def pod(request: pytest.FixtureRequest, debian: Pod, busybox: Pod) -> Pod:
    return debian if request.param == "debian" else busybox


async def new_ledger(direct: Cluster, pod: Pod) -> None:
    await output_of(direct, pod.name, "sh", "-c", f"rm -rf /chaos; {PREPARATION}")


async def assert_ran_once(direct: Cluster, pod: Pod, *numbers: int) -> None:
    """Also a while later: what a client has left behind may still start something."""
    for pause in (0, 1.5):
        await asyncio.sleep(pause)
        assert run_counts(await output_of(direct, pod.name, "cat", LEDGER), numbers or (NUMBER,)) == []


@pytest.mark.parametrize("place", CUTS)
async def test_a_cut(cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy, place: str) -> None:
    """Wherever the connection is cut or reset, the command runs once, and its output and exit code are whole."""
    await new_ledger(direct, pod)
    for number, reset in enumerate((False, True)):
        fault = Cut(CUTS[place], reset=reset)
        proxy.schedule = Listed([fault])
        result = await run_command(cluster, pod.name, large(number), timeout_seconds=60)
        assert proxy.counts[str(fault)] == 1
        assert result == CommandResult(exit_code=7, stdout=OUTPUT, stderr="err")
    await assert_ran_once(direct, pod, 0, 1)


async def test_a_cut_after_the_exit_and_before_the_status(
    cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy
) -> None:
    """The exit code of a command that ended while nobody could hear it is its own."""
    await new_ledger(direct, pod)
    proxy.schedule = Listed([HalfOpen(Words(b"last words"))])
    text = f"echo {NUMBER} >>{LEDGER}; printf 'last words'; sleep 0.6117; exit 7"
    running = asyncio.create_task(run_command(cluster, pod.name, Command(text, {}), timeout_seconds=60))
    await asyncio.sleep(0.3)
    await until_gone(direct, pod.name, "0.6117")
    await asyncio.sleep(0.5)
    assert proxy.counts == {"half-open behind certain words of the output": 1}
    proxy.cut_all()
    assert await running == CommandResult(exit_code=7, stdout="last words", stderr="")
    await assert_ran_once(direct, pod)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_cut_at_every_byte_of_what_a_command_says(
    cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy, *, is_real: bool
) -> None:
    """A short command's stream is cut behind each byte that comes, from its start to its status."""
    await new_ledger(direct, pod)
    offsets = range(0, 260, 13 if is_real else 1)
    proxy.schedule = Listed(Cut(Place(Direction.DOWN, Part.BODY, offset)) for offset in offsets)
    await assert_all_whole(cluster, pod, direct, count=len(offsets))
    assert proxy.counts["cut within the output"] >= len(offsets) / 2, "the schedule was not used up"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_cut_at_many_bytes_of_what_a_command_is_told(
    cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy, *, is_real: bool
) -> None:
    """A short command's stream is cut within all that is sent to start it, and behind each of the last bytes of it."""
    await new_ledger(direct, pod)
    before = proxy.passed[Direction.UP, Part.BODY]
    await run_command(cluster, pod.name, numbered(0))
    total = proxy.passed[Direction.UP, Part.BODY] - before
    await new_ledger(direct, pod)
    offsets = [*range(0, total - 40, total // (5 if is_real else 60)), *range(total - 40, total, 4 if is_real else 1)]
    proxy.schedule = Listed(Cut(Place(Direction.UP, Part.BODY, offset)) for offset in offsets)
    await assert_all_whole(cluster, pod, direct, count=len(offsets))
    assert proxy.counts["cut within stdin"] >= len(offsets) / 2, "the schedule was not used up"


def numbered(number: int) -> Command:
    """As long as any other one of them."""
    mark = f"{number:04}"
    return Command(f"echo {mark} >>{LEDGER}; printf 'out {mark}'; printf 'err {mark}' >&2; exit {number % 256:03}", {})


async def assert_all_whole(cluster: Cluster, pod: Pod, direct: Cluster, *, count: int) -> None:
    places = asyncio.Semaphore(8)

    async def run(number: int) -> CommandResult | str:
        async with places:
            try:
                async with asyncio.timeout(LONGEST_SECONDS):
                    return await run_command(cluster, pod.name, numbered(number), timeout_seconds=120)
            except (HarborAwsError, TimeoutError) as error:
                return f"{number}: {error!r}"

    results = await asyncio.gather(*(run(number) for number in range(count)))
    right = [CommandResult(number % 256, f"out {number:04}", f"err {number:04}") for number in range(count)]
    assert [pair for pair in zip(results, right, strict=True) if pair[0] != pair[1]] == []
    await assert_ran_once(direct, pod, *range(count))


async def test_all_streams_at_once(
    cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy, record: Record, *, is_real: bool
) -> None:
    """An API server that is replaced cuts every stream: all of thirty commands go on, three times."""
    await new_ledger(direct, pod)
    count = 10 if is_real else 30

    def command(number: int) -> Command:
        loop = f'i=0; while [ $i -lt 20 ]; do echo "{number}: $i"; i=$((i + 1)); sleep 0.2; done'
        last = f"until [ -e {CUT} ]; do sleep 0.1; done; echo last"
        return Command(f"echo {number} >>{LEDGER}; {loop}; {last}; exit {number}", {})

    running = [
        asyncio.create_task(run_command(cluster, pod.name, command(number), timeout_seconds=100))
        for number in range(count)
    ]
    cut = 0
    for pause, reset in ((1, True), (0.7, False), (1.5, True)):
        await asyncio.sleep(pause)
        while proxy.standing < count and not any(task.done() for task in running):
            await asyncio.sleep(0.05)
        cut += proxy.cut_all(reset=reset)
    await output_of(direct, pod.name, "touch", CUT)
    results = await asyncio.gather(*running)
    record({"commands": count, "streams cut at once": cut})
    right = [CommandResult(n, "".join(f"{n}: {i}\n" for i in range(20)) + "last\n", "") for n in range(count)]
    assert results == right
    assert cut >= 3 * count
    await assert_ran_once(direct, pod, *range(count))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_server_that_is_away_for_a_minute(
    keeper: PodKeeper, debian: Pod, busybox: Pod, direct: Cluster, proxy: ChaosProxy
) -> None:
    """Commands that run go on and are found again, one that ended meanwhile too; one that was to start does start."""
    for pod in (debian, busybox):
        await new_ledger(direct, pod)

    async def run(pod: Pod, number: int, seconds: int) -> CommandResult:
        loop = f'i=0; while [ $i -lt {seconds} ]; do echo "$i"; i=$((i + 1)); sleep 1; done'
        command = Command(f"echo {number} >>{LEDGER}; {loop}; exit {number}", {})
        told: list[float] = []
        running = run_command(keeper.cluster, pod.name, command, timeout_seconds=200, on_outage=told.append)
        result = await keeper.while_running(pod, running)
        outages.append(sum(told))
        return result

    outages: list[float] = []
    jobs = [(pod, number, seconds) for pod in (debian, busybox) for number, seconds in ((1, 10), (2, 70), (3, 3))]
    running = [asyncio.create_task(run(*job)) for job in jobs if job[1] != 3]
    await asyncio.sleep(3)
    async with proxy.away():
        await asyncio.sleep(1)
        running += [asyncio.create_task(run(*job)) for job in jobs if job[1] == 3]
        await asyncio.sleep(59)
    results = await asyncio.gather(*running)
    jobs.sort(key=lambda job: job[1] == 3)
    right = [CommandResult(number, "".join(f"{i}\n" for i in range(seconds)), "") for _, number, seconds in jobs]
    assert results == right
    assert len(outages) == len(jobs)
    assert min(outages) > 50
    for pod in (debian, busybox):
        await assert_ran_once(direct, pod, 1, 2, 3)


ANSWERS: dict[str, list[Fault]] = {
    "401, the token being over": [ExpireToken()],
    "401, the token being good": [Answer(401)],
    "500": [Answer(500)],
    "503": [Answer(503)],
    "one after the other": [Answer(503), ExpireToken(), Answer(500), Answer(401), Answer(504)],
}


@pytest.mark.parametrize("answers", ANSWERS)
async def test_an_error_for_an_answer(
    cluster: Cluster, pod: Pod, direct: Cluster, proxy: ChaosProxy, answers: str
) -> None:
    """Errors of the server do not fail a command, neither when it is to start nor when it is to be found again."""
    await new_ledger(direct, pod)
    faults: list[Fault] = [*ANSWERS[answers], Cut(Place(Direction.DOWN, Part.BODY, 1000)), *ANSWERS[answers]]
    proxy.schedule = Listed(faults)
    result = await run_command(cluster, pod.name, large(), timeout_seconds=60)
    assert sum(proxy.counts.values()) == len(faults), proxy.counts
    assert result == CommandResult(exit_code=7, stdout=OUTPUT, stderr="err")
    await assert_ran_once(direct, pod)


def silent(number: int) -> Command:
    return Command(f"echo {number} >>{LEDGER}; printf silence; sleep 4; printf err >&2; exit 7", {})


HALF_OPENS: dict[str, tuple[Where, Callable[[int], Command], str]] = {
    "within the request": (Place(Direction.UP, Part.HEAD, 100), large, OUTPUT),
    "within stdin": (Place(Direction.UP, Part.BODY, MIB // 2), large, OUTPUT),
    "within the output": (Place(Direction.DOWN, Part.BODY, 300_000), large, OUTPUT),
    "while nothing is printed": (Words(b"silence"), silent, "silence"),
}


@pytest.mark.slow
async def test_half_open_connections(
    cluster: Cluster, debian: Pod, busybox: Pod, direct: Cluster, proxy: ChaosProxy, record: Record
) -> None:
    """A connection that says nothing more is given up for another one, long before the command's time is over."""
    clock = asyncio.get_running_loop().time
    seconds: dict[str, float] = {}

    async def run(pod: Pod, image: str, number: int, place: str) -> CommandResult:
        began = clock()
        _, command, _ = HALF_OPENS[place]
        result = await run_command(cluster, pod.name, command(number), timeout_seconds=110)
        seconds[f"s {place}, {image}"] = round(clock() - began, 1)
        return result

    running = []
    for image, pod in (("debian", debian), ("busybox", busybox)):
        await new_ledger(direct, pod)
        for number, (place, (where, _, _)) in enumerate(HALF_OPENS.items()):
            accepted = proxy.accepted
            proxy.schedule = Listed([HalfOpen(where)])
            running.append(asyncio.create_task(run(pod, image, number, place)))
            while proxy.accepted == accepted:
                await asyncio.sleep(0.01)
    results = await asyncio.gather(*running)
    record({"noticed after": seconds})
    assert sum(proxy.counts.values()) == len(running)
    assert results == 2 * [CommandResult(7, stdout, "err") for _, _, stdout in HALF_OPENS.values()]
    assert max(seconds.values()) < HALF_OPEN_SECONDS
    for pod in (debian, busybox):
        await assert_ran_once(direct, pod, *range(len(HALF_OPENS)))


@pytest.mark.timeout(1000)
async def test_a_proxy_that_drops_what_is_idle(proxy: ChaosProxy, cluster: Cluster, debian: Pod) -> None:
    """A command that prints nothing for long keeps its one connection through a proxy that drops idle ones."""
    idle_seconds = float(os.environ.get("HARBOR_AWS_TEST_IDLE_SECONDS", "20"))
    proxy.schedule = lambda: Idle(idle_seconds)
    silent_seconds = 3 * idle_seconds if idle_seconds < 60 else 10 * idle_seconds
    result = await run_command(cluster, debian.name, Command(f"sleep {silent_seconds}; echo done", {}))
    assert result == CommandResult(exit_code=0, stdout="done\n", stderr="")
    assert cluster.requests["EXEC"] == 1
