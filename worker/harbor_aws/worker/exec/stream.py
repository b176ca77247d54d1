"""One exec's WebSocket: bytes in, frames out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import aiohttp

from harbor_aws.infra.cluster import PATIENCE_SECONDS, ObjectNotFoundError
from harbor_aws.infra.errors import ExecError, InfrastructureError, PodGoneError
from harbor_aws.worker.exec.channels import PROTOCOLS, decode, stdin_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.exec.channels import Frame

CONTAINER = "main"
"""The name of a trial's one container."""

HEARTBEAT_SECONDS = 15
"""How often the other side is pinged; it has half of that to answer. Proxies drop what is idle for a minute."""


class StreamCutError(ExecError):
    """The stream could not be opened, or ended before its time. Whatever the process did, this does not tell."""


class ExecStream:
    """An exec in progress. Make it with :meth:`open`."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, *, pod: str) -> None:
        self._websocket = websocket
        self._pod = pod

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        cluster: Cluster,
        pod: str,
        argv: Sequence[str],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        heartbeat_seconds: float | None = HEARTBEAT_SECONDS,
    ) -> AsyncIterator[Self]:
        """Start a process in a pod's container, for the length of an ``async with``.

        Leaving it closes the stream, which does not end the process: https://github.com/kubernetes/kubernetes/issues/89031

        Args:
            patience_seconds: how long a handshake that fails in a way that may pass is tried again. Nothing runs
                before the handshake is done.
            heartbeat_seconds: ``None`` where stdin may stall, since a server that waits for the process to read does
                not answer pings either.

        Raises:
            PodGoneError: there is no such pod.
            StreamCutError: the stream could not be opened.
        """
        query = [("container", CONTAINER), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
        query += [("command", argument) for argument in argv]
        try:
            websocket = await cluster.open_websocket(
                f"{cluster.pods_path}/{pod}/exec",
                query=query,
                protocols=PROTOCOLS,
                heartbeat_seconds=heartbeat_seconds,
                patience_seconds=patience_seconds,
            )
        except ObjectNotFoundError as error:
            raise PodGoneError(f"Pod {pod} does not exist any more.", pod=pod, reason="NotFound") from error
        except InfrastructureError as error:
            raise StreamCutError(f"No command could be started in pod {pod}: {error}") from error
        try:
            if websocket.protocol not in PROTOCOLS:
                raise ExecError(f"The cluster speaks none of {', '.join(PROTOCOLS)}, but {websocket.protocol!r}.")
            yield cls(websocket, pod=pod)
        finally:
            cluster.close_websocket(websocket)

    async def send(self, data: bytes) -> None:
        """Write to the process's stdin; waits while it does not read, for ever.

        Raises:
            StreamCutError: the stream is cut.
        """
        for frame in stdin_frames(data):
            await self._send(frame)

    async def receive(self) -> Frame:
        """The next frame from the server, which may be its last word on :attr:`Channel.ERROR`.

        Raises:
            StreamCutError: the stream ended.
        """
        while True:
            message = await self._websocket.receive()
            if message.type == aiohttp.WSMsgType.BINARY:
                frame = decode(message.data)
                if frame is not None:
                    return frame
            elif message.type != aiohttp.WSMsgType.TEXT:
                cause = self._websocket.exception()
                detail = f": {cause!r}" if cause else f" (close code {self._websocket.close_code})"
                raise StreamCutError(f"The stream from pod {self._pod} ended without a status{detail}.") from cause

    async def _send(self, message: bytes) -> None:
        try:
            await self._websocket.send_bytes(message)
        except (aiohttp.ClientError, OSError) as error:
            raise StreamCutError(f"The stream into pod {self._pod} was cut: {error!r}") from error
