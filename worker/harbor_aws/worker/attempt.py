"""The attempt that an asyncio task is running, so that a pod knows whose it is without Harbor passing it on."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.producer.usage import Consumption
from harbor_aws.worker.outages import Outages
from harbor_aws.worker.pod_usage import UsedPods
from harbor_aws.worker.scrub.scrubber import Scrubber
from harbor_aws.worker.span import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.errors import HarborAwsError
    from harbor_aws.infra.settings import Settings
    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.dead_letters.pod_end import PodEnd
    from harbor_aws.producer.state import TrialState
    from harbor_aws.worker.launch_rate import Turn
    from harbor_aws.worker.pods import PodKeeper


@dataclass(slots=True)
class Attempt:
    """One attempt at one trial, and what its pods reported."""

    stack: Stack
    settings: Settings
    pods: PodKeeper
    """The process's one watch and connection pool."""
    worker: str
    job: str
    trial: str
    number: int
    attempt_id: str
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)
    """The same moment on the monotonic clock, in seconds."""
    pod_names: list[str] = field(default_factory=list)
    """Pods made so far, the agent's first."""
    failures: list[HarborAwsError] = field(default_factory=list)
    """Every infrastructure failure that an environment raised, in order, including those that Harbor swallowed."""
    pod_ends: list[PodEnd] = field(default_factory=list)
    """Once something has failed, the pods as they were when they were deleted."""
    turn: Turn | None = None
    """To launch the first pod, reserved before Harbor's clocks began to run."""
    outages: Outages = field(default_factory=Outages)
    """When nothing could be seen of a command or a transfer in a pod, or the worker stood still."""
    scrubber: Scrubber = field(default_factory=Scrubber)
    """Takes the process's secrets, and the attempt's own, out of what is written of the attempt."""
    used: UsedPods = field(default_factory=UsedPods)
    """What its pods were billed at and used."""
    predecessor: TrialState | None = None
    """What was last said of this very attempt by a worker that had it before, and could not end it."""
    consumed_before: Consumption = field(default_factory=Consumption)
    """What the trial had consumed before this worker had it."""
    is_cancelled: bool = False
    """Whether Harbor was told to end it."""

    @property
    def consumed(self) -> Consumption:
        """What the trial has consumed by now."""
        return self.consumed_before + self.used.consumption()

    async def learn(self, secrets: Mapping[str, str]) -> None:
        """Know these, values by name, as the attempt's own: those of other trials do not depend on them."""
        if secrets:
            self.scrubber = await asyncio.to_thread(self.scrubber.with_more, secrets)

    async def note_cancelled(self, _event: object) -> None:
        """A hook of Harbor's."""
        self.is_cancelled = True

    @property
    def has_begun(self) -> bool:
        """Whether the pod that it is about is not its first one, so that something was done before."""
        return len(self.pod_names) > 1

    def note_outage(self, seconds: float) -> None:
        """One that took so long has just ended."""
        now = time.monotonic()
        self.outages.add(now - seconds, now)

    def span(self) -> Span:
        """From when it began until now."""
        return Span(self.began, time.monotonic(), self.began_at, datetime.now(UTC))


current_attempt: ContextVar[Attempt | None] = ContextVar("harbor_aws_attempt", default=None)
"""Set by the worker in the task of a delivery; unset when Harbor itself runs the environment (``harbor run -e …``)."""
