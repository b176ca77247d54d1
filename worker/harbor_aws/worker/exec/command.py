"""Runs one command in a pod, from its start to its exit code, over as many streams as that takes."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from harbor_aws.infra.errors import ExecError, InfrastructureError, PodGoneError
from harbor_aws.worker.exec.channels import Channel, parse_status
from harbor_aws.worker.exec.command_script import start_script
from harbor_aws.worker.exec.end_script import OVER_EXIT_CODE, end_argv
from harbor_aws.worker.exec.follow_script import ALIVE_SECONDS, attach_script
from harbor_aws.worker.exec.following import FollowedCommand
from harbor_aws.worker.exec.stream import ExecStream, StreamCutError
from harbor_aws.worker.outages import Silence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.exec.channels import ExecStatus
    from harbor_aws.worker.exec.command_script import Command
    from harbor_aws.worker.exec.following import OutputCallback

TIMEOUT_EXIT_CODE = 124
"""The exit code of a command that ran out of time, as coreutils' ``timeout`` has it."""

START_SECONDS = 120.0
"""How long it is tried to start a command."""

FOLLOW_SECONDS = 300.0
"""How long it is tried to get through again to a command that runs; counted from the last that was heard of it."""

SILENCE_SECONDS = 2.5 * ALIVE_SECONDS
"""How long a stream may say nothing before it is given up for another one."""

OVERDUE_SECONDS = 30.0
"""How long after its time a command may go on before it is ended from here; the pod should have done that."""

ASIDE_SECONDS = 60.0
"""How long it may take to end a command from here."""

_LAST_WORDS_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


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
    on_outage: Callable[[float], None] = lambda _: None,
    can_be_ended: Callable[[], bool] = lambda: True,
) -> CommandResult:
    """Run a command, once, and wait for its own exit, not for children that it left in the background.

    It runs detached from the stream that started it. Where that is cut, another takes up its output where the first
    one ended. When the time is over or the caller is cancelled, the command and all it started are ended before this
    returns.

    Args:
        timeout_seconds: counted in the pod from when the command begins to run, in whole seconds, upwards.
        on_output: called with text as it comes.
        on_left_running: called when the caller is cancelled and the command may go on for all that; a time-out raises
            the same error.
        on_outage: called each time that the command could not be started or followed for a while, once it can be again
            or the caller no longer waits: for how many seconds, less those that are ordinary.
        can_be_ended: asked when the caller is cancelled; ``False`` if nothing runs in the pod any more.

    Raises:
        PodGoneError: there is no such pod.
        ShellMissingError: the image has no shell.
        ExecError: how the command ended, or whether it ran, cannot be told, or it ran out of time and may go on.
        ValueError: the command cannot be put to a shell.
    """
    run = _Run(cluster, pod, command, timeout_seconds=timeout_seconds, on_output=on_output, on_outage=on_outage)
    following = asyncio.create_task(run.follow())
    try:
        if timeout_seconds is not None:
            await run.started(following)
            await asyncio.wait({following}, timeout=timeout_seconds + OVERDUE_SECONDS)
            if not following.done() and not await run.end():
                await asyncio.wait({following}, timeout=_LAST_WORDS_SECONDS)
                return run.result(TIMEOUT_EXIT_CODE)
        return run.result(await following)
    except asyncio.CancelledError:
        if can_be_ended() and not _has_ended(following):
            await _finish(run.abandon(on_left_running=on_left_running, can_be_ended=can_be_ended))
        raise
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        run.silence.end()


