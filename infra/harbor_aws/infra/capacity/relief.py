"""What each limit costs: how much sooner a run would end without it."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.capacity.limit import Limit
from harbor_aws.infra.capacity.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor_aws.infra.capacity.demand import TrialDemand
    from harbor_aws.infra.capacity.limits import Limits

_NO_QUOTA = 1e9
"""vCPUs; of ``math.inf`` no number of workers could be worked out."""

_LIFTED: Mapping[Limit, Mapping[str, Any]] = {
    Limit.BUILDS: {"builds_at_once": inf},
    Limit.IN_FLIGHT: {"messages_in_flight": inf},
    Limit.S3: {"s3_writes_per_second": inf},
    Limit.LAUNCH_RATE: {"launches_per_second": inf},
    Limit.API: {"api_seats": inf},
    Limit.ACCOUNT_VCPUS: {"account_vcpus": _NO_QUOTA},
    Limit.STACK_VCPUS: {"max_vcpus": _NO_QUOTA},
    Limit.NODES: {"cluster_nodes": inf},
    Limit.ADDRESSES: {"addresses": inf},
    Limit.ECR: {"ecr_layer_urls_per_second": inf},
    Limit.DOCKER_HUB: {"hub_pulls_in_six_hours": inf},
    Limit.NAT: {"nat_mib_per_second": inf},
}


def without(limits: Limits, limit: Limit, *, trials: int) -> Limits:
    """The same limits but one. Workers follow the vCPUs, as in a deployed stack, unless somebody said how many."""
    if limit is Limit.WORKERS:
        return replace(limits, min_workers=limits.workers)
    if limit is Limit.SLOTS:
        return replace(limits, max_workers=limits.workers, slots_per_worker=max(1, trials))
    return replace(limits, **_LIFTED[limit])


def relief(
    demand: Sequence[TrialDemand], limits: Limits, *, build_seconds: Sequence[float] = (), seed: int = 0
) -> dict[Limit, float]:
    """Seconds of wall clock that the run would take less without each limit alone.

    Where two bind alike, lifting either helps little.
    """
    whole = simulate(demand, limits, build_seconds=build_seconds, seed=seed).wall_clock_seconds
    return {
        limit: whole
        - simulate(
            demand, without(limits, limit, trials=len(demand)), build_seconds=build_seconds, seed=seed
        ).wall_clock_seconds
        for limit in Limit
    }
