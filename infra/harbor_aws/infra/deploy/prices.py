"""What a stack costs. Pure.

AWS's list prices for us-east-1 in US dollars, without taxes, as known on 2026-11-22; other regions differ by up to some
tens of per cent. Pods' are in :mod:`harbor_aws.infra.fargate_prices`.
"""

from __future__ import annotations

from dataclasses import dataclass

from harbor_aws.infra.fargate import FargateSize, size_for
from harbor_aws.infra.fargate_prices import PRICES_DATE, PRICES_REGION, pod_usd_per_hour

PRICES_AS_OF = f"{PRICES_REGION}, {PRICES_DATE}"

HOURS_PER_MONTH = 730
"""As AWS counts: https://aws.amazon.com/calculator/calculator-assumptions/"""

CLUSTER_USD_PER_HOUR = 0.10
"""EKS control plane in standard support (0.60 in extended support). https://aws.amazon.com/eks/pricing/"""

NAT_USD_PER_HOUR = 0.045
"""NAT gateway. https://aws.amazon.com/vpc/pricing/"""

NAT_USD_PER_GB = 0.045
"""What goes through it, both ways; same source."""

PUBLIC_ADDRESS_USD_PER_HOUR = 0.005
"""A public IPv4 address, in use or not; same source."""

ENDPOINT_USD_PER_HOUR = 0.01
"""An interface endpoint in one zone; $0.01 a GB goes through it besides. https://aws.amazon.com/privatelink/pricing/"""

ISOLATION_ENDPOINTS = 2
"""Of the template, both of ECR, in one zone."""

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


def isolation_usd_per_month() -> float:
    """What ``--isolation`` costs, whether pods are isolated or not."""
    return ISOLATION_ENDPOINTS * ENDPOINT_USD_PER_HOUR * HOURS_PER_MONTH


def optional_costs() -> dict[str, CostItem]:
    """What options add in a month, by a resource of the template that is there with the option alone."""
    return {
        "IsolatedProfile": CostItem(f"{ISOLATION_ENDPOINTS} endpoints of ECR (--isolation)", isolation_usd_per_month()),
        "KedaRole": CostItem(
            f"{KEDA_PODS} pods of KEDA on Fargate (--no-autoscaling: none)",
            KEDA_PODS * pod_usd_per_hour(KEDA_POD) * HOURS_PER_MONTH,
        ),
    }


def idle_costs(*, is_isolating: bool = False) -> list[CostItem]:
    """What a stack costs in a month in which nothing runs: no worker, no trial."""
    isolation, keda = optional_costs().values()
    return [
        *([isolation] if is_isolating else []),
        CostItem("EKS control plane", CLUSTER_USD_PER_HOUR * HOURS_PER_MONTH),
        CostItem("NAT gateway", NAT_USD_PER_HOUR * HOURS_PER_MONTH),
        CostItem("its public address", PUBLIC_ADDRESS_USD_PER_HOUR * HOURS_PER_MONTH),
        CostItem(f"{DNS_PODS} pods of CoreDNS on Fargate", DNS_PODS * pod_usd_per_hour(DNS_POD) * HOURS_PER_MONTH),
        keda,
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
