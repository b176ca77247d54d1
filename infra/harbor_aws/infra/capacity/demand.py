"""What a trial needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrialDemand:
    """One trial, as the stack has to carry it."""

    cpu_millis: int
    """Thousandths of a vCPU that Fargate provisions for its pod: those of its size, not those asked for."""

    seconds: float
    """How long its pod is used, from when commands run in it until it is deleted; start and pull come on top."""

    image_mib: float = 0.0
    """What its image measures as a registry keeps it, that is compressed."""
