"""One delivered trial, from its message to its ending."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from harbor.trial.hooks import TrialEvent

from harbor_aws.infra.cluster import AccessRefusedError
from harbor_aws.infra.errors import HarborAwsError, InfrastructureError, PermanentError
from harbor_aws.producer.state import Phase
from harbor_aws.worker.admission import Admission, NotAdmittedError
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.completion import to_cancellation, to_completion
from harbor_aws.worker.delivery import PutOffError, SupersededError
from harbor_aws.worker.evidence import judge, time_lost
from harbor_aws.worker.letters import send_dead_letter, send_next_attempt
from harbor_aws.worker.making import make_trial, task_name
from harbor_aws.worker.outcome import Charge, Commit, DeadLetter, Retry
from harbor_aws.worker.overtaken import has_twin, is_overtaken, is_second_replay
from harbor_aws.worker.pod_usage import consumed_before, predecessor
from harbor_aws.worker.record import Recorder
from harbor_aws.worker.scrub.known import referred_to
from harbor_aws.worker.scrub.records import scrubbed_result
from harbor_aws.worker.scrub.scrubber import Scrubber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable

    from harbor.models.trial.result import TrialResult
    from harbor.trial.hooks import HookCallback

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.infra.queues import Queue
    from harbor_aws.infra.settings import Settings
    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.message import TrialMessage
    from harbor_aws.worker.bundles import BundleCache
    from harbor_aws.worker.delivery import Delivery
    from harbor_aws.worker.pods import PodKeeper
    from harbor_aws.worker.stalls import Stalls

logger = logging.getLogger(__name__)

UNRECORDED_RECEIVES = 5
"""A message that was received so often, and whose trial's ending still cannot be written, becomes a dead letter."""

_PHASES = {
    TrialEvent.AGENT_START: Phase.AGENT,
    TrialEvent.VERIFICATION_START: Phase.VERIFIER,
    TrialEvent.END: Phase.COLLECTING,
}


class TrialTooLongError(PermanentError):
    """The attempt took longer than a message may stay hidden."""


class UnexpectedError(InfrastructureError):
    """Something that nobody foresaw went wrong in the worker; the trial is tried again within its budget."""


