"""What a stack is doing as a whole: its queues, its workers, and pods that nobody looks after."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.queues import Queue, QueueCounts
from harbor_aws.producer.ownerless import ownerless_pods
from harbor_aws.producer.workers import WorkerCount, count_workers

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack

logger = logging.getLogger(__name__)


class StackView(BaseModel):
    """Queue, dead letters, workers, pods without an owner."""

    model_config = ConfigDict(frozen=True)

    queue: QueueCounts
    """Messages of all jobs; SQS's own, approximate, counts."""
    dead_letters: int
    workers: WorkerCount | None
    """``None`` if the cluster did not say."""
    ownerless_pods: list[str] | None
    """Pods of trials whose process has given no sign of life, as far as this machine's clock tells, and that the
    workers remove once they are sure; ``None`` if the cluster did not say."""


class StackReader:
    """Reads one stack again and again over the same connections."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._queue = Queue.trials(stack)
        self._dead_letters = Queue.dead_letters(stack)

    def read(self) -> StackView:
        """What the stack is doing now."""
        with ThreadPoolExecutor(4) as pool:
            queue = pool.submit(self._queue.counts)
            dead_letters = pool.submit(self._dead_letters.counts)
            workers = pool.submit(self._workers)
            ownerless = pool.submit(self._ownerless_pods)
            return StackView(
                queue=queue.result(),
                dead_letters=dead_letters.result().total,
                workers=workers.result(),
                ownerless_pods=ownerless.result(),
            )

    def _workers(self) -> WorkerCount | None:
        try:
            return asyncio.run(count_workers(self._stack))
        except HarborAwsError as error:
            logger.warning("The workers could not be counted: %s", error)
            return None

    def _ownerless_pods(self) -> list[str] | None:
        try:
            return asyncio.run(ownerless_pods(self._stack))
        except HarborAwsError as error:
            logger.warning("Pods without an owner could not be looked for: %s", error)
            return None
