"""What Fargate bills for pods. Pure.

List prices on demand, Linux on x86, in US dollars and without taxes, as known on 2026-11-22:
https://aws.amazon.com/fargate/pricing/. They are us-east-1's; what other regions ask is not in here.
"""

from __future__ import annotations

from harbor_aws.infra.fargate import DEFAULT_STORAGE_GIB, FargateSize

PRICES_REGION = "us-east-1"
PRICES_DATE = "2026-11-22"

VCPU_USD_PER_HOUR = 0.04048
GB_USD_PER_HOUR = 0.004445
"""Of memory."""

STORAGE_GB_USD_PER_HOUR = 0.000111
"""Of storage beyond :data:`~harbor_aws.infra.fargate.DEFAULT_STORAGE_GIB`, which every pod has for nothing."""


def usd(*, vcpu_hours: float, memory_gb_hours: float, storage_gb_hours: float) -> float:
    """What so much costs; ``storage_gb_hours`` counts only what is beyond the free storage."""
    return (
        vcpu_hours * VCPU_USD_PER_HOUR + memory_gb_hours * GB_USD_PER_HOUR + storage_gb_hours * STORAGE_GB_USD_PER_HOUR
    )


def pod_usd_per_hour(size: FargateSize) -> float:
    """What a pod of this size costs while it exists."""
    return usd(
        vcpu_hours=size.cpu_millis / 1000,
        memory_gb_hours=size.memory_mib / 1024,
        storage_gb_hours=max(0, size.storage_gib - DEFAULT_STORAGE_GIB),
    )
