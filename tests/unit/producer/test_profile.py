"""What size a task needs, by what its earlier runs used."""

from __future__ import annotations

import pytest
from tests.unit.producer.estimate.estimate_fakes import run, usage

from harbor_aws.producer.profile import Asked, PodUse, TaskRun, profiles, wanted

BIG = Asked(cpus=4, memory_mb=12_000)
FILES = TaskRun("files", "nop")
IDLE = ((30.0, 1000.0),)
"""30 s of CPU time in 1000 s: on one CPU instead of four at most 22.5 s longer."""


def use(*, peak: int | None = None, cpu: tuple[tuple[float, float], ...] | None = None, **more: int) -> PodUse:
    """Every run used at least ``least``, by default little of a high peak."""
    least = more.pop("least", None if peak is None else min(peak, 100))
    return PodUse(runs=more.pop("runs", 3), peak_memory_mib=peak, least_memory_mib=least, cpu_seconds=cpu, **more)


def test_memory_is_the_highest_peak_and_a_quarter() -> None:
    """Rounded up to what the size leaves, which is paid for anyway."""
    found = wanted(BIG, use(peak=8000))
    assert found is not None
    better, why = found
    assert better.memory_mb == 11 * 1024 - 256  # 8000 × 1.25 = 10000, and 256 for Fargate: 11 GB
    assert better.cpus == 4
    assert "8000 MiB" in why


def test_more_than_asked_is_never_given_back_as_saved() -> None:
    """A size may leave more than the task asks for; the task still gets no more than that."""
    found = wanted(Asked(cpus=1, memory_mb=4000), use(peak=2800))
    assert found is not None
    assert found[0].memory_mb == 3840
    assert wanted(Asked(cpus=1, memory_mb=3800), use(peak=2500)) is None  # the same size all the same


def test_a_peak_near_the_limit_proves_nothing() -> None:
    """The page cache fills what is there: memory is not raised for it."""
    assert wanted(BIG, use(peak=11_900)) is None


def test_cpu_is_lowered_where_even_all_its_time_hardly_counts() -> None:
    """To the smallest that makes no run a twentieth longer."""
    found = wanted(BIG, use(cpu=IDLE, peak=1000))
    assert found is not None
    assert found[0] == Asked(cpus=1, memory_mb=2 * 1024 - 256)  # 1250, rounded up to a size of 1 vCPU
    busier = wanted(BIG, use(cpu=(*IDLE, (100.0, 1000.0)), peak=1000))
    assert busier is not None
    assert busier[0].cpus == 2  # 100/1 - 100/4 = 75 s are too much of 1000; 100/2 - 100/4 = 25 are not


@pytest.mark.parametrize("cpu", [((3900.0, 1000.0),), ((30.0, 1000.0), (20.0, 50.0))])
def test_a_run_that_needs_its_cpus_keeps_them(cpu: tuple[tuple[float, float], ...]) -> None:
    """One is enough: 20 s of CPU time on one instead of four would make 50 s much longer."""
    assert wanted(BIG, use(cpu=cpu)) is None


def test_fractions_where_harbor_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """To Harbor 0.24 one vCPU is the least; a newer one can be told a quarter."""
    idle = use(cpu=((1.0, 1000.0),), peak=100)
    small = Asked(cpus=1, memory_mb=1000)
    assert wanted(small, idle) is None
    monkeypatch.setattr("harbor_aws.producer.profile.CPUS", (0.25, 0.5, 1))
    found = wanted(small, idle)
    assert found is not None
    assert found[0] == Asked(cpus=0.25, memory_mb=512 - 256)


def test_two_runs_are_not_enough() -> None:
    """Nor are runs of which the kernel did not say."""
    assert wanted(BIG, use(peak=100, cpu=IDLE, runs=2)) is None
    assert wanted(BIG, use(peak=None, cpu=None, runs=100)) is None


def test_after_a_kill_there_is_twice_the_memory() -> None:
    """One is enough; a task that asks for more already is left alone; more than the largest is no proposal."""
    found = wanted(Asked(cpus=None, memory_mb=None), use(killed_at_mib=2816, runs=0))
    assert found is not None
    assert found[0].memory_mb == 6 * 1024 - 256
    assert "killed with 2816 MiB" in found[1]
    assert wanted(Asked(cpus=1, memory_mb=4096), use(killed_at_mib=2816, runs=0)) is None
    assert wanted(Asked(cpus=16, memory_mb=100_000), use(killed_at_mib=100_000, runs=0)) is None


def test_memory_is_raised_to_what_every_run_used() -> None:
    """As after a kill that is forgotten; to the peak, which the next runs do not exceed; if all did, and not some."""
    found = wanted(Asked(cpus=1, memory_mb=2000), use(peak=3500, least=3000))
    assert found is not None
    assert found[0].memory_mb == 4 * 1024 - 256
    assert "up to 3500 MiB" in found[1]
    again = wanted(Asked(cpus=1, memory_mb=2000), use(peak=4 * 1024 - 256, least=3000))
    assert again is not None
    assert again[0] == found[0]
    assert wanted(Asked(cpus=1, memory_mb=2000), use(peak=3500, least=1900)) is None


def test_a_profile_is_the_most_of_any_pod_of_any_run() -> None:
    """A verifier's too; runs of other files or agents are others'; one that says nothing makes it unknown."""
    runs = [
        run(1, pods=(usage(peak=100, cpu=1), usage(peak=900, cpu=5, seconds=50, role="verifier"))),
        run(2, pods=(usage(peak=200, cpu=2),)),
        run(3, bundle="others", pods=(usage(peak=5000),)),
        run(4, agent="oracle", pods=(usage(peak=None),)),
        run(5),
        run(6, is_whole=False, pods=(usage(peak=9000),)),
    ]
    found = profiles(runs, {TaskRun("killed", "nop"): 1024})
    assert found[FILES] == PodUse(
        runs=2, peak_memory_mib=900, least_memory_mib=200, cpu_seconds=((1, 1000), (5, 50), (2, 1000))
    )
    assert found[TaskRun("others", "nop")].peak_memory_mib == 5000
    assert found[TaskRun("files", "oracle")].peak_memory_mib is None
    assert found[TaskRun("killed", "nop")] == PodUse(runs=0, peak_memory_mib=None, cpu_seconds=(), killed_at_mib=1024)
