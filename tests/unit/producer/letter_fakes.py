"""A bucket and queues in memory that behave as S3 and SQS do, and a process that can be killed at any request."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from typing import TYPE_CHECKING
from uuid import UUID

from tests.unit.object_versions import put_if_unchanged, version_of

from harbor_aws.infra.layout import PLAN_NAME, job_key
from harbor_aws.infra.queues import IncomingMessage, OutgoingMessage, QueueCounts
from harbor_aws.producer.celery_message import encode
from harbor_aws.producer.message import TrialMessage
from harbor_aws.producer.planfile import PlannedTrial, dump_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harbor_aws.infra.objects import ObjectVersion

JOB = "job"
BIG = "big"
"""A trial that leaves its message little room."""
BIG_CONFIG = {"x": "y" * 33_000}
PLANNED = ("a", "b", "c", "t", BIG, *(f"t{number}" for number in range(100)))
"""The trials of the job."""


class KilledError(BaseException):
    """The process is no more: no request of its gets through, not even to clean up."""


@dataclass
class Process:
    """Counts requests, and dies at one of them: before it is done, or after, so that its answer is never heard."""

    dies_at: int | None = None
    after_it: bool = False
    requests: int = 0
    is_dead: bool = False
    lock: RLock = field(default_factory=RLock)

    def request[R](self, do: Callable[[], R]) -> R:
        with self.lock:
            if self.is_dead:
                raise KilledError
            self.requests += 1
            self.is_dead = self.requests == self.dies_at
            if self.is_dead and not self.after_it:
                raise KilledError
            answer = do()
            if self.is_dead:
                raise KilledError
            return answer


@dataclass
class Stored:
    """A message in a queue."""

    id: str
    body: str
    attributes: Mapping[str, str]
    visible_at: float = 0.0
    receives: int = 0

    @property
    def receipt(self) -> str:
        return f"{self.id}/{self.receives}"


class MemoryQueue:
    """A standard queue: any order, hidden while received, gone when deleted."""

    def __init__(self, seed: int = 0) -> None:
        self.process = Process()
        self.stored: dict[str, Stored] = {}
        self.longest_hide = 0
        self.fail: Callable[[str], None] = lambda _operation: None
        """Called with each operation; may raise."""
        self._random = random.Random(seed)  # noqa: S311 - an order, no secret
        self._lock = RLock()

    def put(self, body: str, attributes: Mapping[str, str] | None = None) -> str:
        identity = str(UUID(int=self._random.getrandbits(128), version=4))
        self.stored[identity] = Stored(identity, body, attributes or {})
        return identity

    @property
    def visible(self) -> list[Stored]:
        return [stored for stored in self.stored.values() if stored.visible_at <= time.monotonic()]

    def let_time_pass(self) -> None:
        """All that was hidden is visible again."""
        for stored in self.stored.values():
            stored.visible_at = 0

    def counts(self) -> QueueCounts:
        return self.process.request(
            lambda: QueueCounts(visible=len(self.visible), in_flight=len(self.stored) - len(self.visible), delayed=0)
        )

    def send(self, messages: Sequence[OutgoingMessage]) -> list[str]:
        assert 1 <= len(messages) <= 10
        return self.process.request(lambda: [self.put(message.body, message.attributes) for message in messages])

    def receive(self, *, count: int, hide_seconds: int) -> list[IncomingMessage]:
        def receive() -> list[IncomingMessage]:
            self.longest_hide = max(self.longest_hide, hide_seconds)
            with self._lock:
                visible = self.visible
                chosen = self._random.sample(visible, min(count, len(visible)))
                for stored in chosen:
                    stored.visible_at = time.monotonic() + hide_seconds
                    stored.receives += 1
            self.fail("receive")  # after the server has hidden them
            return [
                IncomingMessage(stored.id, stored.receipt, stored.body, stored.attributes, datetime.now(UTC))
                for stored in chosen
            ]

        return self.process.request(receive)

    def release(self, receipts: Sequence[str]) -> None:
        def release() -> None:
            self.fail("release")
            for stored in self._held(receipts):
                stored.visible_at = 0

        assert 1 <= len(receipts) <= 10
        self.process.request(release)

    def delete(self, receipts: Sequence[str]) -> None:
        def delete() -> None:
            self.fail("delete")
            for stored in self._held(receipts):
                del self.stored[stored.id]

        assert 1 <= len(receipts) <= 10
        self.process.request(delete)

    def _held(self, receipts: Sequence[str]) -> list[Stored]:
        return [stored for stored in self.stored.values() if stored.receipt in receipts]


class MemoryStore:
    """A bucket with the plan of a job."""

    def __init__(self) -> None:
        self.process = Process()
        self.objects: dict[str, bytes] = {job_key(JOB, PLAN_NAME): dump_plan(map(planned_trial, PLANNED))}

    def get(self, key: str) -> bytes | None:
        return self.process.request(lambda: self.objects.get(key))

    def exists(self, key: str) -> bool:
        return self.process.request(lambda: key in self.objects)

    def put(self, key: str, body: bytes) -> None:
        self.process.request(lambda: self.objects.__setitem__(key, body))

    def put_if_absent(self, key: str, body: bytes) -> bool:
        return self.put_if_unchanged(key, body, etag=None) is not None

    def get_version(self, key: str) -> ObjectVersion | None:
        return self.process.request(lambda: version_of(self.objects, key))

    def put_if_unchanged(self, key: str, body: bytes, *, etag: str | None) -> str | None:
        return self.process.request(lambda: put_if_unchanged(self.objects, key, body, etag=etag))


def planned_trial(trial: str) -> PlannedTrial:
    config = BIG_CONFIG if trial == BIG else {}
    return PlannedTrial(trial=trial, task="task", bundle="0" * 64, trial_config=config, attempts=3)


def trial_message(trial: str, **fields: object) -> TrialMessage:
    return TrialMessage.model_validate({"job": JOB, "trial": trial, "bundle": "0" * 64, "trial_config": {}, **fields})


def put_letter(queue: MemoryQueue, trial: str, *, cause: str = "PodStartError", **fields: object) -> str:
    """A dead letter as a worker sends it."""
    attributes = {"cause": cause, "reason": f"{cause} it was", "worker": "w1", "at": datetime.now(UTC).isoformat()}
    return queue.put(encode(trial_message(trial, **fields)), attributes)
