"""Whether a message is one that its job's producer planned.

Whoever may send to the queue can write any message: one that names another agent's code, a file of the worker, or an
environment of its own. The job's plan in the bucket, which only producers write, has what every trial runs, to the
last keyword argument. So a message runs if it says the same as the plan; how often the trial was tried and put back is
all that it may say by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.layout import PLAN_NAME, job_key
from harbor_aws.producer.planfile import PlannedTrial, what_runs

if TYPE_CHECKING:
    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.message import TrialMessage

KEPT_JOBS = 16
"""Jobs whose plans are remembered, about 200 bytes a trial; of more, the one that was asked for longest ago goes."""

_SHOWN_PLACES = 5

type _Plan = dict[str, bytes]
"""A digest of what each trial runs."""


class NotAdmittedError(PermanentError):
    """The message is not one that its job's producer planned."""


class Admission:
    """Reads each job's plan once. Belongs to one event loop."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._plans: dict[str, _Plan] = {}
        self._reading = asyncio.Lock()

    async def check(self, message: TrialMessage) -> None:
        """Do nothing for a message that says what its job's plan says.

        Raises:
            NotAdmittedError: there is no such job or trial, or the message differs; the text says where.
            TransientError: S3 did not give the plan.
        """
        async with self._reading:
            plan = self._plans.pop(message.job, None)
            if plan is None:
                plan = await asyncio.to_thread(self._read, message.job)
            self._plans[message.job] = plan
            if len(self._plans) > KEPT_JOBS:
                del self._plans[next(iter(self._plans))]
        known = plan.get(message.trial)
        if known is None:
            raise NotAdmittedError(f"The job {message.job!r} has no trial {message.trial!r} in its plan.")
        if known != _digest(what_runs(message)):
            places = await asyncio.to_thread(self._differences, message)
            raise NotAdmittedError(
                f"The message of trial {message.trial!r} does not say what the plan of its job {message.job!r} says: "
                f"{', '.join(places)}. Somebody else than the job's producer wrote it."
            )

    def _read(self, job: str) -> _Plan:
        return {trial.trial: _digest(what_runs(trial)) for trial in self._planned(job)}

    def _planned(self, job: str) -> list[PlannedTrial]:
        body = self._store.get(job_key(job, PLAN_NAME))
        if body is None:
            raise NotAdmittedError(f"There is no job {job!r} in the bucket.")
        return [PlannedTrial.model_validate_json(line) for line in body.splitlines()]

    def _differences(self, message: TrialMessage) -> list[str]:
        """The names of what differs, and no values: they are a stranger's."""
        planned = next(trial for trial in self._planned(message.job) if trial.trial == message.trial)
        places = list(_unlike(what_runs(planned), what_runs(message)))
        more = len(places) - _SHOWN_PLACES
        return places[:_SHOWN_PLACES] + ([f"{more} more"] if more > 0 else [])


def _digest(value: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


def _unlike(planned: object, said: object, place: str = "") -> list[str]:
    if not isinstance(planned, dict) or not isinstance(said, dict):
        return [] if planned == said else [place[:100]]
    return [
        unlike
        for key in sorted({*planned, *said})
        for unlike in _unlike(
            planned.get(key, ...), said.get(key, ...), f"{place}.{ascii(key)[1:-1]}" if place else str(key)
        )
    ]
