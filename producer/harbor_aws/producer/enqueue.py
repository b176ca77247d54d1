"""Sends a prepared job: bundles, the plan, and last the messages.

Nothing is on the queue before everything that its trials need is in place. The plan is the job's claim on its name, and
all that is needed to go on after an interruption.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from itertools import batched
from math import ceil
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError, UsageError
from harbor_aws.infra.layout import PLAN_NAME, bundle_key, job_key, results_prefix, states_prefix, trial_of
from harbor_aws.infra.queues import BATCH_ENTRIES, OutgoingMessage
from harbor_aws.producer.celery_message import encode
from harbor_aws.producer.metrics import METRICS_NAME, dump_metrics
from harbor_aws.producer.planfile import dump_plan, load_plan
from harbor_aws.producer.portable import dump_job_config
from harbor_aws.producer.sent import SendingElsewhereError, held_note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.infra.queues import Queue
    from harbor_aws.producer.plan import Prepared
    from harbor_aws.producer.planfile import PlannedTrial
    from harbor_aws.producer.sent import SentNote

    type Advance = Callable[[], None]
    """Called each time one more of what was to be done is done; from any thread."""

LEAST_BETWEEN_NOTES = 200
"""Trials. To note what was sent costs about as much as to send ten of them, while no others are sent."""

MOST_NOTES = 50
"""Of one sending: each names all that were sent before, 1.5 MB for 50,000 trials."""

_UPLOADS_AT_ONCE = 8
_BATCHES_AT_ONCE = 8


class InterruptedSendError(HarborAwsError):
    """Sending ended early. What was sent will run; the rest is in the plan.

    Attributes:
        sent: messages that were sent.
        total: messages that were to be sent.
    """

    def __init__(self, job: str, *, sent: int, total: int, cause: BaseException) -> None:
        why = "interrupted" if isinstance(cause, KeyboardInterrupt) else f"stopped ({cause})"
        super().__init__(
            f"Sending was {why}: {sent} of {total} trials are in the queue and will run. "
            f"Send the rest with `harbor-aws enqueue --resume {job}`."
        )
        self.sent = sent
        self.total = total


def ensure_name_is_free(store: ObjectStore, job: str) -> None:
    """Raise :class:`UsageError` if there is a job of this name."""
    if store.exists(job_key(job, PLAN_NAME)):
        raise _taken(job)


def upload_bundles(store: ObjectStore, bundles: dict[str, Path], *, advance: Advance) -> int:
    """Upload the bundles that the bucket lacks; how many those were."""

    def upload(digest: str, archive: Path) -> bool:
        key = bundle_key(digest)
        missing = not store.exists(key)
        if missing:
            store.upload(key, archive)
        advance()
        return missing

    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        return sum(pool.map(lambda item: upload(*item), bundles.items()))


def claim(store: ObjectStore, prepared: Prepared) -> None:
    """Write the plan, which makes the job, and what Harbor wants to know of it.

    Raises:
        UsageError: somebody else has the name.
    """
    if not store.put_if_absent(job_key(prepared.job, PLAN_NAME), dump_plan(prepared.trials)):
        raise _taken(prepared.job)
    store.put(job_key(prepared.job, METRICS_NAME), dump_metrics(prepared.metrics))
    store.put(job_key(prepared.job, "lock.json"), prepared.lock.model_dump_json(exclude_none=True).encode())
    store.put(job_key(prepared.job, "config.json"), dump_job_config(prepared.config).encode())


def send(store: ObjectStore, queue: Queue, job: str, trials: Sequence[PlannedTrial], *, advance: Advance) -> None:
    """Put the first message of each trial on the queue, and note which were sent.

    Raises:
        InterruptedSendError: not all could be sent.
        SendingElsewhereError: another command sends them.
    """
    with ExitStack() as stack:
        try:
            note = stack.enter_context(held_note(store, job))
        except SendingElsewhereError:
            raise
        except (KeyboardInterrupt, HarborAwsError) as error:
            raise InterruptedSendError(job, sent=0, total=len(trials), cause=error) from error
        _send(queue, job, trials, note, advance)


def resume(store: ObjectStore, queue: Queue, job: str, *, on_total: Callable[[int], None], advance: Advance) -> int:
    """Send what of an interrupted enqueue has not been sent, as far as the bucket tells: no note of it, no state, no
    result. How many those were.

    After ``kill -9`` that may be more than what is missing, by at most what was sent since the last note: the greater
    of :data:`LEAST_BETWEEN_NOTES` trials and the job's part of :data:`MOST_NOTES`. These get a second message, and run
    twice unless the worker that receives it finds that the trial runs, or has a result.

    Args:
        on_total: called once with the number of trials to send.

    Raises:
        UsageError: there is no such job, or it was interrupted before it was complete.
        InterruptedSendError: not all could be sent.
        SendingElsewhereError: another command sends them.
    """
    plan = load_plan(store, job)
    if not store.exists(job_key(job, "config.json")):
        raise UsageError(
            f"The enqueueing of {job!r} was interrupted before anything was sent; enqueue it again under another name."
        )
    with held_note(store, job) as note:
        known = {
            trial_of(row.key) for prefix in (states_prefix(job), results_prefix(job)) for row in store.list(prefix)
        }
        known |= note.before
        unsent = [trial for trial in plan if trial.trial not in known]
        on_total(len(unsent))
        _send(queue, job, unsent, note, advance)
    return len(unsent)


def _taken(job: str) -> UsageError:
    return UsageError(
        f"There is a job {job!r} on this stack already; choose another --job-name, or send what it lacks with "
        f"`harbor-aws enqueue --resume {job}`."
    )


def _send(queue: Queue, job: str, trials: Sequence[PlannedTrial], note: SentNote, advance: Advance) -> None:
    """Send some trials after the other, with a note in between; the holder of the note notes the last."""
    pool = ThreadPoolExecutor(_BATCHES_AT_ONCE)
    try:
        for part in batched(trials, max(LEAST_BETWEEN_NOTES, ceil(len(trials) / MOST_NOTES))):
            if note.sent:
                note.write()
            batches = batched(part, BATCH_ENTRIES)
            sending = [pool.submit(_send_batch, queue, job, batch, note.sent, advance) for batch in batches]
            for batch in as_completed(sending):
                batch.result()
    except SendingElsewhereError:
        raise
    except (KeyboardInterrupt, HarborAwsError) as error:
        pool.shutdown(cancel_futures=True)
        raise InterruptedSendError(job, sent=len(note.sent), total=len(trials), cause=error) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _send_batch(queue: Queue, job: str, trials: Sequence[PlannedTrial], sent: set[str], advance: Advance) -> None:
    queue.send([OutgoingMessage(body=encode(trial.message(job))) for trial in trials])
    sent.update(trial.trial for trial in trials)
    for _ in trials:
        advance()