class _Run:
    """One command's state on this side."""

    def __init__(
        self,
        cluster: Cluster,
        pod: str,
        command: Command,
        *,
        timeout_seconds: float | None,
        on_output: OutputCallback | None,
        on_outage: Callable[[float], None],
    ) -> None:
        self._cluster = cluster
        self._pod = pod
        self._id = secrets.token_hex(16)
        self._start_script = start_script(command, self._id, timeout_seconds=timeout_seconds)
        self._followed = FollowedCommand(self._id, on_output)
        self._started = asyncio.Event()
        self._heard = self._now()
        self.silence = Silence(on_outage, self._now)

    async def follow(self) -> int:
        """Start the command and take in all that it prints; its exit code."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            heard = self._heard
            self.silence.begin()
            try:
                return await self._attach()
            except StreamCutError:
                if self._now() > self._heard + (FOLLOW_SECONDS if self._followed.is_started else START_SECONDS):
                    raise
            pause = _FIRST_PAUSE_SECONDS if self._heard > heard else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads load, keeps no secret

    async def started(self, following: asyncio.Task[int]) -> None:
        """Wait until the command runs, or has ended, or will not run."""
        started = asyncio.create_task(self._started.wait())
        try:
            await asyncio.wait({started, following}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()

    async def _attach(self) -> int:
        """Follow the command over one stream, to its end; its exit code."""
        followed = self._followed
        followed.attach()
        script = self._start_script
        if followed.is_started:
            script = attach_script(self._id, stdout_bytes=followed.stdout_bytes, stderr_bytes=followed.stderr_bytes)
        async with ExecStream.open(self._cluster, self._pod, ("sh",)) as stream:
            sending = asyncio.create_task(stream.send(script))
            try:
                while followed.exit_code is None:
                    await self._take(stream)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            return followed.exit_code

    async def _take(self, stream: ExecStream) -> None:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                frame = await stream.receive()
        except TimeoutError as error:
            raise StreamCutError(f"Nothing came from pod {self._pod} for {SILENCE_SECONDS:.0f} s.") from error
        if frame.channel is Channel.ERROR:
            status = parse_status(frame.data)
            if "executable file not found" in status.message or "no such file or directory" in status.message:
                raise ShellMissingError(f"The image of pod {self._pod} has no shell: {status.message}")
            raise StreamCutError(f"A command's exit code did not come from pod {self._pod}: {status.message or status}")
        self.silence.end()
        self._heard = self._now()
        await self._followed.take(frame)
        if self._followed.is_started and not self._started.is_set():
            self._started.set()
            self._start_script = b""

    def result(self, exit_code: int) -> CommandResult:
        return CommandResult(exit_code=exit_code, stdout=self._followed.stdout, stderr=self._followed.stderr)

    async def end(self) -> bool:
        """End the command and all that it started, or see to it that it never starts; whether it had ended by itself.

        Raises:
            ExecError: it may still run.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StreamCutError),
            stop=stop_after_delay(ASIDE_SECONDS),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS),
            reraise=True,
        )
        try:
            async with asyncio.timeout(ASIDE_SECONDS):
                status: ExecStatus = await retrying(self._end_once)
        except TimeoutError as error:
            raise ExecError(f"Pod {self._pod} did not answer within {ASIDE_SECONDS:.0f} s.") from error
        if status.exit_code not in (0, OVER_EXIT_CODE):
            raise ExecError(f"A command could not be ended in pod {self._pod}: {status.message or status}")
        return status.exit_code == OVER_EXIT_CODE

    async def _end_once(self) -> ExecStatus:
        argv = end_argv(self._id, has_begun=self._followed.is_started)
        async with ExecStream.open(self._cluster, self._pod, argv) as stream:
            while (frame := await stream.receive()).channel is not Channel.ERROR:
                pass
        return parse_status(frame.data)

    async def abandon(self, *, on_left_running: Callable[[ExecError], None], can_be_ended: Callable[[], bool]) -> None:
        """End the command because nobody waits for it any more."""
        try:
            await self.end()
        except PodGoneError:
            pass  # and the command with it
        except InfrastructureError as error:
            if can_be_ended():
                left = ExecError(f"A cancelled command may still run in pod {self._pod}: {error}")
                left.__cause__ = error
                on_left_running(left)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _has_ended(following: asyncio.Task[int]) -> bool:
    """Whether the command said its exit code; a failure says nothing of it."""
    return following.done() and not following.cancelled() and following.exception() is None


async def _finish(cleanup: Awaitable[None]) -> None:
    """Wait for a cleanup that goes on even if the waiting is cancelled again."""
    await asyncio.shield(asyncio.ensure_future(cleanup))
