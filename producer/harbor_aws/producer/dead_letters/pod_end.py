"""What a dead letter keeps of the pod that its last attempt ran in. Data only."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class ContainerState(BaseModel):
    """What the pod's container was doing when it was last seen; a letter's field names are Kubernetes' own."""

    model_config = ConfigDict(frozen=True)

    state: Literal["waiting", "running", "terminated"]
    reason: str | None = None
    """Such as ``ImagePullBackOff`` or ``OOMKilled``."""
    message: str | None = None
    exit_code: int | None = None
    """Of a container that terminated."""


class PodEvent(BaseModel):
    """An event that the cluster recorded of the pod."""

    model_config = ConfigDict(frozen=True)

    reason: str
    """Such as ``FailedScheduling``."""
    message: str = ""
    count: int = 1
    """How often it happened."""
    at: datetime | None = None
    """When it happened last (UTC)."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class PodEnd(BaseModel):
    """What the cluster said of the pod. Letters of older workers have but the first three."""

    model_config = ConfigDict(frozen=True)

    name: str
    reason: str
    """The pod's own word, such as ``OOMKilled``."""
    said: str
    """Its last state and its last events, in words."""
    message: str | None = None
    """The pod's own explanation of the reason."""
    container: ContainerState | None = None
    events: tuple[PodEvent, ...] = ()
    """The last ones, the oldest first, as far as the cluster still had them."""
