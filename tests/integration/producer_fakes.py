"""What the producer's tests have instead of a fleet: a worker that runs real Harbor trials in an environment of air."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.trial.trial import Trial

from harbor_aws.infra.aws import sqs_client
from harbor_aws.infra.layout import attempt_key, bundle_key, result_key, state_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.producer.bundle import pack_directory, unpack_bundle
from harbor_aws.producer.celery_message import decode
from harbor_aws.producer.portable import runnable_trial_config
from harbor_aws.producer.state import CommittedResult, Phase, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor.models.trial.result import TrialResult

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.message import TrialMessage

ENVIRONMENT = "tests.integration.producer_fakes:AirEnvironment"


class AirEnvironment(BaseEnvironment):
    """Commands succeed and do nothing; every verifier leaves a reward of 1 and a line of output."""

    @staticmethod
    @override
    def type() -> str:
        return "air"

    @override
    def _validate_definition(self) -> None: ...

    @override
    async def start(self, force_build: bool) -> None: ...

    @override
    async def stop(self, delete: bool) -> None: ...

    @override
    async def upload_file(self, source_path: Path | str, target_path: str) -> None: ...

    @override
    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None: ...

    @override
    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        Path(target_path).touch()

    @override
    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        Path(target_dir).mkdir(parents=True, exist_ok=True)
        if source_dir.endswith("/verifier"):
            (Path(target_dir) / "reward.txt").write_text("1")
            (Path(target_dir) / "test-stdout.txt").write_text("passed\n")

    @override
    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        return ExecResult(stdout="", stderr="", return_code=0)


class FakeWorker:
    """Takes messages as a worker does, and brings each trial to its ending."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self._sqs = sqs_client(stack)
        self._queue_url = stack.queue_url
        self._store = ObjectStore.of(stack)
        self._directory = directory

    def receive(self, limit: int = 10) -> list[tuple[str, TrialMessage]]:
        """Up to ten messages, with their receipts."""
        answer = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=min(limit, 10))
        return [(message["ReceiptHandle"], decode(message["Body"])) for message in answer.get("Messages", [])]

    def drain(self, *, limit: int = 1000, is_dead: Callable[[TrialMessage], bool] = lambda _message: False) -> int:
        """Bring up to ``limit`` trials to their endings; how many those were."""
        done = 0
        while done < limit and (received := self.receive(limit - done)):
            for receipt, message in received:
                if is_dead(message):
                    self.write_state(message, Phase.DEAD, reason="PodStartError: no such image")
                else:
                    self.write_state(message, Phase.AGENT)
                    self.commit(message)
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=receipt)
                done += 1
        return done

    def write_state(self, message: TrialMessage, phase: Phase, *, reason: str | None = None) -> None:
        state = TrialState(
            trial=message.trial,
            phase=phase,
            attempt=message.attempt,
            worker="fake",
            since=datetime.now(UTC),
            reason=reason,
        )
        self._store.put(state_key(message.job, message.trial), state.model_dump_json().encode())

    def commit(self, message: TrialMessage) -> None:
        """Run the trial with Harbor and commit its result."""
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            result = self._run(message, Path(directory))
            archive = Path(directory) / "archive"
            pack_directory(Path(directory) / message.trial, archive)
            key = attempt_key(message.job, message.trial, "01-fake")
            self._store.upload(key, archive)
        committed = CommittedResult(
            trial=message.trial,
            attempt=message.attempt,
            attempt_id="01-fake",
            archive=key,
            worker="fake",
            committed_at=datetime.now(UTC),
            rewards=result.verifier_result.rewards if result.verifier_result else None,
            exception_type=result.exception_info.exception_type if result.exception_info else None,
            result=result.model_dump(mode="json"),
        )
        assert self._store.put_if_absent(result_key(message.job, message.trial), committed.model_dump_json().encode())

    def _run(self, message: TrialMessage, directory: Path) -> TrialResult:
        task = self._directory / "tasks" / message.bundle / Path(message.trial_config["task"]["path"]).name
        if not task.exists():
            task.parent.mkdir(parents=True)
            archive = directory / "bundle"
            self._store.download(bundle_key(message.bundle), archive)
            unpack_bundle(archive, task, message.bundle)
        config = runnable_trial_config(message, task_directory=task, trials_directory=directory)
        environment: Any = config.environment.model_copy(update={"import_path": ENVIRONMENT})

        async def run() -> TrialResult:
            trial = await Trial.create(config.model_copy(update={"environment": environment}))
            return await trial.run()

        return asyncio.run(run())
