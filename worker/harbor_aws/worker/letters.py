"""What a worker puts on the queues itself: the next attempt of a trial, and dead letters."""

from __future__ import annotations

import asyncio
import json
import math
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import PodError
from harbor_aws.infra.queues import MAX_DELAY_SECONDS, OutgoingMessage
from harbor_aws.producer.dead_letters.letter import NO_LOGS, LetterDetails
from harbor_aws.producer.dead_letters.pod_end import PodEnd
from harbor_aws.producer.history import encode_fitting, with_attempt
from harbor_aws.producer.message import AttemptRecord
from harbor_aws.worker.outcome import Charge
from harbor_aws.worker.scrub.records import scrubbed_record

if TYPE_CHECKING:
    from harbor_aws.infra.queues import Queue
    from harbor_aws.worker.attempt import Attempt
    from harbor_aws.worker.delivery import Delivery
    from harbor_aws.worker.outcome import DeadLetter, Retry

TRACEBACK_CHARACTERS = 4_000
"""Of a traceback's end."""

REASON_CHARACTERS = 4_000
"""Of a reason's text, in a message that must stay far below SQS's limit."""


async def send_next_attempt(queue: Queue, delivery: Delivery, attempt: Attempt, decision: Retry) -> None:
    """Put the trial's next attempt on the queue. The caller's message is deleted only after this returned."""
    message = delivery.message
    following = message.model_copy(
        update={
            "attempt": message.attempt + 1,
            "agent_retries": message.agent_retries + (decision.charge is Charge.AGENT),
            "waits": message.waits + (decision.charge is Charge.WAIT),
            "refusals": message.refusals + 1 if decision.charge is Charge.WAIT else 0,
            "disruptions": message.disruptions + (decision.charge is Charge.DISRUPTION),
            "history": with_attempt(message.history, _record(delivery, attempt, decision)),
        }
    )
    delay = min(math.ceil(decision.delay_seconds), MAX_DELAY_SECONDS)
    await asyncio.to_thread(queue.send, [OutgoingMessage(encode_fitting(following), delay_seconds=delay)])


async def send_dead_letter(
    dead_letters: Queue, delivery: Delivery, attempt: Attempt, decision: DeadLetter, *, logs: str | None
) -> None:
    """Put the message, as it came, on the dead-letter queue, with what is known in its attributes."""
    scrub = attempt.scrubber.text
    last = attempt.failures[-1] if attempt.failures else None
    message = delivery.message
    details = LetterDetails(
        attempts=list(with_attempt(message.history, _record(delivery, attempt, decision))),
        budget=message.attempts,
        receive_count=delivery.receive_count,
        message_id=delivery.message_id,
        pods=attempt.pod_names,
        pod=_pod_end(attempt),
        traceback=scrub("".join(traceback.format_exception(last)))[-TRACEBACK_CHARACTERS:] if last else None,
    )
    attributes = {
        "job": attempt.job,
        "trial": attempt.trial,
        "attempt": str(attempt.number),
        "cause": decision.cause,
        "reason": scrub(decision.reason)[:REASON_CHARACTERS] or decision.cause,
        "worker": attempt.worker,
        "logs": logs or NO_LOGS,
        "at": datetime.now(UTC).isoformat(),
        "details": json.dumps(
            scrubbed_record(details.model_dump(mode="json", exclude_none=True), details, attempt.scrubber),
            ensure_ascii=False,
        ),
    }
    await asyncio.to_thread(dead_letters.send, [OutgoingMessage(delivery.body, attributes)])


def _record(delivery: Delivery, attempt: Attempt, decision: Retry | DeadLetter) -> AttemptRecord:
    return AttemptRecord(
        replay=delivery.message.replay,
        attempt=attempt.number,
        attempt_id=attempt.attempt_id,
        worker=attempt.worker,
        pod=attempt.pod_names[0] if attempt.pod_names else None,
        began_at=attempt.began_at,
        ended_at=datetime.now(UTC),
        cause=decision.cause,
        reason=attempt.scrubber.text(decision.reason),
        consumed=attempt.consumed,
    )


def _pod_end(attempt: Attempt) -> PodEnd | None:
    """The pod that caused the newest failure that a pod caused, or else the pod that was seen last."""
    error = next((failure for failure in reversed(attempt.failures) if isinstance(failure, PodError)), None)
    if error is None:
        return attempt.pod_ends[-1] if attempt.pod_ends else None
    told = PodEnd(name=error.pod, reason=error.reason, said=attempt.scrubber.text(str(error))[:REASON_CHARACTERS])
    seen = next((end for end in reversed(attempt.pod_ends) if end.name == error.pod), told)
    return seen.model_copy(update={"reason": told.reason, "said": told.said})
