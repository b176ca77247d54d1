"""A pod that a trial will start, as it is planned. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.fargate import DEFAULT_STORAGE_GIB, FargateSize
from harbor_aws.infra.settings import Settings

TRIAL_DEADLINE_SECONDS = float(Settings.model_fields["trial_deadline_seconds"].default)
"""Of an attempt, as workers have it unless they are told otherwise."""


class PlannedPod(BaseModel):
    """One pod of a trial: its size, and how long the task's limits let it exist."""

    model_config = ConfigDict(frozen=True)

    role: Literal["agent", "verifier"]
    cpu_millis: int
    """Thousandths of a vCPU that will be billed."""
    memory_mib: int
    """Memory that will be billed."""
    storage_gib: int = DEFAULT_STORAGE_GIB
    start_seconds: float
    """How long it may take at most until commands run in it."""
    busy_seconds: float
    """How long it may exist at most after that."""
    is_bounded: bool = True
    """Whether the task's limits say so, and not just the deadline of every attempt."""
    is_beside_agent: bool = False
    """Whether the agent's pod waits for it, so that both are there at once; else it comes after that."""

    @property
    def size(self) -> FargateSize:
        return FargateSize(self.cpu_millis, self.memory_mib, self.storage_gib)

    @property
    def seconds(self) -> float:
        """How long it may exist at most."""
        return self.start_seconds + self.busy_seconds

    def resized(self, size: FargateSize) -> PlannedPod:
        """The same pod of another size."""
        amounts = {"cpu_millis": size.cpu_millis, "memory_mib": size.memory_mib, "storage_gib": size.storage_gib}
        return self.model_copy(update=amounts)
