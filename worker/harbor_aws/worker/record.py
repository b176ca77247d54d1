"""What a worker writes into the bucket about a trial: its state, what an attempt left, its one result."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_random_exponential

from harbor_aws.infra.errors import HarborAwsError, PermanentError, TransientError
from harbor_aws.infra.layout import attempt_key, replay_key, result_key, state_key
from harbor_aws.producer.bundle import pack_directory
from harbor_aws.producer.state import CommittedResult, Phase, ReplayMarker, TrialState
from harbor_aws.worker.overtaken import is_superseded
from harbor_aws.worker.scrub.records import scrub_trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harbor.models.trial.result import TrialResult

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.worker.attempt import Attempt
    from harbor_aws.worker.delivery import Delivery

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 900
"""How long a finished trial keeps trying to reach S3 before it gives up its work and leaves the message to another."""


class Recorder:
    """Writes one attempt's records. The first state must be written, and the result; others that cannot be are a log
    line.

    States are written on the condition that the one there is the one that this attempt knows: of several attempts that
    take themselves for a trial's only one, the last to begin says where the trial is.
    """

    def __init__(self, store: ObjectStore, attempt: Attempt, delivery: Delivery) -> None:
        self._store = store
        self._attempt = attempt
        self._delivery = delivery
        self._key = state_key(attempt.job, attempt.trial)
        self._known: str | None = None
        """The ETag of the state that this attempt read or wrote last; ``None`` if there was none."""

    async def is_committed(self) -> bool:
        return await self._patiently(self._store.exists, result_key(self._attempt.job, self._attempt.trial))

    async def begin(self) -> bool:
        """Say that the trial starts; ``False`` if its state is not what :meth:`last_state` said any more."""
        written = await self._patiently(
            self._store.put_if_unchanged, self._key, self._state(Phase.STARTING), etag=self._known
        )
        self._known = written or self._known
        return written is not None

    async def state(self, phase: Phase, *, reason: str | None = None, logs: str | None = None) -> None:
        """Say where the trial is, unless another attempt has begun since; never fails the trial."""
        body = self._state(phase, reason=reason, logs=logs)
        try:
            if await self._write(body) or (await self._is_unheard_of() and await self._write(body)):
                return
            logger.info("The state of trial %s is another attempt's to say.", self._attempt.trial)
        except HarborAwsError as error:
            logger.warning("The state of trial %s was not written: %s", self._attempt.trial, error)

    async def _is_unheard_of(self) -> bool:
        """Whether the state that is there is this attempt's own, of which no answer had come. One of another attempt's
        stays unknown, so that nothing is written over it later."""
        known = self._known
        last = await asyncio.to_thread(self._look)
        is_own = last is not None and last.attempt_id == self._attempt.attempt_id
        if not is_own:
            self._known = known
        return is_own

    async def is_superseded(self) -> bool:
        """Whether another attempt has begun since."""
        return is_superseded(self._delivery, await self.last_state(), attempt_id=self._attempt.attempt_id)

    async def _write(self, body: bytes) -> bool:
        written = await asyncio.to_thread(self._store.put_if_unchanged, self._key, body, etag=self._known)
        self._known = written or self._known
        return written is not None

    def _state(self, phase: Phase, *, reason: str | None = None, logs: str | None = None) -> bytes:
        attempt = self._attempt
        state = TrialState(
            trial=attempt.trial,
            phase=phase,
            attempt=attempt.number,
            replay=self._delivery.message.replay,
            message_id=self._delivery.message_id,
            attempt_id=attempt.attempt_id,
            pod=attempt.pod_names[0] if attempt.pod_names else None,
            worker=attempt.worker,
            since=datetime.now(UTC),
            reason=reason and attempt.scrubber.text(reason),
            logs=logs,
            pods=attempt.used.usages,
            consumed=attempt.consumed_before,
        )
        return state.model_dump_json(exclude_none=True).encode()

    async def archive(self, trial_directory: Path) -> str | None:
        """Upload what the attempt left as one archive, made beside it; its key, or ``None`` if it left nothing.

        Secrets are taken out first, of the directory itself.
        """
        key = attempt_key(self._attempt.job, self._attempt.trial, self._attempt.attempt_id)
        archive = trial_directory.with_name(f"{trial_directory.name}.tar.zst")
        try:
            if not await asyncio.to_thread(self._pack, trial_directory, archive):
                return None
            await self._patiently(self._store.upload, key, archive)
        finally:
            archive.unlink(missing_ok=True)
        return key

    async def commit(self, result: TrialResult, *, archive: str) -> bool:
        """Write the trial's result unless it has one: ``True`` if ours is the one."""
        attempt = self._attempt
        committed = CommittedResult(
            trial=attempt.trial,
            attempt=attempt.number,
            retries=self._delivery.message.retries,
            attempt_id=attempt.attempt_id,
            archive=archive,
            worker=attempt.worker,
            committed_at=datetime.now(UTC),
            rewards=result.verifier_result.rewards if result.verifier_result else None,
            exception_type=result.exception_info.exception_type if result.exception_info else None,
            result=result.model_dump(mode="json"),
            pods=attempt.used.usages,
            consumed=attempt.consumed,
        )
        body = committed.model_dump_json().encode()
        return await self._patiently(self._store.put_if_absent, result_key(attempt.job, attempt.trial), body)

    async def expire(self, archive: str | None) -> None:
        """Leave an archive that nothing refers to, to the bucket's life-cycle rule; never fails the trial."""
        if archive is None:
            return
        try:
            await asyncio.to_thread(self._store.expire, archive)
        except HarborAwsError as error:
            logger.warning("An archive that is not needed was not marked to expire: %s", error)

    async def last_state(self) -> TrialState | None:
        """What was last said of the trial, by whichever worker."""
        return await self._patiently(self._look)

    def _look(self) -> TrialState | None:
        found = self._store.get_version(self._key)
        self._known = found.etag if found else None
        try:
            return TrialState.model_validate_json(found.body) if found else None
        except ValidationError as error:
            raise PermanentError(
                f"The state of trial {self._attempt.trial} was not written by this version of harbor-aws, or by none."
            ) from error

    async def is_the_replay(self) -> bool:
        """Whether the delivery's message is the one of its replay that counts; if none is yet, it becomes that.

        Who replays marks what was sent only afterwards, and may send twice when interrupted in between.
        """
        message = self._delivery.message
        key = replay_key(message.job, message.trial, message.replay)
        marker = ReplayMarker(message_id=self._delivery.message_id or "", marked_at=datetime.now(UTC))
        body = await self._patiently(self._store.get, key)
        if body is None:
            if await self._patiently(self._store.put_if_absent, key, marker.model_dump_json().encode()):
                return True
            body = await self._patiently(self._store.get, key)
        return body is not None and ReplayMarker.model_validate_json(body).message_id == marker.message_id

    def _pack(self, trial_directory: Path, archive: Path) -> bool:
        if not trial_directory.is_dir():
            return False
        if found := scrub_trial(trial_directory, self._attempt.scrubber):
            names = ", ".join(sorted(found))
            logger.warning("What trial %s left held secrets, which were taken out: %s", self._attempt.trial, names)
        pack_directory(trial_directory, archive)
        return True

    async def _patiently[**P, R](self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        async for trying in AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_delay(PATIENCE_SECONDS),
            wait=wait_random_exponential(multiplier=1, max=30),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        ):
            with trying:
                return await asyncio.to_thread(call, *args, **kwargs)
        raise AssertionError("unreachable: tenacity returns or raises")
