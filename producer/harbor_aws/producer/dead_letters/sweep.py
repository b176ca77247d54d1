"""Sees every message of a queue once, and gives back all that it did not delete.

SQS has no way to look without receiving, and to receive is to hide. So what is received is hidden for a short while,
in which everything else is received, and then all of it is made visible again at once: at the end, after an error and
after Ctrl-C. Only a killed process leaves messages hidden, for that while.

The dead-letter queue has no redrive policy of its own, so that it raises the receive counts does no harm.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import batched
from typing import TYPE_CHECKING, Self

from harbor_aws.infra.errors import HarborAwsError, TransientError
from harbor_aws.infra.queues import BATCH_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from harbor_aws.infra.queues import IncomingMessage, Queue

logger = logging.getLogger(__name__)

HIDE_SECONDS = 30
"""How long a message is hidden at least: longer than it takes to receive a few thousand more."""

MESSAGES_PER_SECOND = 100
"""A slow rate of receiving; for each so many messages in the queue they are hidden for a second more."""

MOST_HELD = 100_000
"""Messages of one sweep. SQS lets 120,000 of a queue be hidden at once.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

_REQUESTS_AT_ONCE = 8
_FAILURES_BORNE = 5
"""Receives that may fail one after the other."""


class Sweep:
    """An iterator over batches of messages that were not seen before, within a ``with`` that gives them back.

    Args:
        count: messages of a receive, up to ten.
        at_once: receives under way at a time.
    """

    def __init__(self, queue: Queue, *, count: int = BATCH_ENTRIES, at_once: int = _REQUESTS_AT_ONCE) -> None:
        self._queue = queue
        self._count = count
        self._at_once = at_once
        self._hide_seconds = HIDE_SECONDS
        self._held: dict[str, tuple[IncomingMessage, float]] = {}
        self._settled: set[str] = set()
        self._arrived: list[tuple[list[IncomingMessage], float]] = []
        self._blind_until = 0.0
        self.is_cut_off = False
        """Whether there were more messages than can be seen at once."""
        self.hidden_before = 0
        """Messages that somebody else had received when this began: SQS's own, approximate, count."""

    def __enter__(self) -> Self:
        counts = self._queue.counts()
        self.hidden_before = counts.in_flight
        self._hide_seconds = HIDE_SECONDS + counts.total // MESSAGES_PER_SECOND
        self._at_once = max(1, min(self._at_once, counts.total // self._count))
        self._receivers = ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="sweep")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._receivers.shutdown(cancel_futures=True)
        for messages, began in self._arrived:  # of a round that was interrupted
            self._take(messages, began)
        self._release_all()

    def __iter__(self) -> Iterator[list[IncomingMessage]]:
        """Raise :class:`TransientError` when SQS fails again and again."""
        failures = 0
        seen_again: set[str] = set()
        while len(self._held) < MOST_HELD:
            began = time.monotonic()
            new, again, error = self._receive()
            failures = failures + 1 if error else 0
            if error:
                if failures >= _FAILURES_BORNE:
                    raise error
                logger.warning("Receiving failed and is tried again: %s", error)
                time.sleep(failures)
            if new:
                seen_again.clear()
                yield new
            elif again & seen_again:
                return  # they came a second time, and nothing new in between: a whole pass
            elif not again and not error and began >= self._blind_until:
                return
            seen_again |= again
        self.is_cut_off = True

    def delete(self, messages: Iterable[IncomingMessage]) -> None:
        """Delete messages of this sweep."""
        for batch in batched(messages, BATCH_ENTRIES):
            self._queue.delete([self._held[message.message_id][0].receipt for message in batch])
            for message in batch:
                self._settled.add(message.message_id)
                del self._held[message.message_id]

    def _receive(self) -> tuple[list[IncomingMessage], set[str], TransientError | None]:
        """What a round of receives brought that is new, what came again, and how some of it failed."""
        receiving = [self._receivers.submit(self._fetch) for _ in range(self._at_once)]
        wait(receiving)
        new: list[IncomingMessage] = []
        again: set[str] = set()
        failure: TransientError | None = None
        for done in receiving:
            try:
                messages, began = done.result()
            except TransientError as error:
                # SQS may have hidden messages whose names never arrived: they are looked for when they are back.
                failure, self._blind_until = error, time.monotonic() + self._hide_seconds
            else:
                new += self._take(messages, began)
                again |= {message.message_id for message in messages}
        self._arrived.clear()
        return new, again - {message.message_id for message in new}, failure

    def _fetch(self) -> tuple[list[IncomingMessage], float]:
        """What one receive brings, and when it began; kept from the first moment, whatever becomes of the caller."""
        began = time.monotonic()
        messages = self._queue.receive(count=self._count, hide_seconds=self._hide_seconds)
        self._arrived.append((messages, began))
        return messages, began

    def _take(self, messages: Iterable[IncomingMessage], began: float) -> list[IncomingMessage]:
        """Hold messages that were received not before ``began``; those of them that are new."""
        new = []
        for message in messages:
            if message.message_id in self._settled:
                continue
            if message.message_id not in self._held:
                new.append(message)
            self._held[message.message_id] = message, began
        return new

    def _release_all(self) -> None:
        """What was received too long ago is visible by itself, or somebody else has it."""
        visible_since = time.monotonic() - self._hide_seconds
        receipts = [message.receipt for message, began in self._held.values() if began > visible_since]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="release") as pool:
            releasing = [pool.submit(self._queue.release, batch) for batch in batched(receipts, BATCH_ENTRIES)]
        failures = [error for done in releasing if isinstance(error := done.exception(), HarborAwsError)]
        if failures:
            logger.warning(
                "Some messages could not be given back, and are visible again in at most %d s: %s",
                self._hide_seconds,
                failures[0],
            )
