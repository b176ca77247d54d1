"""Whether a letter holds what its job's producer planned: no worker runs anything else."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from harbor_aws.infra.layout import PLAN_NAME, job_key
from harbor_aws.producer.planfile import PlannedTrial, what_runs

if TYPE_CHECKING:
    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.message import TrialMessage


class Plans:
    """Reads the plan of each job once. Thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._plans: dict[str, dict[str, PlannedTrial]] = {}
        self._reading = Lock()

    def objection(self, message: TrialMessage) -> str | None:
        """What is wrong with a message; ``None`` for one that says what the plan says."""
        with self._reading:
            if message.job not in self._plans:
                self._plans[message.job] = self._read(message.job)
        planned = self._plans[message.job].get(message.trial)
        if planned is None:
            return f"The plan of job {message.job!r} has no trial {message.trial!r}."
        if what_runs(planned) != what_runs(message):
            return f"It does not say what the plan of job {message.job!r} says: its producer did not write it."
        return None

    def _read(self, job: str) -> dict[str, PlannedTrial]:
        lines = (self._store.get(job_key(job, PLAN_NAME)) or b"").splitlines()
        return {planned.trial: planned for planned in map(PlannedTrial.model_validate_json, lines)}
