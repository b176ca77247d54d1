"""Fargate's sizes, and which of them a task gets. Pure.

Read on 2026-11-22 from https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-configuration.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harbor_aws.infra.errors import PermanentError

OVERHEAD_MIB = 256
"""What Fargate adds to a pod's memory for Kubernetes' own parts, before it rounds up to a size."""

DEFAULT_STORAGE_GIB = 20
"""Storage that every pod has, the image included."""

LARGEST_STORAGE_GIB = 175
"""The most that an ``ephemeral-storage`` request may ask for."""

DEFAULT_CPU_MILLIS = 1000
"""CPU of a task that does not say how much it needs."""

DEFAULT_MEMORY_MIB = 2048
"""Memory of a task that does not say how much it needs."""

LAUNCHES_PER_SECOND = 20
"""Pods that an account launches a second in a region, for as long as it likes.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html"""

LAUNCH_BURST = 20
"""Pods that an account without ECS launches at once after a pause; same source. One with ECS launches 100."""

FARGATE_SERVICE, VCPUS_QUOTA = "fargate", "L-3032A538"
"""Fargate On-Demand vCPU resource count. https://docs.aws.amazon.com/general/latest/gr/ecs-service.html"""

KUBELET_PORT = 10250
"""The kubelet's own, on the very address of the pod: nothing in the pod can listen on it."""

_GIB_BY_CPU_MILLIS: dict[int, tuple[float, ...]] = {
    250: (0.5, 1, 2),
    500: (1, 2, 3, 4),
    1000: tuple(range(2, 9)),
    2000: tuple(range(4, 17)),
    4000: tuple(range(8, 31)),
    8000: tuple(range(16, 61, 4)),
    16000: tuple(range(32, 121, 8)),
}


@dataclass(frozen=True, slots=True, order=True)
class FargateSize:
    """A size that Fargate provisions and bills, and what a container may ask for to get exactly that."""

    cpu_millis: int
    """Thousandths of a vCPU."""

    memory_mib: int
    """Memory that is billed, :data:`OVERHEAD_MIB` of it not the container's."""

    storage_gib: int = DEFAULT_STORAGE_GIB
    """Storage that is provisioned."""

    @property
    def container_memory_mib(self) -> int:
        """The most memory that a container may request and still get this size."""
        return self.memory_mib - OVERHEAD_MIB


LARGEST = FargateSize(16000, 120 * 1024, LARGEST_STORAGE_GIB)


_SIZES = tuple(
    FargateSize(cpu_millis, int(gib * 1024)) for cpu_millis, memories in _GIB_BY_CPU_MILLIS.items() for gib in memories
)


def sizes() -> list[FargateSize]:
    """Every size, the smallest first. Of those that hold a task the first is also the cheapest."""
    return list(_SIZES)


def cpu_millis(cpus: float) -> int:
    """Thousandths of a vCPU, as Kubernetes counts: what is finer is rounded up, so that no less is had than asked."""
    return math.ceil(round(cpus * 1000, 6))  # as floats 2.007 × 1000 is a little more than 2007


def size_for(cpus: float | None, memory_mb: int | None, storage_mb: int | None) -> FargateSize:
    """The smallest size that holds a task.

    Args:
        cpus: vCPUs, whole or fractions; ``None`` for the default.
        memory_mb: MiB, as Harbor counts; ``None`` for the default.
        storage_mb: MiB, as Harbor counts; ``None`` for the default.

    Raises:
        PermanentError: no size holds it, or there is no such amount; the message says which.
    """
    _ensure_amounts({"CPUs": cpus, "MiB of memory": memory_mb, "MiB of storage": storage_mb})
    millis = DEFAULT_CPU_MILLIS if cpus is None else cpu_millis(cpus)
    memory_mib = (DEFAULT_MEMORY_MIB if memory_mb is None else memory_mb) + OVERHEAD_MIB
    storage_gib = DEFAULT_STORAGE_GIB if storage_mb is None else max(DEFAULT_STORAGE_GIB, -(-storage_mb // 1024))
    for size in _SIZES:
        if size.cpu_millis >= millis and size.memory_mib >= memory_mib and storage_gib <= LARGEST_STORAGE_GIB:
            return FargateSize(size.cpu_millis, size.memory_mib, storage_gib)
    raise PermanentError(_excess(millis, memory_mib - OVERHEAD_MIB, storage_gib))


def _ensure_amounts(asked: dict[str, float | None]) -> None:
    for unit, amount in asked.items():
        if amount is not None and not 0 <= amount < math.inf:
            raise PermanentError(f"The task asks for {amount:g} {unit}, which is no amount.")


def _excess(millis: int, memory_mib: int, storage_gib: int) -> str:
    wanted = []
    if millis > LARGEST.cpu_millis:
        wanted.append(f"{millis / 1000:g} CPUs (at most {LARGEST.cpu_millis / 1000:g})")
    if memory_mib > LARGEST.container_memory_mib:
        wanted.append(f"{memory_mib} MiB of memory (at most {LARGEST.container_memory_mib})")
    if storage_gib > LARGEST_STORAGE_GIB:
        wanted.append(f"{storage_gib} GiB of storage (at most {LARGEST_STORAGE_GIB})")
    return f"The task asks for more than Fargate's largest size: {', '.join(wanted)}."
