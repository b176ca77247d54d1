"""An environment and agents that do as the test says, for Harbor's own trials in memory; and a bucket and a queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, override

from harbor.agents.base import BaseAgent
from harbor.agents.installed.base import NonZeroAgentExitCodeError
from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.environments.capabilities import EnvironmentCapabilities
from tests.unit.object_versions import put_if_unchanged, version_of

from harbor_aws.infra.cluster import AccessRefusedError
from harbor_aws.infra.errors import ExecError, PodGoneError, TransientError
from harbor_aws.infra.objects import ObjectMissingError
from harbor_aws.producer.dead_letters.pod_end import ContainerState, PodEnd, PodEvent
from harbor_aws.worker.attempt import current_attempt
from harbor_aws.worker.launch_rate import Launches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.objects import ObjectVersion
    from harbor_aws.infra.queues import OutgoingMessage


POD_END = PodEnd(
    name="pod-1",
    reason="OOMKilled",
    said="the cluster's words",
    container=ContainerState(state="terminated", reason="OOMKilled", exit_code=137),
    events=(PodEvent(reason="Evicted", message="node is full", count=2),),
)


class MemoryEnvironment(BaseEnvironment):
    """Runs nothing; its verifier always leaves the reward 1."""

    @staticmethod
    @override
    def type() -> str:
        return "memory"

    @property
    @override
    def capabilities(self) -> EnvironmentCapabilities:
        return EnvironmentCapabilities()

    @override
    def _validate_definition(self) -> None: ...

    @override
    async def start(self, force_build: bool) -> None: ...

    @override
    async def stop(self, delete: bool) -> None: ...

    @override
    async def exec(self, command: str, *args: Any, **kwargs: Any) -> ExecResult:
        return ExecResult(stdout="", stderr="", return_code=0)

    @override
    async def upload_file(self, source_path: Path | str, target_path: str) -> None: ...

    @override
    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None: ...

    @override
    async def download_file(self, source_path: str, target_path: Path | str) -> None: ...

    @override
    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        if "verifier" in source_dir:
            Path(target_dir).mkdir(parents=True, exist_ok=True)
            (Path(target_dir) / "reward.txt").write_text("1")


class ForgottenPodsEnvironment(MemoryEnvironment):
    """Has two pods, of which only the first goes when it is stopped."""

    @override
    async def start(self, force_build: bool) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        self._pods = cast("MemoryPods", attempt.pods)
        attempt.pod_names += ["stopped", "forgotten"]
        self._pods.known |= {"stopped", "forgotten"}

    @override
    async def stop(self, delete: bool) -> None:
        self._pods.known.discard("stopped")


class StartingSlowlyEnvironment(MemoryEnvironment):
    """Harbor's time-out for the start fires."""

    @override
    async def start(self, force_build: bool) -> None:
        await asyncio.sleep(3600)


class LosingPodsEnvironment(MemoryEnvironment):
    """Says that it lost its pod while the verifier's files were fetched, and Harbor goes on all the same."""

    @override
    async def stop(self, delete: bool) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        attempt.failures.append(TransientError("the pod was lost"))


class EvictedEnvironment(MemoryEnvironment):
    """Its pod goes while Harbor is done with it."""

    @override
    async def stop(self, delete: bool) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        error = PodGoneError("Pod pod-1 ended. Events: Evicted: node is full", pod="pod-1", reason="Evicted")
        attempt.failures.append(error)


class OutOfMemoryEnvironment(EvictedEnvironment):
    """The cluster still knows what became of its pod."""

    @override
    async def stop(self, delete: bool) -> None:
        await super().stop(delete)
        attempt = current_attempt.get()
        assert attempt is not None
        attempt.pod_ends += [POD_END, PodEnd(name="pod-2", reason="Running", said="the verifier's")]


class CutEnvironment(MemoryEnvironment):
    """A command's stream is cut beside a pod that is well."""

    @override
    async def stop(self, delete: bool) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        attempt.failures.append(ExecError("cut"))
        attempt.pod_ends.append(POD_END)


class RefusedEnvironment(MemoryEnvironment):
    """The cluster refuses the worker's credentials."""

    @override
    async def start(self, force_build: bool) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        refusal = AccessRefusedError("forbidden", status=403)
        attempt.failures.append(refusal)
        raise refusal


class IdleAgent(BaseAgent):
    """Does nothing."""

    @staticmethod
    @override
    def name() -> str:
        return "idle"

    @override
    def version(self) -> str:
        return "1"

    @override
    async def setup(self, environment: BaseEnvironment) -> None: ...

    @override
    async def run(self, instruction: str, environment: BaseEnvironment, context: Any) -> None: ...


class UninstallableAgent(IdleAgent):
    """Its installation fails."""

    @override
    async def setup(self, environment: BaseEnvironment) -> None:
        raise NonZeroAgentExitCodeError("could not resolve host")


class FailingAgent(IdleAgent):
    """Ends badly."""

    @override
    async def run(self, instruction: str, environment: BaseEnvironment, context: Any) -> None:
        raise NonZeroAgentExitCodeError("exit code 1")


class EndlessAgent(IdleAgent):
    """Runs until it is cancelled."""

    @override
    async def run(self, instruction: str, environment: BaseEnvironment, context: Any) -> None:
        await asyncio.sleep(3600)


class StubbornAgent(IdleAgent):
    """Swallows its cancellation."""

    @override
    async def run(self, instruction: str, environment: BaseEnvironment, context: Any) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return


@dataclass
class MemoryStore:
    """A bucket; ``refuse`` is raised by whatever writes an attempt's archive."""

    objects: dict[str, bytes] = field(default_factory=dict)
    expiring: list[str] = field(default_factory=list)
    refuse: Exception | None = None

    def exists(self, key: str) -> bool:
        return key in self.objects

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def put(self, key: str, body: bytes) -> None:
        self.objects[key] = body

    def put_if_absent(self, key: str, body: bytes) -> bool:
        return self.put_if_unchanged(key, body, etag=None) is not None

    def get_version(self, key: str) -> ObjectVersion | None:
        return version_of(self.objects, key)

    def put_if_unchanged(self, key: str, body: bytes, *, etag: str | None) -> str | None:
        return put_if_unchanged(self.objects, key, body, etag=etag)

    def upload(self, key: str, path: Path) -> None:
        if self.refuse:
            raise self.refuse
        self.objects[key] = path.read_bytes()

    def expire(self, key: str) -> None:
        self.expiring.append(key)

    def download(self, key: str, path: Path) -> None:
        if key not in self.objects:
            raise ObjectMissingError(f"There is no {key}.")
        path.write_bytes(self.objects[key])


@dataclass
class MemoryQueue:
    """A queue, or the dead-letter queue."""

    sent: list[OutgoingMessage] = field(default_factory=list)

    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        self.sent += messages


@dataclass
class MemoryPods:
    """The keeper of pods that are but names; one is deleted only once ``api_answers`` is set."""

    known: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    leftovers_deleted: int = 0
    left: list[dict[str, Any]] = field(default_factory=list)
    launches: Launches = field(default_factory=Launches)
    api_answers: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.api_answers.set()

    def knows(self, name: str) -> bool:
        return name in self.known

    async def delete(self, name: str) -> None:
        self.known.discard(name)
        await self.api_answers.wait()
        self.deleted.append(name)

    async def delete_leftovers(self, *, job: str, trial: str) -> list[dict[str, Any]]:
        self.leftovers_deleted += 1
        return self.left
