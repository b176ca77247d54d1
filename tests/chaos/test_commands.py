"""Hundreds of commands of all kinds through a connection that fails in all kinds of ways."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.chaos.direct import output_of
from tests.chaos.outcome import problems_of, run_counts
from tests.chaos.schedule import Weather
from tests.chaos.storm import storm
from tests.chaos.workload import LEDGER, PREPARATION, workload

if TYPE_CHECKING:
    from tests.chaos.conftest import Record
    from tests.chaos.proxy import ChaosProxy
    from tests.chaos.workload import Expected

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.pod import Pod
    from harbor_aws.worker.pods import PodKeeper

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

AT_ONCE = 16
LARGEST_LINES = 120_000
"""Of 16 to 25 bytes each: three MiB."""

USERS = {"debian": (None, "nobody"), "busybox": (None, "user")}

STORM_SECONDS = 3.0
"""Between what happens to all streams at once, on the average."""

LONGEST_SECONDS = 110.0
"""For one command, which takes a few seconds, through several half-open connections in a row."""


@pytest.mark.timeout(600)
async def test_commands_survive_everything(
    keeper: PodKeeper,
    debian: Pod,
    busybox: Pod,
    direct: Cluster,
    proxy: ChaosProxy,
    record: Record,
    chaos_seed: int,
    is_real: bool,
) -> None:
    """Every exit code and every byte is right, and each command has run exactly once."""
    count = 50 if is_real else 500
    pods = {"debian": debian, "busybox": busybox}
    commands = {
        name: workload(f"{chaos_seed} {name}", count=count // 2, users=USERS[name], largest_lines=LARGEST_LINES)
        for name in pods
    }
    for pod in pods.values():
        await output_of(direct, pod.name, "sh", "-c", PREPARATION)
    places = asyncio.Semaphore(AT_ONCE)

    async def run(name: str, expected: Expected) -> list[str]:
        async with places:
            try:
                async with asyncio.timeout(LONGEST_SECONDS):
                    problems = await problems_of(keeper, pods[name], expected, timeout_seconds=2 * LONGEST_SECONDS)
            except TimeoutError:
                problems = [f"{expected} → not over after {LONGEST_SECONDS:.0f} s"]
            return [f"{name}: {problem}" for problem in problems]

    proxy.schedule = Weather(chaos_seed)
    async with storm(proxy, seed=chaos_seed, every_seconds=STORM_SECONDS):
        mixed = [(name, command) for both in zip(*_named(commands), strict=True) for name, command in both]
        outcomes = await asyncio.gather(*(run(name, command) for name, command in mixed))
    problems = [problem for outcome in outcomes for problem in outcome]
    for name, pod in pods.items():
        ledger = await output_of(direct, pod.name, "cat", LEDGER)
        numbers = [command.number for command in commands[name]]
        problems += [f"{name}: {problem}" for problem in run_counts(ledger, numbers)]
    record({"seed": chaos_seed, "commands": count, "wrong": len(problems)})
    assert not problems, "\n".join([f"seed {chaos_seed}: {len(problems)} problems", *problems[:100]])


def _named(commands: dict[str, list[Expected]]) -> list[list[tuple[str, Expected]]]:
    return [[(name, command) for command in listed] for name, listed in commands.items()]
