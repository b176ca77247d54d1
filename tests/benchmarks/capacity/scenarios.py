"""The runs that are shown: how many trials, of what kind, over which quotas."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from harbor_aws.infra.capacity import Limits, Run, TrialDemand, simulate
from harbor_aws.infra.capacity.relief import without
from harbor_aws.infra.deploy.prices import DEFAULT_TRIAL, HOURS_PER_MONTH, WORKER, idle_costs, total
from harbor_aws.infra.fargate_prices import pod_usd_per_hour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.capacity import Limit

TRIALS = (100, 1_000, 10_000, 50_000)

NEW_ACCOUNT = 6

VCPUS = (NEW_ACCOUNT, 256, 1_000, 4_000, 10_000)

MEDIAN_SECONDS, SPREAD, LONGEST_SECONDS = 600.0, 0.6, 3600.0
"""A trial's time in its pod: log-normal, so that nine of ten take between 4 and 27 minutes."""

IMAGE_MIB = 500.0

SEED = 6


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run, and what it would be without what holds it up the most."""

    vcpus: int
    run: Run
    usd: float
    without_binding: Run | None
    """``None`` if nothing binds."""


def demand(trials: int) -> list[TrialDemand]:
    """Trials of the default size."""
    draw = Random(SEED)  # noqa: S311 - no secret
    return [
        TrialDemand(
            cpu_millis=DEFAULT_TRIAL.cpu_millis,
            seconds=min(LONGEST_SECONDS, MEDIAN_SECONDS * draw.lognormvariate(0, SPREAD)),
            image_mib=IMAGE_MIB,
        )
        for _ in range(trials)
    ]


def limits(vcpus: int) -> Limits:
    """A stack that ``deploy`` made with a ``--max-vcpus`` above its account's quota, so that this one bounds it."""
    return Limits(account_vcpus=float(vcpus), max_vcpus=100_000.0)


def scenario(trials: int, vcpus: int) -> Scenario:
    """Simulate it."""
    wanted, bounds = demand(trials), limits(vcpus)
    run = simulate(wanted, bounds, seed=SEED)
    lifted = run.binding and simulate(wanted, without(bounds, run.binding, trials=trials), seed=SEED)
    return Scenario(vcpus=vcpus, run=run, usd=usd(run), without_binding=lifted or None)


def usd(run: Run) -> float:
    """What it costs: pods, workers, and the stack while it lasts."""
    hour = 3600
    return (
        run.billed_pod_seconds / hour * pod_usd_per_hour(DEFAULT_TRIAL)
        + run.worker_seconds / hour * pod_usd_per_hour(WORKER)
        + run.wall_clock_seconds / hour * total(idle_costs()) / HOURS_PER_MONTH
    )


def as_json(found: Scenario) -> dict[str, object]:
    """Without the timeline."""
    run = found.run
    shares: Mapping[Limit, float] = {limit: run.share(limit) for limit in run.waits}
    return {
        "trials": run.trials,
        "vcpus": found.vcpus,
        "wall_clock_seconds": round(run.wall_clock_seconds, 1),
        "binding": run.binding and run.binding.value,
        "shares": {limit.value: round(share, 4) for limit, share in shares.items()},
        "peak_pods": run.peak_pods,
        "peak_vcpus": run.peak_vcpus,
        "longest_pending_seconds": round(run.longest_pending_seconds, 1),
        "worker_hours": round(run.worker_seconds / 3600, 1),
        "usd": round(found.usd, 2),
        "wall_clock_seconds_without_binding": found.without_binding
        and round(found.without_binding.wall_clock_seconds, 1),
    }
