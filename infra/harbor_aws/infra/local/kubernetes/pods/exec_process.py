"""A process in a container, its pipes or terminal joined to the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.pods.pipes import Pipe
from harbor_aws.infra.local.kubernetes.runtime import ExecFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harbor_aws.infra.local.kubernetes.pods.namespaces import Process


class ContainerProcess:
    """Implements :class:`~harbor_aws.infra.local.kubernetes.runtime.ExecProcess`."""

    def __init__(
        self, process: Process, *, stdin: int | None, stdout: int | None, stderr: int | None, terminal: int | None
    ) -> None:
        self._process = process
        self._terminal = Pipe(terminal) if terminal is not None else None
        self._stdin = self._terminal or (Pipe(stdin) if stdin is not None else None)
        self._stdout = self._terminal or (Pipe(stdout) if stdout is not None else None)
        self._stderr = Pipe(stderr) if stderr is not None else None

    async def write(self, data: bytes) -> None:
        if self._stdin is not None:
            await self._stdin.write(data)

    def close_stdin(self) -> None:
        if self._stdin is not None and self._terminal is None:
            self._stdin.close()

    def stdout(self) -> AsyncIterator[bytes]:
        return _chunks(self._stdout)

    def stderr(self) -> AsyncIterator[bytes]:
        return _chunks(self._stderr)

    def resize(self, *, width: int, height: int) -> None:
        if self._terminal is not None:
            self._terminal.resize(width=width, height=height)

    async def wait(self) -> int:
        return await self._process.wait()

    def detach(self) -> None:
        for pipe in (self._stdin, self._stdout, self._stderr):
            if pipe is not None:
                pipe.close()


async def _chunks(pipe: Pipe | None) -> AsyncIterator[bytes]:
    while pipe is not None and (data := await pipe.read()):
        yield data
    if pipe is not None:
        pipe.close()


def exec_failed(message: str) -> ExecFailedError:
    """What the kubelet says of a process that containerd and runc could not start."""
    return ExecFailedError(
        "error executing command in container: failed to exec in container: failed to start exec: OCI runtime exec "
        f"failed: exec failed: unable to start container process: {message}: unknown"
    )
