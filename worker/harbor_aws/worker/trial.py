"""One delivered trial, from its message to its ending."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from harbor.models.job.config import RetryConfig
from harbor.trial.hooks import TrialEvent
from harbor.trial.trial import Trial

from harbor_aws.infra.errors import HarborAwsError, PermanentError
from harbor_aws.producer.portable import runnable_trial_config
from harbor_aws.producer.state import Phase
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.letters import send_dead_letter, send_next_attempt
from harbor_aws.worker.outcome import Commit, DeadLetter, Facts, Retry, decide
from harbor_aws.worker.record import Recorder

if TYPE_CHECKING:
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

logger = logging.getLogger(__name__)

_PHASES = {
    TrialEvent.AGENT_START: Phase.AGENT,
    TrialEvent.VERIFICATION_START: Phase.VERIFIER,
    TrialEvent.END: Phase.COLLECTING,
}


class TrialNotMadeError(PermanentError):
    """Harbor could not make a trial of the message: the task, the agent or the configuration is at fault."""


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
        worker: str,
        directory: Path,
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._store = store
        self._queue = queue
        self._dead_letters = dead_letters
        self._pods = pods
        self._bundles = bundles
        self._worker = worker
        self._directory = directory

    async def __call__(self, delivery: Delivery) -> None:
        """Run the trial to one of its endings; see :class:`~harbor_aws.worker.delivery.TrialHandler`."""
        attempt = self._attempt(delivery.message)
        record = Recorder(self._store, attempt)
        if await record.is_committed():
            logger.info("Trial %s has its result already; the message is a duplicate.", attempt.trial)
            return
        await record.state(Phase.STARTING)
        with tempfile.TemporaryDirectory(prefix="harbor-aws-trial-", dir=self._directory) as directory:
            trial_directory = Path(directory) / attempt.trial
            try:
                if delivery.message.attempt > 1 or delivery.receive_count > 1:
                    await self._pods.delete_leftovers(job=attempt.job, trial=attempt.trial)
                result = await self._run(delivery.message, attempt, record, directory=Path(directory))
            except asyncio.CancelledError as cancelled:
                if cancelled.args == ("drain",):
                    await self._hand_back(record, trial_directory)
                raise
            except HarborAwsError as error:
                attempt.failures.append(error)
                result = None
            await self._end(delivery, attempt, record, result, trial_directory=trial_directory)

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
        )

    async def _run(self, message: TrialMessage, attempt: Attempt, record: Recorder, *, directory: Path) -> TrialResult:
        """Let Harbor run the trial in ``directory``.

        Raises:
            HarborAwsError: the task's files could not be had.
            TrialNotMadeError: Harbor refused the task, the agent or the configuration.
        """
        token = current_attempt.set(attempt)
        try:
            async with self._bundles.unpacked(message.bundle, name=task_name(message)) as task_directory:
                config = runnable_trial_config(message, task_directory=task_directory, trials_directory=directory)
                try:
                    trial = await Trial.create(config)
                except Exception as error:  # Harbor raises whatever fits; all of it is the configuration's doing
                    raise TrialNotMadeError(f"Harbor could not make the trial: {error}") from error
                for event, phase in _PHASES.items():
                    trial.add_hook(event, _reporting(record, phase))
                return await trial.run()
        finally:
            current_attempt.reset(token)

    async def _end(
        self,
        delivery: Delivery,
        attempt: Attempt,
        record: Recorder,
        result: TrialResult | None,
        *,
        trial_directory: Path,
    ) -> None:
        decision = decide(_facts(delivery.message, attempt, result), RetryConfig(**delivery.message.retry))
        logs = await record.archive(trial_directory)
        match decision:
            case Commit():
                assert result is not None and logs is not None  # noqa: S101, PT018 - only a result is committed
                ours = await record.commit(result, archive=logs)
                await record.state(Phase.COMMITTED)
                logger.info(
                    "Trial %s %s.", attempt.trial, "is committed" if ours else "was committed by another worker"
                )
            case Retry():
                await send_next_attempt(self._queue, delivery, decision)
                await record.state(Phase.RETRYING, reason=f"{decision.cause}: {decision.reason}", logs=logs)
                logger.warning(
                    "Trial %s failed at attempt %d and is tried again in %.0f s: %s: %s",
                    attempt.trial, attempt.number, decision.delay_seconds, decision.cause, decision.reason,
                )  # fmt: skip
            case DeadLetter():
                await send_dead_letter(self._dead_letters, delivery, attempt, decision, logs=logs)
                await record.state(Phase.DEAD, reason=f"{decision.cause}: {decision.reason}", logs=logs)
                logger.error(
                    "Trial %s is a dead letter after attempt %d: %s: %s",
                    attempt.trial, attempt.number, decision.cause, decision.reason,
                )  # fmt: skip

    async def _hand_back(self, record: Recorder, trial_directory: Path) -> None:
        try:
            logs = await record.archive(trial_directory)
        except HarborAwsError as error:
            logger.warning("The logs of an interrupted attempt were not kept: %s", error)
            logs = None
        await record.state(Phase.HANDED_BACK, logs=logs)


def task_name(message: TrialMessage) -> str:
    """The name of the task's directory, which Harbor shows as the environment's name."""
    task = message.trial_config["task"]
    return Path(task.get("path") or task["name"]).name


def _facts(message: TrialMessage, attempt: Attempt, result: TrialResult | None) -> Facts:
    exception = result.exception_info if result else None
    return Facts(
        attempt=message.attempt,
        attempts=message.attempts,
        failures=attempt.failures,
        exception_type=exception.exception_type if exception else None,
        exception_message=exception.exception_message if exception else "",
    )


def _reporting(record: Recorder, phase: Phase) -> HookCallback:
    async def report(_event: object) -> None:
        await record.state(phase)

    return report
