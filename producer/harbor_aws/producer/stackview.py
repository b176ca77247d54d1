"""What a stack is doing as a whole: its queues and its workers."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.queues import Queue, QueueCounts
from harbor_aws.producer.workers import WorkerCount, count_workers

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack

logger = logging.getLogger(__name__)


class StackView(BaseModel):
    """Queue, dead letters, workers."""

    model_config = ConfigDict(frozen=True)

    queue: QueueCounts
    """Messages of all jobs; SQS's own, approximate, counts."""
    dead_letters: int
    workers: WorkerCount | None
    """``None`` if the cluster did not say."""


class StackReader:
    """Reads one stack again and again over the same connections."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._queue = Queue.trials(stack)
        self._dead_letters = Queue.dead_letters(stack)

    def read(self) -> StackView:
        """What the stack is doing now."""
        with ThreadPoolExecutor(3) as pool:
            queue = pool.submit(self._queue.counts)
            dead_letters = pool.submit(self._dead_letters.counts)
            workers = pool.submit(self._workers)
            return StackView(queue=queue.result(), dead_letters=dead_letters.result().total, workers=workers.result())

    def _workers(self) -> WorkerCount | None:
        try:
            return asyncio.run(count_workers(self._stack))
        except HarborAwsError as error:
            logger.warning("The workers could not be counted: %s", error)
            return None
