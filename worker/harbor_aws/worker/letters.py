"""What a worker puts on the queues itself: the next attempt of a trial, and dead letters."""

from __future__ import annotations

import asyncio
import json
import math
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.queues import MAX_DELAY_SECONDS, OutgoingMessage
from harbor_aws.producer.celery_message import encode

if TYPE_CHECKING:
    from harbor_aws.infra.queues import Queue
    from harbor_aws.worker.attempt import Attempt
    from harbor_aws.worker.delivery import Delivery
    from harbor_aws.worker.outcome import DeadLetter, Retry

TRACEBACK_CHARACTERS = 4_000
"""Of a traceback's end."""

REASON_CHARACTERS = 4_000
"""Of a reason's text, in a message that must stay far below SQS's limit."""


async def send_next_attempt(queue: Queue, delivery: Delivery, decision: Retry) -> None:
    """Put the trial's next attempt on the queue. The caller's message is deleted only after this returned."""
    message = delivery.message
    following = message.model_copy(
        update={
            "attempt": message.attempt + 1,
            "agent_retries": message.agent_retries + decision.charged_to_agent,
        }
    )
    delay = min(math.ceil(decision.delay_seconds), MAX_DELAY_SECONDS)
    await asyncio.to_thread(queue.send, [OutgoingMessage(encode(following), delay_seconds=delay)])


async def send_dead_letter(
    dead_letters: Queue, delivery: Delivery, attempt: Attempt, decision: DeadLetter, *, logs: str | None
) -> None:
    """Put the message, as it came, on the dead-letter queue, with what is known in its attributes."""
    last = attempt.failures[-1] if attempt.failures else None
    details = {
        "began_at": attempt.began_at.isoformat(),
        "traceback": "".join(traceback.format_exception(last))[-TRACEBACK_CHARACTERS:] if last else None,
        "attempt_id": attempt.attempt_id,
        "attempts": delivery.message.attempts,
        "pods": attempt.pod_names,
        "receive_count": delivery.receive_count,
    }
    attributes = {
        "job": attempt.job,
        "trial": attempt.trial,
        "attempt": str(attempt.number),
        "cause": decision.cause,
        "reason": decision.reason[:REASON_CHARACTERS] or decision.cause,
        "worker": attempt.worker,
        "logs": logs or "none",
        "at": datetime.now(UTC).isoformat(),
        "details": json.dumps(details),
    }
    await asyncio.to_thread(dead_letters.send, [OutgoingMessage(delivery.body, attributes)])
