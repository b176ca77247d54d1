"""Runs one command in a pod, from its start to its exit code."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harbor_aws.infra.errors import ExecError, InfrastructureError, PodGoneError
from harbor_aws.worker.exec.channels import Channel, parse_status
from harbor_aws.worker.exec.markers import MarkerScanner
from harbor_aws.worker.exec.output import BoundedOutput
from harbor_aws.worker.exec.scripts import BOOTSTRAP, kill_argv, payload
from harbor_aws.worker.exec.stream import ExecStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.exec.channels import ExecStatus
    from harbor_aws.worker.exec.scripts import Command

    OutputCallback = Callable[[str, Literal["stdout", "stderr"]], Awaitable[None]]

TIMEOUT_EXIT_CODE = 124
"""The exit code of a command that ran out of time, as coreutils' ``timeout`` has it."""

START_SECONDS = 60.0
"""How long a command may take to begin, once its stream is open."""

ASIDE_SECONDS = 30.0
"""How long ending a command may take, or finding out whether the container lives."""

_LAST_WORDS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command."""

    exit_code: int
    """Its own; :data:`TIMEOUT_EXIT_CODE` if it ran out of time."""
    stdout: str
    stderr: str


class ShellMissingError(ExecError):
    """The image has no shell, so nothing can run in it."""


async def run_command(
    cluster: Cluster,
    pod: str,
    command: Command,
    *,
    timeout_seconds: float | None = None,
    on_output: OutputCallback | None = None,
    on_left_running: Callable[[ExecError], None] = lambda _: None,
    can_be_ended: Callable[[], bool] = lambda: True,
) -> CommandResult:
    """Run a command and wait for its own exit, not for children that it left in the background.

    When the time is over or the caller is cancelled, the command and all it started are ended before this returns.

    Args:
        timeout_seconds: counted from when the command begins to run.
        on_output: called with text as it comes.
        on_left_running: called when the caller is cancelled and the command may go on for all that; a time-out raises
            the same error.
        can_be_ended: asked when the caller is cancelled; ``False`` if nothing runs in the pod any more.

    Raises:
        PodGoneError: there is no such pod.
        ShellMissingError: the image has no shell.
        ExecError: how the command ended, or whether it ran, cannot be told, or it ran out of time and may go on.
        ValueError: the command cannot be put to a shell.
    """
    run = _Run(cluster, pod, on_output)
    script = payload(command, run.command_id)
    async with ExecStream.open(cluster, pod, BOOTSTRAP) as stream:
        reading = asyncio.create_task(run.read(stream))
        try:
            await run.begin(stream, script, reading)
            done, _ = await asyncio.wait({reading}, timeout=timeout_seconds)
            if done:
                return run.result(reading.result())
            await run.end()
            await asyncio.wait({reading}, timeout=_LAST_WORDS_SECONDS)
            return run.result(TIMEOUT_EXIT_CODE)
        except asyncio.CancelledError:
            if can_be_ended():
                await _finish(run.abandon(reading, on_left_running=on_left_running, can_be_ended=can_be_ended))
            raise
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class _Run:
    """One command's state on this side."""

    def __init__(self, cluster: Cluster, pod: str, on_output: OutputCallback | None) -> None:
        self._cluster = cluster
        self._pod = pod
        self._on_output = on_output
        self._pid: int | None = None
        self._started = asyncio.Event()
        self._outputs = {Channel.STDOUT: BoundedOutput(), Channel.STDERR: BoundedOutput()}
        self.command_id = secrets.token_hex(16)

    async def begin(self, stream: ExecStream, script: bytes, reading: asyncio.Task[int]) -> None:
        """Send the command and wait until it runs, or has ended."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await stream.send(script)
                await self._begun(reading)
        except TimeoutError as error:
            raise ExecError(f"A command did not begin within {START_SECONDS:.0f} s in pod {self._pod}.") from error
        except ExecError:
            if not reading.done():
                raise
            reading.result()  # why the stream ended says more than that it did
            raise

    async def _begun(self, reading: asyncio.Task[int], *, within_seconds: float | None = None) -> None:
        """Wait until the command runs, or nothing more will be heard of it."""
        started = asyncio.create_task(self._started.wait())
        try:
            await asyncio.wait({started, reading}, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()

    async def read(self, stream: ExecStream) -> int:
        """Take in all output until the command has ended; its exit code."""
        scanners = {channel: MarkerScanner(self.command_id) for channel in self._outputs}
        ended: dict[Channel, int] = {}
        while len(ended) < len(scanners):
            frame = await stream.receive()
            if frame.channel is Channel.ERROR:
                for channel, scanner in scanners.items():
                    await self._take(channel, scanner.flush())
                return await self._exit_code_of(frame.data, ended)
            for item in scanners[frame.channel].feed(frame.data):
                if isinstance(item, bytes):
                    if frame.channel not in ended:
                        await self._take(frame.channel, item)
                elif item.kind == "end":
                    ended[frame.channel] = item.number
                else:
                    self._pid = item.number
                    self._started.set()
        return ended[Channel.STDOUT]

    async def _take(self, channel: Channel, data: bytes) -> None:
        text = self._outputs[channel].add(data)
        if text and self._on_output:
            await self._on_output(text, "stdout" if channel is Channel.STDOUT else "stderr")

    async def _exit_code_of(self, last_word: bytes, ended: dict[Channel, int]) -> int:
        """The exit code when the server ended the stream before the wrapper said all it says."""
        if ended:
            return next(iter(ended.values()))
        status = parse_status(last_word)
        if status.exit_code is not None and status.exit_code > 128 and self._pid is not None and await self._lives():
            return status.exit_code  # it killed its own wrapper, as `kill -9 -1` does, and not the container with it
        if "executable file not found" in status.message or "no such file or directory" in status.message:
            raise ShellMissingError(f"The image of pod {self._pod} has no shell: {status.message}")
        raise ExecError(f"A command ended without an exit code in pod {self._pod}: {status.message or status}")

    def result(self, exit_code: int) -> CommandResult:
        return CommandResult(
            exit_code=exit_code,
            stdout=self._outputs[Channel.STDOUT].text(),
            stderr=self._outputs[Channel.STDERR].text(),
        )

    async def end(self) -> None:
        """End the command and all that it started.

        Raises:
            ExecError: it may still run.
        """
        if self._pid is None:
            raise ExecError(f"Whether a command began in pod {self._pod} is not known, so it could not be ended.")
        status = await self._run_aside(kill_argv(self._pid))
        if status.exit_code != 0:
            raise ExecError(f"A command could not be ended in pod {self._pod}: {status.message or status}")

    async def _lives(self) -> bool:
        """Whether the container still runs commands."""
        try:
            return (await self._run_aside(("sh", "-c", ":"))).exit_code == 0
        except InfrastructureError:
            return False

    async def _run_aside(self, argv: tuple[str, ...]) -> ExecStatus:
        """Run something small that prints nothing of interest, in a stream of its own."""
        try:
            async with (
                asyncio.timeout(ASIDE_SECONDS),
                ExecStream.open(self._cluster, self._pod, argv, patience_seconds=ASIDE_SECONDS / 3) as stream,
            ):
                while (frame := await stream.receive()).channel is not Channel.ERROR:
                    pass
        except TimeoutError as error:
            raise ExecError(f"Pod {self._pod} did not answer within {ASIDE_SECONDS:.0f} s.") from error
        return parse_status(frame.data)

    async def abandon(
        self,
        reading: asyncio.Task[int],
        *,
        on_left_running: Callable[[ExecError], None],
        can_be_ended: Callable[[], bool],
    ) -> None:
        """End the command because nobody waits for it any more."""
        await self._begun(reading, within_seconds=_LAST_WORDS_SECONDS)
        if _has_ended(reading):
            return
        try:
            await self.end()
        except PodGoneError:
            pass  # and the command with it
        except InfrastructureError as error:
            if can_be_ended():
                left = ExecError(f"A cancelled command may still run in pod {self._pod}: {error}")
                left.__cause__ = error
                on_left_running(left)


def _has_ended(reading: asyncio.Task[int]) -> bool:
    """Whether the command said its exit code; a stream that was cut says nothing of it."""
    return reading.done() and not reading.cancelled() and reading.exception() is None


async def _finish(cleanup: Awaitable[None]) -> None:
    """Wait for a cleanup that goes on even if the waiting is cancelled again."""
    await asyncio.shield(asyncio.ensure_future(cleanup))
