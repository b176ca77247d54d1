"""Whether a process may begin trials, and what it says of that."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.unit.worker.embedded_api import serve_api
from tests.unit.worker.fake_kubernetes import refusal

from harbor_aws.infra.fargate import DEFAULT_STORAGE_GIB
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack
from harbor_aws.worker.disk import GIB, least_free_bytes
from harbor_aws.worker.fitness import Fitness
from harbor_aws.worker.process import open_trial_runner
from harbor_aws.worker.settle import Ending

if TYPE_CHECKING:
    from pathlib import Path


class Usage(NamedTuple):
    """As :func:`shutil.disk_usage` has it."""

    total: int
    used: int
    free: int


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(vars(record)["action"]) for record in caplog.records]


def test_who_cannot_reach_its_cluster_takes_nothing_until_it_can(caplog: pytest.LogCaptureFixture) -> None:
    """It says so once, with the reason and what to do, and once more when that is over."""
    caplog.set_level("INFO")
    fitness = Fitness()
    assert fitness.is_fit()
    for number in range(3):
        fitness.note_cluster(f"try {number} failed.")
        assert not fitness.is_fit()
    fitness.note_cluster(None)
    assert fitness.is_fit()
    assert said(caplog) == ["stop_taking", "take_again"]
    assert "try 0 failed. Trials begin again with" in caplog.text
    assert "harbor-aws doctor" in caplog.text


def test_who_has_a_full_disk_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It looks each time, and says how much is missing where."""
    caplog.set_level("INFO")
    free = 2 * GIB
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(100 * GIB, 98 * GIB, free))
    fitness = Fitness(scratch=tmp_path)
    assert fitness.is_fit()
    free = GIB // 2
    assert not fitness.is_fit()
    free = GIB // 4
    assert not fitness.is_fit()
    free = GIB
    assert fitness.is_fit()
    assert said(caplog) == ["stop_taking", "take_again"]
    assert f"0.50 GiB are free at {tmp_path}, of which it needs 1.00. Make room there" in caplog.text


@pytest.mark.parametrize(
    ("total", "least"),
    [(1000 * GIB, GIB), (DEFAULT_STORAGE_GIB * GIB, GIB), (10 * GIB, GIB // 2), (GIB // 8, GIB // 160)],
)
def test_a_small_disk_needs_less(total: int, least: int) -> None:
    """A gibibyte on what Fargate gives a worker and on anything larger, and a twentieth below that."""
    assert least_free_bytes(total) == least


def test_who_has_lost_its_directory_takes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody removed it, or what it is mounted from is gone."""
    assert not Fitness(scratch=tmp_path / "gone").is_fit()
    assert "cannot be looked at" in caplog.text


def test_after_a_trial_that_raised_nothing_is_taken_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """For longer when the next one raises too, and until one returns; what a drain hands back says nothing."""
    caplog.set_level("INFO")
    clock = Clock()
    fitness = Fitness(clock=clock)
    fitness.note_ending(Ending.RAISED, received_at=clock.now)
    assert not fitness.is_fit()
    clock.now += 5
    assert fitness.is_fit()
    fitness.note_ending(Ending.RAISED, received_at=clock.now)
    clock.now += 5
    fitness.note_ending(Ending.HANDED_BACK, received_at=clock.now)
    fitness.note_ending(Ending.LOST, received_at=clock.now)
    assert not fitness.is_fit()
    fitness.note_ending(Ending.RETURNED, received_at=0)
    assert fitness.is_fit()
    assert said(caplog) == ["stop_taking", "take_again"] * 2


def test_another_reason_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A process that was unfit for one reason, and still is for another, says that too."""
    fitness = Fitness(clock=Clock())
    fitness.note_ending(Ending.RAISED, received_at=100)
    fitness.note_cluster("no route")
    assert not fitness.is_fit()
    fitness.note_cluster(None)
    assert not fitness.is_fit()
    assert said(caplog) == ["stop_taking", "stop_taking"]


async def test_a_workers_sign_of_life_decides(tmp_path: Path) -> None:
    """A worker whose cluster refuses its sign of life is not fit, and is again soon after that is over."""
    stack = Stack(name="s", region="us-east-1", queue_url="", dead_letter_queue_url="", bucket="b")
    fitness = Fitness()
    async with serve_api(tmp_path) as (access, faults), asyncio.timeout(30):
        stack = stack.model_copy(update={"trials": access, "endpoint_url": "http://127.0.0.1:1"})
        settings = Settings(lease_interval_seconds=0.02)
        async with open_trial_runner(stack, settings, directory=tmp_path, fitness=fitness):
            assert fitness.is_fit()
            faults.interfere = lambda request: refusal(403) if request.method == "PATCH" else None
            while fitness.is_fit():
                await asyncio.sleep(0.01)
            faults.interfere = lambda _request: None
            while not fitness.is_fit():
                await asyncio.sleep(0.01)