class TrialRunner:
    """The worker's :class:`~harbor_aws.worker.delivery.TrialHandler`; its parts are shared by the process's trials."""

    def __init__(
        self,
        *,
        stack: Stack,
        settings: Settings,
        store: ObjectStore,
        queue: Queue,
        dead_letters: Queue,
        pods: PodKeeper,
        bundles: BundleCache,
        stalls: Stalls,
        worker: str,
        directory: Path,
        scrubber: Scrubber | None = None,
    ) -> None:
        self._scrubber = scrubber or Scrubber()
        self._stack = stack
        self._settings = settings
        self._store = store
        self._queue = queue
        self._dead_letters = dead_letters
        self._pods = pods
        self._bundles = bundles
        self._stalls = stalls
        self._worker = worker
        self._directory = directory
        self._admission = Admission(store)

    async def __call__(self, delivery: Delivery) -> None:
        """Run the trial to one of its endings; see :class:`~harbor_aws.worker.delivery.TrialHandler`."""
        attempt = self._attempt(delivery.message)
        current_attempt.set(attempt)  # for good: a delivery has a task of its own
        try:
            await self._admission.check(delivery.message)
        except NotAdmittedError as error:
            await self._refuse(delivery, attempt, error)
            return
        record = Recorder(self._store, attempt, delivery)
        if not await _begin(record, delivery, attempt):
            return
        async with _scratch(self._directory) as directory:
            trial_directory = directory / attempt.trial
            try:
                result = await self._run(delivery, attempt, record, directory=directory)
            except asyncio.CancelledError as cancelled:
                if cancelled.args == ("drain",):
                    await self._hand_back(record, trial_directory)
                raise
            refusal = next((failure for failure in attempt.failures if isinstance(failure, AccessRefusedError)), None)
            if refusal is not None:  # it says nothing of the trial, and would make dead letters of the whole queue
                await self._hand_back(record, trial_directory, reason=str(refusal))
                raise refusal
            ending = self._end(delivery, attempt, record, result, trial_directory=trial_directory)
            try:
                await to_completion(ending)
            except asyncio.CancelledError:
                logger.info("Trial %s was brought to its ending although it was cancelled meanwhile.", attempt.trial)

    async def _refuse(self, delivery: Delivery, attempt: Attempt, error: NotAdmittedError) -> None:
        """Nothing is written about the trial that the message names: it is not the trial's own."""
        attempt.failures.append(error)
        decision = DeadLetter(cause=type(error).__name__, reason=str(error))
        await send_dead_letter(self._dead_letters, delivery, attempt, decision, logs=None)
        logger.error("A message was refused and is a dead letter: %s", error, extra={"action": "refuse_message"})

    def _attempt(self, message: TrialMessage) -> Attempt:
        return Attempt(
            stack=self._stack,
            settings=self._settings,
            pods=self._pods,
            worker=self._worker,
            job=message.job,
            trial=message.trial,
            number=message.attempt,
            attempt_id=f"{message.attempt:02d}-{uuid4().hex[:8]}",
            scrubber=self._scrubber,
        )

    async def _run(
        self, delivery: Delivery, attempt: Attempt, record: Recorder, *, directory: Path
    ) -> TrialResult | None:
        """Let Harbor run the trial in ``directory``; its result, or ``None`` and the reason in the attempt's failures.

        However that ends, the attempt has no pod afterwards.

        Raises:
            asyncio.CancelledError: also when Harbor or the agent swallowed it.
        """
        try:
            return await to_cancellation(self._run_in_time(delivery, attempt, record, directory=directory))
        finally:
            left = [self._pods.delete(name) for name in attempt.pod_names if self._pods.knows(name)]
            if left:  # Harbor stops no environment whose start it cancelled at a bad moment
                await to_completion(_all(left))

    async def _run_in_time(
        self, delivery: Delivery, attempt: Attempt, record: Recorder, *, directory: Path
    ) -> TrialResult | None:
        deadline = asyncio.timeout(self._settings.trial_deadline_seconds)
        try:
            async with deadline:
                if not delivery.message.is_first or delivery.receive_count > 1:
                    left = await self._pods.delete_leftovers(job=attempt.job, trial=attempt.trial)
                    attempt.consumed_before = consumed_before(delivery.message, attempt.predecessor, left=left)
                result = await self._run_with_harbor(delivery.message, attempt, record, directory=directory)
        except HarborAwsError as error:
            attempt.failures.append(error)
            result = None
        except Exception as error:
            result = None
            if isinstance(error, TimeoutError) and deadline.expired():
                hours = self._settings.trial_deadline_seconds / 3600
                attempt.failures.append(TrialTooLongError(f"The attempt took longer than {hours:.1f} hours."))
            else:
                logger.exception("Trial %s failed in a way that was not foreseen.", attempt.trial)
                unexpected = UnexpectedError(f"{type(error).__name__}: {error}")
                unexpected.__cause__ = error
                attempt.failures.append(unexpected)
        return result

    async def _run_with_harbor(
        self, message: TrialMessage, attempt: Attempt, record: Recorder, *, directory: Path
    ) -> TrialResult:
        await attempt.learn(referred_to(message.trial_config, os.environ))
        async with self._bundles.unpacked(message.bundle, name=task_name(message)) as task_directory:
            trial = await make_trial(message, task_directory=task_directory, trials_directory=directory)
            await attempt.learn(referred_to(trial.task.config.model_dump(mode="json"), os.environ))
            for event, phase in _PHASES.items():
                trial.add_hook(event, _reporting(record, phase))
            trial.add_hook(TrialEvent.CANCEL, attempt.note_cancelled)
            async with self._pods.launches.reserved() as attempt.turn:
                await trial.run()
            # What Harbor wrote is what it scrubbed secrets from; what it returns is not.
            return await asyncio.to_thread(scrubbed_result, trial.paths.result_path, attempt.scrubber)

    async def _end(
        self,
        delivery: Delivery,
        attempt: Attempt,
        record: Recorder,
        result: TrialResult | None,
        *,
        trial_directory: Path,
    ) -> None:
        """Bring the attempt to its ending. Once begun that is not cut off: half an ending would be two.

        Raises:
            HarborAwsError: nothing could be recorded, and the message may come again.
        """
        try:
            await self._decide(delivery, attempt, record, result, trial_directory=trial_directory)
        except SupersededError:
            raise
        except HarborAwsError as error:
            if delivery.receive_count < UNRECORDED_RECEIVES:
                raise
            with suppress(InfrastructureError):  # the write may have been done, and not have been answered
                if await record.is_committed():
                    return
                await _ensure_ours(record, attempt)
            attempt.failures.append(error)
            reason = f"What became of the attempt cannot be written: {error}"
            await self._bury(delivery, attempt, record, DeadLetter(type(error).__name__, reason), logs=None)

    async def _decide(
        self,
        delivery: Delivery,
        attempt: Attempt,
        record: Recorder,
        result: TrialResult | None,
        *,
        trial_directory: Path,
    ) -> None:
        """Archive, decide, and do what was decided."""
        attempt.outages.add_all(self._stalls.since(attempt.began))
        if lost := time_lost(result, outages=attempt.outages, span=attempt.span()):
            attempt.failures.append(lost)
        chance = random.random()  # noqa: S311 - it spreads load, and guards nothing
        foreseen = judge(delivery.message, attempt, result, chance=chance)
        waits = isinstance(foreseen, Retry) and foreseen.charge is Charge.WAIT  # some four times an hour, for a day
        logs = None if waits else await self._archive(attempt, record, trial_directory, must=foreseen == Commit())
        decision = judge(delivery.message, attempt, result, chance=chance)
        if decision != Commit() and await record.is_committed():
            logger.info("Trial %s failed here, but has its result already.", attempt.trial)
            await record.expire(logs)
            return
        if decision != Commit():
            try:
                await _ensure_ours(record, attempt)
            except SupersededError:
                await record.expire(logs)
                raise
        match decision:
            case Commit():
                assert result is not None and logs is not None  # noqa: S101, PT018 - only a result is committed
                ours = await record.commit(result, archive=logs)
                if not ours:
                    await record.expire(logs)
                logger.info("Trial %s %s.", attempt.trial, "is committed" if ours else "was committed by another")
            case Retry():
                await send_next_attempt(self._queue, delivery, attempt, decision)
                await record.state(Phase.RETRYING, reason=f"{decision.cause}: {decision.reason}", logs=logs)
                logger.warning(
                    "Trial %s failed at attempt %d and is tried again in %.0f s: %s: %s",
                    attempt.trial, attempt.number, decision.delay_seconds, decision.cause, decision.reason,
                )  # fmt: skip
            case DeadLetter():
                await self._bury(delivery, attempt, record, decision, logs=logs)

    async def _bury(
        self, delivery: Delivery, attempt: Attempt, record: Recorder, decision: DeadLetter, *, logs: str | None
    ) -> None:
        await send_dead_letter(self._dead_letters, delivery, attempt, decision, logs=logs)
        await record.state(Phase.DEAD, reason=f"{decision.cause}: {decision.reason}", logs=logs)
        logger.error(
            "Trial %s is a dead letter after attempt %d: %s: %s",
            attempt.trial, attempt.number, decision.cause, decision.reason,
        )  # fmt: skip

    async def _archive(self, attempt: Attempt, record: Recorder, trial_directory: Path, *, must: bool) -> str | None:
        """What the attempt left. A result needs it; a failure goes on its way without.

        Raises:
            HarborAwsError: S3 does not take it, and ``must``.
        """
        try:
            return await record.archive(trial_directory)
        except OSError as error:  # the worker's disk: the attempt is lost, the trial is not
            failure = UnexpectedError(f"What the attempt left could not be packed: {error}")
            failure.__cause__ = error
            attempt.failures.append(failure)
        except HarborAwsError as error:
            if must:
                raise
            logger.warning("The logs of trial %s were not kept: %s", attempt.trial, error)
        return None

    async def _hand_back(self, record: Recorder, trial_directory: Path, *, reason: str | None = None) -> None:
        """Say so, and keep the logs so far for a while: the same attempt is made anew elsewhere."""
        try:
            logs = await record.archive(trial_directory)
        except (HarborAwsError, OSError) as error:
            logger.warning("The logs of an interrupted attempt were not kept: %s", error)
            logs = None
        await record.state(Phase.HANDED_BACK, reason=reason, logs=logs)
        await record.expire(logs)


