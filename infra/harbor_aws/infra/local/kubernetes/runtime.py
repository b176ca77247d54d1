"""What the API server asks of whatever runs the pods. Types only; ``pods/containers.py`` implements it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    PodObject = Mapping[str, Any]
    """A pod as the API has it: ``metadata`` (with ``uid``), ``spec``."""

    StatusSink = Callable[[str, dict[str, Any]], None]
    """Called on the loop with a pod's uid and its whole new ``status``: phase, conditions, containerStatuses, …"""


@dataclass(eq=False)
class ExecFailedError(Exception):
    """A process could not be started in the container; the text is what Kubernetes would say."""

    message: str


class ExecProcess(Protocol):
    """A process running in a container."""

    async def write(self, data: bytes) -> None:
        """Write to its stdin; waits while the pipe is full. A process that closed its stdin is not an error."""

    def close_stdin(self) -> None: ...

    def stdout(self) -> AsyncIterator[bytes]:
        """Its output, in chunks of at most 64 KiB, until every holder of the pipe closed it."""

    def stderr(self) -> AsyncIterator[bytes]: ...

    def resize(self, *, width: int, height: int) -> None:
        """Only with a terminal."""

    async def wait(self) -> int:
        """Its exit code; 128 + n when a signal n ended it."""

    def detach(self) -> None:
        """The client went away: close our ends of the pipes. As in Kubernetes the process itself lives on."""


class PodRuntime(Protocol):
    """Runs pods as process trees."""

    async def start(self, pod: PodObject, report: StatusSink) -> None:
        """Begin to run a pod and return; everything that becomes of it is reported."""

    async def stop(self, uid: str, *, grace_seconds: float) -> None:
        """TERM, wait, KILL; unmount and forget the pod. Unknown uids are ignored."""

    async def exec(self, uid: str, container: str, command: Sequence[str], *, stdin: bool, tty: bool) -> ExecProcess:
        """Start a process in a running container.

        Raises:
            ExecFailedError: no such container, not running, or the program cannot be executed.
        """

    def logs(
        self, uid: str, container: str, *, follow: bool, tail_lines: int | None, limit_bytes: int | None
    ) -> AsyncIterator[bytes]:
        """What the container's first process printed, stdout and stderr together."""

    async def build(self, image: str, context_tar: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Build the ``Dockerfile`` at the root of a tar into ``image``, yielding the log; no work if it exists.

        Raises:
            harbor_aws.infra.errors.PermanentError: an instruction failed or is not supported; the message names it.
        """

    async def close(self) -> None:
        """Stop every pod and leave no process, mount or file."""
