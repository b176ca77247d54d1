"""The server's side of the launcher: start processes in containers, and learn how they end."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.infra.local.kubernetes.pods.readiness import ready

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor_aws.infra.local.kubernetes.pods.mounts import RootSpec
    from harbor_aws.infra.local.kubernetes.pods.program import ProgramSpec

logger = logging.getLogger(__name__)

_MODULE = "harbor_aws.infra.local.kubernetes.pods.launcher"
_PACKET_BYTES = 65536


class LauncherGoneError(InfrastructureError):
    """The launcher ended, and with it every container."""


class StartFailedError(Exception):
    """A process did not come to life; the text is runc's, or the kernel's."""


class Process:
    """A process that the launcher started: its identifier and its end."""

    def __init__(self, identifier: int, ended: asyncio.Future[int]) -> None:
        self.identifier = identifier
        self._ended = ended

    async def wait(self) -> int:
        """Its exit code; 128 + n when a signal n ended it."""
        return await asyncio.shield(self._ended)

    @property
    def running(self) -> bool:
        return not self._ended.done()


class Namespaces:
    """The launcher process, started at the first need and again if it died."""

    def __init__(self) -> None:
        self._identifiers = itertools.count(1)
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._launcher: asyncio.subprocess.Process | None = None
        self._socket: socket.socket | None = None
        self._lock = asyncio.Lock()

    async def start(
        self,
        *,
        root: RootSpec,
        hostname: str,
        program: ProgramSpec | None,
        output: int | None,
        cgroup: str | None,
        shares: Process | None = None,
        has_network: bool = True,
    ) -> Process:
        """Start a container: namespaces of its own, ``root`` as its root, and ``program`` (or nothing) in it.

        Args:
            output: descriptor for stdout and stderr; the caller closes it.
            cgroup: path of the ``cgroup.procs`` that the program enters.
            shares: the container whose hostname, IPC and network it shares.
            has_network: this machine's; otherwise it has a loopback interface of its own, and nothing else.

        Raises:
            StartFailedError: it did not start; nothing is left of it.
        """
        request = {
            "operation": "start",
            "root": root,
            "hostname": hostname,
            "program": program,
            "cgroup": cgroup,
            "shares": shares.identifier if shares else None,
            "has_network": has_network,
        }
        given = {"stdout": output, "stderr": output} if output is not None else {}
        process, status = await self._launch(request, given)
        with status:
            await _started(process, status)
        return process

    async def execute(
        self,
        container: Process,
        program: ProgramSpec,
        given: Mapping[str, int],
        *,
        terminal: bool,
        cgroup: str | None,
    ) -> tuple[Process, int | None]:
        """Start ``program`` in a running container with ``given`` as its ``stdin``, ``stdout`` and ``stderr``.

        Returns:
            The process and, with a terminal, the descriptor of its other end.

        Raises:
            StartFailedError: it did not start.
        """
        request = {
            "operation": "exec",
            "container": container.identifier,
            "program": program,
            "terminal": terminal,
            "cgroup": cgroup,
        }
        process, status = await self._launch(request, given)
        with status:
            return process, await _started(process, status)

    async def transfer(self, ends: Sequence[tuple[Process | str, str, Mapping[str, Any]]]) -> list[str]:
        """Run functions of :mod:`.copying`, each in a container or a directory, one pipe joining each to the next.

        Returns:
            What went wrong, the first cause first.
        """
        reader, writer = os.pipe()
        streams = [writer, reader] if len(ends) > 1 else [writer]
        started: list[tuple[Process, socket.socket]] = []
        try:
            for (place, action, arguments), stream in zip(ends, streams, strict=True):
                started.append(await self._start_copying(place, action, arguments, stream))
        finally:
            os.close(reader)
            os.close(writer)
        return [error for one in started if (error := await _copied(*one))]

    async def read_everything(self, container: Process, stream: int) -> str | None:
        """Write a tar of all of a container's files to the descriptor ``stream``; what went wrong, if anything."""
        return await _copied(*await self._start_copying(container, "pack_everything", {}, stream))

    async def _start_copying(
        self, place: Process | str, action: str, arguments: Mapping[str, Any], stream: int
    ) -> tuple[Process, socket.socket]:
        where: dict[str, Any] = {"directory": place} if isinstance(place, str) else {"container": place.identifier}
        request = {"operation": "copy", "action": action, "arguments": arguments, "cgroup": None}
        return await self._launch({**request, **where}, {"stream": stream})

    async def signal(self, container: Process, number: int) -> None:
        """Signal a container's first process; but for KILL, only a signal that it handles does anything to it."""
        if container.running:
            await self._send({"operation": "signal", "id": container.identifier, "signal": int(number)}, {})

    async def close(self) -> None:
        """End the launcher and with it every container."""
        async with self._lock:
            if self._socket is not None:
                self._disconnect()
            if self._launcher is not None:
                await self._launcher.wait()
                self._launcher = None

    async def _launch(self, request: dict[str, Any], given: Mapping[str, int]) -> tuple[Process, socket.socket]:
        identifier = next(self._identifiers)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ends[identifier] = ended
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                await self._send({"id": identifier, **request}, {"status": theirs.fileno(), **given})
        except BaseException:
            ours.close()
            self._ends.pop(identifier, None)
            raise
        return Process(identifier, ended), ours

    async def _send(self, request: dict[str, Any], given: Mapping[str, int]) -> None:
        memory = os.memfd_create("request")
        try:
            os.write(memory, json.dumps(request).encode())
            descriptors = {"request": memory, **given}
            async with self._lock:
                connection = await self._connect()
                await _send_packet(connection, " ".join(descriptors).encode(), list(descriptors.values()))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise LauncherGoneError("the process that starts the pods has died; try again") from error
        finally:
            os.close(memory)

    async def _connect(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._launcher = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                _MODULE,
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.setblocking(False)
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._receive)
        return ours

    def _receive(self) -> None:
        if self._socket is None:
            return
        try:
            packet = self._socket.recv(_PACKET_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            packet = b""
        if not packet:
            logger.error("The process that starts the pods has died.", extra={"action": "launcher_died"})
            self._disconnect()
            return
        event = json.loads(packet)
        ended = self._ends.pop(event["id"], None)
        if ended is not None and not ended.done():
            code = os.waitstatus_to_exitcode(event["status"])
            ended.set_result(code if code >= 0 else 128 - code)

    def _disconnect(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        ends, self._ends = self._ends, {}
        for ended in ends.values():
            if not ended.done():
                ended.set_result(137)


async def _copied(process: Process, status: socket.socket) -> str | None:
    with status:
        try:
            await _started(process, status)
        except StartFailedError as error:
            return str(error)
    code = await process.wait()
    return None if code == 0 else f"copying ended with exit code {code}"


async def _send_packet(connection: socket.socket, data: bytes, descriptors: list[int]) -> None:
    while True:
        try:
            socket.send_fds(connection, [data], descriptors)
        except BlockingIOError:
            await ready(connection.fileno(), writing=True)
        else:
            return


async def _started(process: Process, status: socket.socket) -> int | None:
    """Wait until the program replaced the launcher's child: the status socket closes without an error."""
    terminal: int | None = None
    try:
        while True:
            message, descriptors = await _receive_status(status)
            if descriptors:
                terminal = descriptors[0]
                os.set_inheritable(terminal, False)
            elif message:
                await process.wait()
                raise StartFailedError(message.decode(errors="replace"))
            else:
                return terminal
    except BaseException:
        if terminal is not None:
            os.close(terminal)
        raise


async def _receive_status(status: socket.socket) -> tuple[bytes, list[int]]:
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(status, _PACKET_BYTES, 1)
        except BlockingIOError:
            await ready(status.fileno())
        except ConnectionResetError:
            return b"", []
        else:
            return message, descriptors
