"""A pod runtime without processes: what a container does is read from its command."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.local.kubernetes.objects.names import timestamp
from harbor_aws.infra.local.kubernetes.runtime import ExecFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from harbor_aws.infra.local.kubernetes.runtime import PodObject, StatusSink


class FakeProcess:
    """``cat`` echoes; ``exit N`` ends with N; ``both`` writes to both outputs; ``size`` tells its terminal's size."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._stdin: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._size: asyncio.Queue[bytes] = asyncio.Queue()
        self.detached = False

    async def write(self, data: bytes) -> None:
        self._stdin.put_nowait(data)

    def close_stdin(self) -> None:
        self._stdin.put_nowait(None)

    async def stdout(self) -> AsyncIterator[bytes]:
        match self._command:
            case ["cat"]:
                while (data := await self._stdin.get()) is not None:
                    yield data
            case ["both"]:
                yield b"out\xff"
            case ["size"]:
                yield await self._size.get()

    async def stderr(self) -> AsyncIterator[bytes]:
        if self._command == ["both"]:
            yield b"err"

    def resize(self, *, width: int, height: int) -> None:
        self._size.put_nowait(f"{width}x{height}".encode())

    async def wait(self) -> int:
        return int(self._command[1]) if self._command[0] == "exit" else 0

    def detach(self) -> None:
        self.detached = True


class FakeRuntime:
    """Runs ``["sleep"]`` until stopped, ends ``["exit", N]`` at once, cannot pull the image ``missing``."""

    def __init__(self) -> None:
        self.stopped: list[tuple[str, float]] = []
        self.processes: list[FakeProcess] = []
        self.may_stop = asyncio.Event()
        """Cleared by a test that wants to see pods that are still stopping."""
        self.may_stop.set()
        self.closed = False

    async def start(self, pod: PodObject, report: StatusSink) -> None:
        container, uid = pod["spec"]["containers"][0], pod["metadata"]["uid"]
        report(uid, _status("Pending", container, {"waiting": {"reason": "ContainerCreating"}}))
        command = container.get("command") or ["sleep"]
        if container["image"] == "missing":
            report(
                uid, _status("Pending", container, {"waiting": {"reason": "ErrImagePull", "message": "no such image"}})
            )
            return
        report(uid, _status("Running", container, {"running": {"startedAt": timestamp()}}))
        if command[0] == "exit":
            code = int(command[1])
            ended = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": timestamp()}
            report(uid, _status("Failed" if code else "Succeeded", container, {"terminated": ended}))

    async def stop(self, uid: str, *, grace_seconds: float) -> None:
        self.stopped.append((uid, grace_seconds))
        if grace_seconds:
            await self.may_stop.wait()

    async def exec(self, uid: str, container: str, command: Sequence[str], *, stdin: bool, tty: bool) -> FakeProcess:
        if command[0] == "nosuch":
            raise ExecFailedError('exec: "nosuch": executable file not found in $PATH')
        self.processes.append(FakeProcess(command))
        return self.processes[-1]

    async def logs(
        self, uid: str, container: str, *, follow: bool, tail_lines: int | None, limit_bytes: int | None
    ) -> AsyncIterator[bytes]:
        lines = [b"one\n", b"two\n", b"three\n"]
        text = b"".join(lines[-tail_lines:] if tail_lines else lines)
        yield text[:limit_bytes]
        if follow:
            yield b"four\n"

    async def build(self, image: str, context_tar: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        content = b"".join([chunk async for chunk in context_tar])
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            file = tar.extractfile("Dockerfile")
            assert file is not None
            return self._steps(file.read().decode())

    async def _steps(self, dockerfile: str) -> AsyncIterator[bytes]:
        for line in dockerfile.splitlines():
            if line == "RUN false":
                raise PermanentError("RUN false: exit code 1")
            yield f"{line}\n".encode()

    async def close(self) -> None:
        self.closed = True


def _status(phase: str, container: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    ready = "running" in state
    return {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [
            {"name": container["name"], "image": container["image"], "ready": ready, "restartCount": 0, "state": state}
        ],
    }
