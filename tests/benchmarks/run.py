"""All measurements of one cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tests.benchmarks.measure_exec import measure_held, measure_latency, measure_throughput
from tests.benchmarks.measure_transfer import measure_transfers
from tests.benchmarks.results import held_results, latency_results, throughput_results, transfer_results
from tests.benchmarks.surroundings import surroundings
from tests.benchmarks.target import running_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.benchmarks.results import Results
    from tests.benchmarks.sizes import Sizes
    from tests.benchmarks.target import Target


class Part(StrEnum):
    """What can be measured by itself."""

    EXEC = "exec"
    MEMORY = "memory"
    TRANSFER = "transfer"


async def measure(kubeconfig: Path, sizes: Sizes, parts: Sequence[Part], report: Callable[[str], None]) -> Results:
    """The results of these parts, each with a pod of its own.

    Args:
        report: is told what was just measured.
    """
    results: Results = {}
    for part in parts:
        async with running_target(kubeconfig) as target:
            results |= await surroundings(target)
            results |= await _part(part, target, sizes, report)
    return results


async def _part(part: Part, target: Target, sizes: Sizes, report: Callable[[str], None]) -> Results:
    match part:
        case Part.EXEC:
            alone = latency_results(await measure_latency(target, sizes))
            report(f"exec p50: {alone['exec_p50_vs_aiohttp']:.2f} of the floor's")
            return alone | throughput_results(await measure_throughput(target, sizes, report))
        case Part.MEMORY:
            return held_results(await measure_held(target, sizes, report), asked=sizes.held)
        case Part.TRANSFER:
            return transfer_results(await measure_transfers(target, sizes, report), sizes)
