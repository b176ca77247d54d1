"""exec over WebSocket: the channels of ``v4.channel.k8s.io`` and ``v5.channel.k8s.io``.

Every binary message begins with a byte that names its channel. v5 adds ``[255, n]``: channel n is at its end. See
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiohttp import ClientConnectionError, WSMsgType, web

from harbor_aws.infra.local.kubernetes.api.list_options import flag
from harbor_aws.infra.local.kubernetes.api.pod_containers import chosen_container, container_state
from harbor_aws.infra.local.kubernetes.api.representation import dumps
from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request, internal_error
from harbor_aws.infra.local.kubernetes.runtime import ExecFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from multidict import MultiMapping

    from harbor_aws.infra.local.kubernetes.api.request_path import Target
    from harbor_aws.infra.local.kubernetes.control.cluster import Cluster
    from harbor_aws.infra.local.kubernetes.objects.store import Object
    from harbor_aws.infra.local.kubernetes.runtime import ExecProcess

_log = logging.getLogger(__name__)

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _END = 0, 1, 2, 3, 4, 255
_LOOK_SECONDS = 1.0
_LARGEST_MESSAGE = 32 * 1024 * 1024
"""Bytes; the bound of the kubelet's own WebSocket library."""


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """What to run, and which of its streams to connect."""

    command: list[str]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    @classmethod
    def read(cls, query: MultiMapping[str]) -> Self:
        """Raises: ApiError: 400."""
        options = cls(
            command=list(query.getall("command", [])),
            stdin=flag(query, "stdin"),
            stdout=flag(query, "stdout"),
            stderr=flag(query, "stderr"),
            tty=flag(query, "tty"),
        )
        if not options.command:
            raise bad_request("you must specify at least one command for the container")
        if not (options.stdin or options.stdout or options.stderr):
            raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
        return options


async def exec_in_pod(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    """Run a command in a container of a pod, its streams on the WebSocket."""
    pod = cluster.store.get(target.resource, target.namespace, target.name or "").item
    container = chosen_container(pod, request.query.get("container"))
    if "upgrade" not in request.headers.get("Connection", "").lower():
        raise bad_request("Upgrade request required")
    options = ExecOptions.read(request.query)
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise bad_request("this server speaks exec over WebSocket only, as kubectl does since 1.31; not SPDY")
    if "running" not in container_state(pod, container):
        return web.Response(status=500, text=f'container not found ("{container}")')
    socket = web.WebSocketResponse(protocols=PROTOCOLS, compress=False, max_msg_size=_LARGEST_MESSAGE)
    if not set(PROTOCOLS) & {one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}:
        raise bad_request(f"unable to upgrade: none of the protocols asked for is one of {', '.join(PROTOCOLS)}")
    session = _Session(request, socket, options)
    try:
        await socket.prepare(request)
        await session.run(cluster, pod, container)
    except ClientConnectionError:
        _log.debug("The client of an exec in %s left.", target.name, extra={"action": "exec", "pod": target.name})
    return socket if socket.prepared else web.Response(status=400)  # which nobody is there to read


class _Session:
    """One exec stream."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, options: ExecOptions) -> None:
        self._request = request
        self._socket = socket
        self._options = options

    async def run(self, cluster: Cluster, pod: Object, container: str) -> None:
        options = self._options
        await self._greet()
        try:
            process = await cluster.runtime.exec(
                pod["metadata"]["uid"], container, options.command, stdin=options.stdin, tty=options.tty
            )
        except ExecFailedError as error:
            await self._finish(internal_error(error.message).status())
            return
        writing = asyncio.create_task(self._write(process))
        tasks = {asyncio.create_task(self._read(process)), asyncio.create_task(self._watch()), writing}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            has_ended = writing.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            process.detach()
        if has_ended:
            await self._finish(exit_status(writing.result()))

    async def _greet(self) -> None:
        """An empty message on the first output channel says that the connection stands, as the kubelet's does."""
        options = self._options
        channel = _STDOUT if options.stdout else _STDERR if options.stderr and not options.tty else _ERROR
        await self._socket.send_bytes(bytes([channel]))

    async def _watch(self) -> None:
        """Until the connection is gone: a process that does not read keeps :meth:`_read` from noticing."""
        while self._request.transport is not None and not self._request.transport.is_closing():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(_LOOK_SECONDS)

    async def _read(self, process: ExecProcess) -> None:
        """Feed the process until the client goes away."""
        async for message in self._socket:
            if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
                continue
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            match data[:1], data[1:]:
                case b"\x00", content if self._options.stdin and content:
                    await process.write(content)
                case b"\xff", b"\x00" if self._options.stdin and self._socket.ws_protocol == PROTOCOLS[0]:
                    process.close_stdin()
                case b"\x04", size if self._options.tty:
                    _resize(process, size)

    async def _write(self, process: ExecProcess) -> int:
        """Pass on all output, then tell how the process ended."""
        streams = [self._pass_on(process.stdout(), _STDOUT if self._options.stdout else None)]
        if not self._options.tty:
            streams.append(self._pass_on(process.stderr(), _STDERR if self._options.stderr else None))
        await asyncio.gather(*streams)
        return await process.wait()

    async def _pass_on(self, chunks: AsyncIterator[bytes], channel: int | None) -> None:
        async for chunk in chunks:
            if channel is not None:
                await self._socket.send_bytes(b"%c%b" % (channel, chunk))

    async def _finish(self, status: dict[str, Any]) -> None:
        await self._socket.send_bytes(bytes([_ERROR]) + dumps(status))
        await self._socket.close()


def exit_status(code: int) -> dict[str, Any]:
    """How Kubernetes says on the error channel that a command ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _resize(process: ExecProcess, size: bytes) -> None:
    try:
        content = json.loads(size)
        process.resize(width=int(content["Width"]), height=int(content["Height"]))
    except (ValueError, KeyError, TypeError):
        _log.debug("A resize message was not understood: %r", size[:100])
