"""What a trial's pods cost and used: recorded by workers, added up by ``status`` and ``estimate``. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from harbor_aws.infra.fargate import DEFAULT_STORAGE_GIB, FargateSize

if TYPE_CHECKING:
    from collections.abc import Iterable

LEAST_BILLED = timedelta(minutes=1)
"""Of any pod. https://aws.amazon.com/fargate/pricing/ (read on 2026-11-22)"""

LONGEST_KNOWN = timedelta(hours=12)
"""How long a pod whose end nobody has recorded is taken to have lived at most: the default of
:attr:`~harbor_aws.infra.settings.Settings.pod_deadline_seconds`."""


class PodUsage(BaseModel):
    """One pod of an attempt: its size, its times (UTC), and the most that was used in it."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Literal["agent", "verifier"]
    cpu_millis: int
    """Thousandths of a vCPU that are billed."""
    memory_mib: int
    """Memory that is billed."""
    storage_gib: int = DEFAULT_STORAGE_GIB
    """Storage that is provisioned."""
    memory_limit_mib: int | None = None
    """Memory that its container may use; ``None`` if an older version made it."""
    is_provisioned: bool = False
    """Whether that is what Fargate says it provisioned (``CapacityProvisioned``), and not what was worked out."""
    created_at: datetime
    """When the pod's object was made."""
    scheduled_at: datetime | None = None
    """When it had a node, so that its image began to be pulled; ``None`` if it never had one."""
    running_at: datetime | None = None
    """When commands could be run in it; ``None`` if it never came to that."""
    ended_at: datetime | None = None
    """When it was deleted; ``None`` while it is there."""
    peak_memory_mib: int | None = None
    """The most memory that its container used, page cache included; ``None`` where the kernel does not say."""
    cpu_seconds: float | None = None
    """CPU time that its container used."""

    @property
    def size(self) -> FargateSize:
        return FargateSize(self.cpu_millis, self.memory_mib, self.storage_gib)

    @property
    def container_memory_mib(self) -> int:
        """Memory that its container may use; if that is not recorded, the most that its size leaves."""
        return self.size.container_memory_mib if self.memory_limit_mib is None else self.memory_limit_mib

    @property
    def billed_from(self) -> datetime | None:
        """When its bill began: Fargate counts from the beginning of the image's pull. ``None``: it costs nothing.
        https://aws.amazon.com/fargate/pricing/ (read on 2026-11-22)"""
        return self.scheduled_at or self.running_at


class Consumption(BaseModel):
    """What is billed, added up over pods."""

    model_config = ConfigDict(frozen=True)

    pods: int = Field(default=0, ge=0)
    vcpu_hours: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    memory_gb_hours: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    storage_gb_hours: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Of storage beyond what every pod has for nothing."""

    def __add__(self, other: Consumption) -> Consumption:
        return Consumption(
            pods=self.pods + other.pods,
            vcpu_hours=self.vcpu_hours + other.vcpu_hours,
            memory_gb_hours=self.memory_gb_hours + other.memory_gb_hours,
            storage_gb_hours=self.storage_gb_hours + other.storage_gb_hours,
        )


def total(consumptions: Iterable[Consumption]) -> Consumption:
    """All of them together."""
    return sum(consumptions, start=Consumption())


def consumption(usage: PodUsage, *, now: datetime) -> Consumption:
    """What a pod has consumed, until it ended or ``now``; nothing if it never had a node."""
    if usage.billed_from is None:
        return Consumption()
    duration = usage.ended_at - usage.billed_from if usage.ended_at else min(now - usage.billed_from, LONGEST_KNOWN)
    return consumed(usage.size, duration=duration)


def consumed(size: FargateSize, *, duration: timedelta) -> Consumption:
    """What a pod of this size consumes in this time, one minute at least."""
    hours = max(duration, LEAST_BILLED).total_seconds() / 3600
    return Consumption(
        pods=1,
        vcpu_hours=hours * size.cpu_millis / 1000,
        memory_gb_hours=hours * size.memory_mib / 1024,
        storage_gb_hours=hours * max(0, size.storage_gib - DEFAULT_STORAGE_GIB),
    )
