"""Whole jobs under all faults; and a harness that finds what is wrong, when something is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from tests.chaos.jobs.fleet import VISIBILITY_SECONDS
from tests.chaos.jobs.misfortunes import every_receive_twice
from tests.chaos.jobs.run import POISON, Plan, Scene, dies_of, run
from tests.chaos.jobs.soak import soak
from tests.chaos.jobs.verdict import Expected
from tests.chaos.jobs.workload import make_poison, make_slow_task

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.jobs.ground import Ground
    from tests.chaos.jobs.report import Report

pytestmark = [pytest.mark.root, pytest.mark.slow]

SEED = 20261122


POOLED_SOCKETS = 16
"""So many more may be kept for further requests: pools fill up to their bounds as the chance wants it."""

EXPECTED_FAULTS = {
    "API server away for 30 s",
    "S3 answers 503 SlowDown",
    "S3 is slow",
    "S3: a PUT is done and its answer lost",
    "all streams cut",
    "an image that cannot be pulled",
    "a trial that kills its workers",
    "clock stepped",
    "disk full",
    "pod deleted",
    "pod out of memory",
    "pods stuck Pending",
    "scaled to 0",
    "worker frozen for 25 s",
    "worker killed",
    "worker told to end",
}
"""What a schedule of this length brings; more of them do or do not happen, as the dice fall."""


def finish(report: Report, path: Path) -> None:
    """Keep the figures, and fail if anything was found."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    assert report.findings == []


@pytest.mark.timeout(2400)
def test_jobs_survive_everything(embedded: Ground, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Every kind of fault, one worker frozen for five minutes: each trial ends once and rightly, nothing is left."""
    plan = Plan(seed=SEED, seconds=120, long_freeze_seconds=300)
    report = asyncio.run(run(embedded, plan, tmp_path / "run", cluster="embedded"))
    finish(report, pytestconfig.rootpath / "build" / "chaos.json")
    assert EXPECTED_FAULTS - report.faults.keys() == set()


@pytest.mark.kubernetes
@pytest.mark.timeout(2400)
def test_jobs_survive_everything_on_a_real_cluster(real: Ground, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The same where pods are containers, one or two at a time: most wait for room."""
    plan = Plan(seed=SEED, seconds=60, repeats=3, long_freeze_seconds=60, receives=5, slots=2)
    report = asyncio.run(run(real, plan, tmp_path / "run", cluster="real"))
    finish(report, pytestconfig.rootpath / "build" / "chaos-real.json")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("without", "words"),
    [
        (None, None),
        ("lease", "was taken from"),
        ("commit", "was committed 2 times"),
        ("reaper", "pod poison"),
    ],
)
def test_the_harness_notices_what_is_missing(
    embedded: Ground, tmp_path: Path, without: str | None, words: str | None
) -> None:
    """Trials that outlast their messages' time, each message given to two workers, and one that kills its worker: a
    stack without its lease, without its conditional commit or without its reaper is found out, and a whole one is not.
    """

    async def rehearse() -> Report:
        async with Scene.set(embedded, tmp_path / "run", without=without, receives=2) as scene:
            if without != "lease":
                scene.aws.weather = every_receive_twice
            scene.fleet.scale(3)
            replayed = 0
            if without != "reaper":
                slow = make_slow_task(tmp_path / "slow", seconds=VISIBILITY_SECONDS + 10)
                await scene.enqueue(slow, "slow", expected=lambda _: Expected(reward=1.0), repeats=4)
                replayed += await scene.settle(60)
            if without in (None, "reaper"):
                poison = make_poison(tmp_path / "poison")
                await scene.enqueue(poison, "poison", expected=dies_of("WorkerDied"), agent=POISON)
                replayed += await scene.settle(90)
            ends = await scene.ends()
            return scene.report(ends, seed=0, cluster="embedded", seconds=0, replayed=replayed)

    report = asyncio.run(rehearse())
    assert report.is_clean if words is None else any(words in each for each in report.findings), report.findings


@pytest.mark.timeout(300)
def test_nothing_grows(embedded: Ground, tmp_path: Path) -> None:
    """After twice as many trials a worker at rest has no more descriptors, sockets, threads or files than before."""
    first, second = asyncio.run(soak(embedded, tmp_path / "run", trials=80, every=40))
    assert second.descriptors - second.sockets <= first.descriptors - first.sockets + 3
    assert second.sockets <= first.sockets + POOLED_SOCKETS
    assert second.threads <= first.threads + 3
    assert second.files == first.files