async def _begin(record: Recorder, delivery: Delivery, attempt: Attempt) -> bool:
    """Say that the trial is begun, and know what came before; ``False`` if nothing is to be done: it has its result, or
    is further on, or its replay is another message.

    Raises:
        PutOffError: another message of this attempt is being run.
    """
    message = delivery.message
    if await record.is_committed():
        logger.info("Trial %s has its result already; the message is a duplicate.", message.trial)
        return False
    begins_replay = message.replay > 0 and message.attempt == 1
    is_doubtful = begins_replay and not await record.is_the_replay()
    is_new = message.is_first and delivery.receive_count == 1
    last = None if is_new else await record.last_state()
    while True:
        if is_overtaken(delivery, last) or (is_doubtful and is_second_replay(delivery, last)):
            where = f"at attempt {last.attempt} of replay {last.replay}" if last else "in the queue"
            logger.info("Trial %s is %s already; the message is an old or a second one.", message.trial, where)
            return False
        if has_twin(delivery, last):
            raise PutOffError(f"Another message of trial {message.trial}, attempt {message.attempt}, is being run.")
        if delivery.receive_count > 1:
            attempt.predecessor = predecessor(message, last)
        attempt.consumed_before = consumed_before(message, attempt.predecessor)
        if await record.begin():
            return True
        last = await record.last_state()


async def _ensure_ours(record: Recorder, attempt: Attempt) -> None:
    if await record.is_superseded():
        raise SupersededError(f"Another worker has trial {attempt.trial}; this one's failure counts for nothing.")


@asynccontextmanager
async def _scratch(directory: Path) -> AsyncIterator[Path]:
    """A directory of the trial's own, removed off the loop: an agent may have left tens of thousands of files."""
    scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="harbor-aws-trial-", dir=directory))
    try:
        yield scratch
    finally:
        await to_completion(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))


async def _all(works: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*works)


def _reporting(record: Recorder, phase: Phase) -> HookCallback:
    async def report(_event: object) -> None:
        task = asyncio.current_task()
        if task is None or not task.cancelling():  # else it may be another worker's to say by now
            await record.state(phase)

    return report
