"""``plan.jsonl``, one line a trial: what a job consists of, and all that is needed to send it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.layout import PLAN_NAME, job_key
from harbor_aws.producer.estimate.pods import PlannedPod
from harbor_aws.producer.message import TrialMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harbor_aws.infra.objects import ObjectStore


class PlannedTrial(BaseModel):
    """One trial as the producer planned it."""

    model_config = ConfigDict(frozen=True)

    trial: str
    task: str
    """The task's name, for people."""
    bundle: str
    """SHA-256 (hex) of the task's bundle."""
    trial_config: dict[str, Any]
    """Harbor's ``TrialConfig`` as JSON, without its defaults and without ``trials_dir``."""
    attempts: int
    retry: dict[str, Any] = Field(default_factory=dict)
    pods: tuple[PlannedPod, ...] = ()
    """What an attempt starts; empty if an older version planned the job. No part of what runs."""

    def message(self, job: str) -> TrialMessage:
        """The trial's first message."""
        return TrialMessage(
            job=job,
            trial=self.trial,
            attempts=self.attempts,
            bundle=self.bundle,
            trial_config=self.trial_config,
            retry=self.retry,
        )


def what_runs(trial: TrialMessage | PlannedTrial) -> dict[str, Any]:
    """All of a trial that decides what runs: a message must say the same of it as the plan."""
    return {"bundle": trial.bundle, "trial_config": trial.trial_config, "retry": trial.retry}


def dump_plan(trials: Iterable[PlannedTrial]) -> bytes:
    return "".join(f"{trial.model_dump_json()}\n" for trial in trials).encode()


def load_plan(store: ObjectStore, job: str) -> list[PlannedTrial]:
    """The job's plan, one to one with the trials of its ``lock.json``.

    Raises:
        UsageError: there is no such job.
    """
    body = store.get(job_key(job, PLAN_NAME))
    if body is None:
        raise UsageError(f"There is no job {job!r} on this stack; `harbor-aws status` lists them.")
    return [PlannedTrial.model_validate_json(line) for line in body.splitlines()]
