"""Commands: how long ``true`` takes alone, how many a second, and what an open one costs."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.benchmarks.exec_peers.choice import HELD_PEERS, LATENCY_PEERS, THROUGHPUT_PEERS
from tests.benchmarks.process import PeerGaveUpError, PeerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.benchmarks.sizes import Sizes
    from tests.benchmarks.target import Target

_PAUSE_SECONDS = 0.002
"""Between two peers. A virtual machine's processors fall asleep in a longer one, and then their waking is most of what
is measured."""

_WARM_UP_COMMANDS = 3


@dataclass(slots=True)
class Latency:
    """A peer's commands, one after another."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    requests: int | None = None


@dataclass(slots=True)
class Batches:
    """A peer's commands, so many at once."""

    commands: int = 0
    """Of each batch."""
    seconds: list[float] = field(default_factory=list)
    """Of each batch that ended."""
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """What open commands cost."""

    open: int
    kib_each: float
    threads: int
    errors: int


async def measure_latency(target: Target, sizes: Sizes) -> dict[str, Latency]:
    """A command of each peer, round by round, in an order drawn anew: what one leaves to do slows whoever is next."""
    order = random.Random(0)  # noqa: S311 - the same order in every run
    measured = {peer: Latency() for peer in LATENCY_PEERS}
    async with AsyncExitStack() as stack:
        processes = {peer: await stack.enter_async_context(exec_process(peer, target)) for peer in measured}
        for process in processes.values():
            await process.ask("one_by_one", seconds=sizes.peer_seconds, count=_WARM_UP_COMMANDS)
        for _ in range(sizes.latency_rounds):
            for peer in order.sample(LATENCY_PEERS, len(LATENCY_PEERS)):
                answer = await processes[peer].ask("one_by_one", seconds=sizes.peer_seconds, count=1)
                _add(measured[peer], answer)
                await asyncio.sleep(_PAUSE_SECONDS)
    return measured


async def measure_throughput(
    target: Target, sizes: Sizes, report: Callable[[str], None]
) -> Mapping[tuple[str, int], Batches]:
    """Batches by peer and by how many run at once. A peer that gives up is asked no more."""
    measured: dict[tuple[str, int], Batches] = {}
    async with AsyncExitStack() as stack:
        processes = {peer: await stack.enter_async_context(exec_process(peer, target)) for peer in THROUGHPUT_PEERS}
        for process in processes.values():
            await process.ask("one_by_one", seconds=sizes.peer_seconds, count=_WARM_UP_COMMANDS)
        for width in sizes.at_once:
            for _ in range(sizes.batch_rounds):
                for peer in [peer for peer in processes if peer != "kubectl" or width <= sizes.kubectl_at_once]:
                    batches = measured.setdefault((peer, width), Batches())
                    batches.commands = _batch_commands(peer, width, sizes)
                    try:
                        answer = await processes[peer].ask(
                            "at_once", seconds=sizes.peer_seconds, count=batches.commands, width=width
                        )
                    except PeerGaveUpError as error:
                        report(f"{peer}, {width} at once: {error}")
                        batches.errors += batches.commands
                        del processes[peer]
                        continue
                    batches.seconds.append(answer["seconds"])
                    batches.errors += answer["errors"]
                    report(
                        f"{peer}, {width} at once: {batches.commands / answer['seconds']:.0f} a second, "
                        f"{answer['errors']} errors"
                    )
    return measured


async def measure_held(target: Target, sizes: Sizes, report: Callable[[str], None]) -> dict[str, Held]:
    """Each peer in a new process, since memory that was used once is not given back."""
    measured = {}
    for peer in HELD_PEERS:
        async with exec_process(peer, target) as process:
            try:
                answer = await process.ask("hold", seconds=sizes.peer_seconds, count=sizes.held)
            except PeerGaveUpError as error:
                report(f"{peer}: {error}")
                continue
        measured[peer] = Held(**answer)
        report(f"{peer}: {measured[peer].open} open, {measured[peer].kib_each:.1f} KiB each")
    return measured


def exec_process(peer: str, target: Target) -> Any:
    """A process of a client of exec, for the length of an ``async with``."""
    return PeerProcess.start("exec_process", peer, str(target.kubeconfig), target.namespace, target.pod)


def _add(latency: Latency, answer: Mapping[str, Any]) -> None:
    latency.seconds += answer["seconds"]
    latency.errors += answer["errors"]
    if answer["requests"] is not None:
        latency.requests = (latency.requests or 0) + answer["requests"]


def _batch_commands(peer: str, width: int, sizes: Sizes) -> int:
    """A tenth for kubectl, which takes ten times as long."""
    usual = max(width, sizes.batch_commands)
    return usual if peer != "kubectl" else max(width, usual // 10)
