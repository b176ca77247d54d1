"""A stack without bounds, to put one bound at a time into."""

from __future__ import annotations

from math import inf

from harbor_aws.infra.capacity import Limits, TrialDemand

BOUNDLESS = Limits(
    account_vcpus=inf,
    max_vcpus=inf,
    min_workers=1,
    max_workers=1,
    slots_per_worker=100_000,
    messages_in_flight=inf,
    slot_overhead_seconds=0,
    launches_per_second=inf,
    api_seats=inf,
    s3_writes_per_second=inf,
    cluster_nodes=inf,
    addresses=inf,
    node_seconds_least=0,
    node_seconds_most=0,
    pull_mib_per_second=inf,
    ecr_layer_urls_per_second=inf,
    builds_at_once=inf,
)
"""Nothing binds, and nothing takes time but the trials themselves."""


def lasting(*seconds: float, cpu_millis: int = 1000, image_mib: float = 0) -> list[TrialDemand]:
    """Trials that differ in how long they last."""
    return [TrialDemand(cpu_millis, each, image_mib) for each in seconds]
