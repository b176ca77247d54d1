"""What a stack costs. Pure.

AWS's list prices for us-east-1 in US dollars, without taxes, as known on 2026-11-22; other regions differ by up to some
tens of per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

from harbor_aws.infra.fargate import FargateSize, size_for

PRICES_AS_OF = "us-east-1, 2026-11-22"

HOURS_PER_MONTH = 730
"""As AWS counts: https://aws.amazon.com/calculator/calculator-assumptions/"""

CLUSTER_USD_PER_HOUR = 0.10
"""EKS control plane in standard support (0.60 in extended support). https://aws.amazon.com/eks/pricing/"""

VCPU_USD_PER_HOUR = 0.04048
"""Fargate, Linux on x86, as the next two. https://aws.amazon.com/fargate/pricing/"""

GB_USD_PER_HOUR = 0.004445
"""Memory of a Fargate pod."""

STORAGE_GB_USD_PER_HOUR = 0.000111
"""Storage of a Fargate pod beyond :data:`FREE_STORAGE_GB`."""

FREE_STORAGE_GB = 20

NAT_USD_PER_HOUR = 0.045
"""NAT gateway. https://aws.amazon.com/vpc/pricing/"""

NAT_USD_PER_GB = 0.045
"""What goes through it, both ways; same source."""

PUBLIC_ADDRESS_USD_PER_HOUR = 0.005
"""A public IPv4 address, in use or not; same source."""

BUILD_USD_PER_MINUTE = 0.01
"""CodeBuild, general1.medium on Linux. https://aws.amazon.com/codebuild/pricing/"""

IMAGE_BUILD_MINUTES = 5
"""About how long the workers' image takes; it is built once for each version."""

ALARM_USD_PER_MONTH = 0.10
"""One metric of an alarm, at standard resolution. https://aws.amazon.com/cloudwatch/pricing/"""

DASHBOARD_USD_PER_MONTH = 3.00
"""The first three of an account are free; same source."""

ALARMS = 4
"""Alarms of the template, of one metric each."""

DNS_PODS = 2
"""Replicas of the add-on coredns."""

DNS_POD = FargateSize(cpu_millis=250, memory_mib=512)
"""What its request of 100m and 70 MiB is rounded up to."""

KEDA_PODS = 2
"""Its operator and its server of metrics."""

KEDA_POD = FargateSize(cpu_millis=250, memory_mib=1024)
"""Each of them: more than the 100 MiB that it asks for by itself, for nothing scales while it is out of memory."""

DEFAULT_TRIAL = size_for(None, None, None)
"""The size of a trial whose task asks for nothing."""

WORKER = size_for(1, 2048, None)
"""The size that is assumed for a worker."""

TRIALS_PER_WORKER = 32
"""Slots of a worker, when all are in use."""


@dataclass(frozen=True, slots=True)
class CostItem:
    """One line of a bill."""

    what: str
    usd: float


def pod_usd_per_hour(size: FargateSize) -> float:
    """What a pod of this size costs while it exists."""
    return (
        size.cpu_millis / 1000 * VCPU_USD_PER_HOUR
        + size.memory_mib / 1024 * GB_USD_PER_HOUR
        + max(0, size.storage_gib - FREE_STORAGE_GB) * STORAGE_GB_USD_PER_HOUR
    )


def idle_costs() -> list[CostItem]:
    """What a stack costs in a month in which nothing runs: no worker, no trial."""
    return [
        CostItem("EKS control plane", CLUSTER_USD_PER_HOUR * HOURS_PER_MONTH),
        CostItem("NAT gateway", NAT_USD_PER_HOUR * HOURS_PER_MONTH),
        CostItem("its public address", PUBLIC_ADDRESS_USD_PER_HOUR * HOURS_PER_MONTH),
        CostItem(f"{DNS_PODS} pods of CoreDNS on Fargate", DNS_PODS * pod_usd_per_hour(DNS_POD) * HOURS_PER_MONTH),
        CostItem(
            f"{KEDA_PODS} pods of KEDA on Fargate (--no-autoscaling: none)",
            KEDA_PODS * pod_usd_per_hour(KEDA_POD) * HOURS_PER_MONTH,
        ),
        CostItem(f"{ALARMS} alarms", ALARMS * ALARM_USD_PER_MONTH),
        CostItem("dashboard (the first three are free)", DASHBOARD_USD_PER_MONTH),
    ]


def costs_once() -> list[CostItem]:
    """What deploying costs by itself."""
    return [
        CostItem(
            f"the workers' image, {IMAGE_BUILD_MINUTES} minutes of a build", IMAGE_BUILD_MINUTES * BUILD_USD_PER_MINUTE
        )
    ]


def costs_per_thousand_trial_hours() -> list[CostItem]:
    """What a thousand hours of trials of the default size add, with full workers."""
    return [
        CostItem(
            f"trials of {DEFAULT_TRIAL.cpu_millis / 1000:g} vCPU and {DEFAULT_TRIAL.memory_mib / 1024:g} GB",
            1000 * pod_usd_per_hour(DEFAULT_TRIAL),
        ),
        CostItem(f"workers, {TRIALS_PER_WORKER} trials each", 1000 / TRIALS_PER_WORKER * pod_usd_per_hour(WORKER)),
    ]


def total(items: list[CostItem]) -> float:
    return sum(item.usd for item in items)
