"""Trials and runs as tests of the estimate need them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from harbor_aws.producer.estimate.pods import PlannedPod
from harbor_aws.producer.estimate.run import Run
from harbor_aws.producer.planfile import PlannedTrial
from harbor_aws.producer.usage import PodUsage

BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOP: dict[str, Any] = {"agent": {"name": "nop"}}


def planned(
    trial: str, *, task: str = "task", bundle: str = "files", pods: int = 1, busy: float = 3540, **config: Any
) -> PlannedTrial:
    """A trial of 2 vCPU and 4 GB, that may take an hour, with as many verifiers as make ``pods``."""
    return PlannedTrial(
        trial=trial,
        task=task,
        bundle=bundle,
        trial_config={**NOP, **config},
        attempts=3,
        pods=tuple(
            PlannedPod(
                role="verifier" if number else "agent",
                cpu_millis=2000,
                memory_mib=4096,
                start_seconds=60,
                busy_seconds=busy,
            )
            for number in range(pods)
        ),
    )


def run(
    seconds: float, *, task: str = "task", bundle: str = "files", agent: str = "nop", verifier: float = 0, **more: Any
) -> Run:
    return Run(
        job=more.pop("job", "earlier"),
        trial=f"{task}-{seconds:g}",
        task=task,
        bundle=bundle,
        agent=agent,
        work=more.pop("work", agent),
        agent_seconds=seconds,
        verifier_seconds=verifier,
        start_seconds=0.0,
        **more,
    )


def usage(
    *, peak: int | None = 1000, cpu: float | None = 30.0, seconds: float = 1000, start: float = 20, **more: Any
) -> PodUsage:
    """A pod of 4 vCPU and 16 GB."""
    return PodUsage(
        name=more.pop("name", "pod"),
        role=more.pop("role", "agent"),
        cpu_millis=4000,
        memory_mib=16 * 1024,
        created_at=BEGAN,
        scheduled_at=BEGAN + timedelta(seconds=10),
        running_at=BEGAN + timedelta(seconds=10 + start),
        ended_at=BEGAN + timedelta(seconds=10 + start + seconds),
        peak_memory_mib=peak,
        cpu_seconds=cpu,
        **more,
    )
