"""The door to Kubernetes: one connection pool to one cluster's API.

Server, TLS and token come from :mod:`harbor_aws.infra.cluster_login`.
The requests go through aiohttp as plain JSON: an exec needs its own WebSocket anyway, one pool serves both, and a watch
of hundreds of pods costs no validation of models that nobody reads.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import json
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from harbor_aws.infra.cluster_login import log_in
from harbor_aws.infra.errors import InfrastructureError, PermanentError, TransientError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from kubernetes.aio.client import Configuration

    from harbor_aws.infra.stack import KubernetesAccess

Json = dict[str, Any]

PATIENCE_SECONDS = 60.0
"""How long a request that fails in a way that may pass (429, 5xx, no connection) is tried again."""

REQUEST_TIMEOUT_SECONDS = 30.0
"""How long one request may take, connecting included."""

WATCH_SECONDS = 240
"""After how long the server ends a watch, to be taken up again: bounds how long a dead connection goes unnoticed."""

_FAREWELL_SECONDS = 0.1
"""For TLS connections to end, which aiohttp does not wait for:
https://docs.aiohttp.org/en/stable/client_advanced.html#graceful-shutdown"""

_CLOSE_SECONDS = 2
"""How long the other side of a WebSocket may take to say goodbye."""

_TLS_RECORD_BYTES = 16 * 1024
"""The most that TLS sends at once (RFC 8446, 5.1)."""

asyncio.sslproto.SSLProtocol.max_size = _TLS_RECORD_BYTES
# asyncio gives every TLS connection a buffer of 256 KiB, of which a record fills a sixteenth: with hundreds of commands
# open at once that is most of a worker's memory.

_WATCH_LINE_BYTES = 2**21  # an object is at most 1.5 MiB (etcd's limit)


class ObjectNotFoundError(PermanentError):
    """There is no such object (404)."""


class ObjectConflictError(PermanentError):
    """An object of that name is there already, or changed meanwhile (409)."""


class AccessRefusedError(InfrastructureError):
    """The cluster refused this process's credentials, or what they may do (401, 403).

    It says nothing of what was asked for: the same may be allowed to another worker, or once the role is mended.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class QuotaExceededError(TransientError):
    """The namespace's ResourceQuota has no room for the object until others go."""


class WatchExpiredError(TransientError):
    """The resourceVersion is too old to go on from (410): list again."""


class Cluster:
    """A cluster's API, seen from one event loop. Make it with :meth:`open`.

    Unless said otherwise a method raises :class:`TransientError` when the API did not answer within
    :data:`PATIENCE_SECONDS` of trying, :class:`AccessRefusedError` when it refused the credentials, and
    :class:`PermanentError` when it refused the request.

    Attributes:
        namespace: the namespace that the stack works in.
        requests: how many requests were sent, by verb (``POST``, ``WATCH``, ``EXEC``, …).
    """

    def __init__(self, access: KubernetesAccess, configuration: Configuration, session: aiohttp.ClientSession) -> None:
        self._access = access
        self._configuration = configuration
        self._session = session
        self.namespace = access.namespace
        self.requests: Counter[str] = Counter()
        self._closing: set[asyncio.Task[None]] = set()
        self._renewing = asyncio.Lock()

    @property
    def url(self) -> str:
        """The API server's."""
        return str(self._configuration.host)

    @classmethod
    @asynccontextmanager
    async def open(cls, access: KubernetesAccess) -> AsyncIterator[Self]:
        """A connection pool for the length of an ``async with``.

        Raises:
            UsageError: there is no such kubeconfig, or it cannot be used.
        """
        configuration, tls = await log_in(access)
        connector = aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector) as session:
            cluster = cls(access, configuration, session)
            try:
                yield cluster
            finally:
                await asyncio.gather(*cluster._closing)
        await asyncio.sleep(_FAREWELL_SECONDS)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Json:
        """One request, tried again while that may help; the answer's JSON.

        Raises:
            ObjectNotFoundError: 404.
            ObjectConflictError: 409.
        """

        async def once() -> Json:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                response = await self._send(method, path, query=query, body=body, content_type=content_type)
                async with response:
                    return json.loads(await response.read())  # type: ignore[no-any-return]  # the API answers objects

        self.requests[method] += 1
        return await _persistently(once, place=f"{method} {path}", patience_seconds=patience_seconds)

    async def watch(
        self, path: str, *, resource_version: str, query: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Json]:
        """Events (``type``, ``object``) after a resourceVersion, bookmarks included, until the server ends the watch.

        Raises:
            WatchExpiredError: the resourceVersion is too old.
        """
        parameters = {
            **(query or {}),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        self.requests["WATCH"] += 1
        timeout = aiohttp.ClientTimeout(sock_connect=10, sock_read=WATCH_SECONDS + 30)
        with _translated(f"watch {path}"):
            response = await self._send("GET", path, query=parameters, timeout=timeout, read_bufsize=_WATCH_LINE_BYTES)
            async with response:
                async for line in response.content:
                    event: Json = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(event["object"].get("code", 500), event["object"], f"watch {path}")
                    yield event

    async def open_websocket(
        self,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        protocols: Sequence[str],
        heartbeat_seconds: float | None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket; a handshake that fails is tried again while that may help.

        Args:
            protocols: what may be spoken, best first; ``.protocol`` of the answer says what is.
            heartbeat_seconds: how often to ping the other side, which then has half of that to answer.

        Raises:
            ObjectNotFoundError: 404.
        """

        async def connect(headers: Mapping[str, str]) -> aiohttp.ClientWebSocketResponse:
            try:
                return await self._session.ws_connect(
                    self._configuration.host + path,
                    params=list(query),
                    protocols=protocols,
                    headers=headers,
                    heartbeat=heartbeat_seconds,
                    max_msg_size=0,
                    proxy=self._configuration.proxy,
                )
            except aiohttp.WSServerHandshakeError as error:
                raise _refusal(error.status, {"message": error.message}, f"exec {path}") from error

        async def once() -> aiohttp.ClientWebSocketResponse:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                return await self._authorized(connect)

        self.requests["EXEC"] += 1
        return await _persistently(once, place=f"exec {path}", patience_seconds=patience_seconds)

    def close_websocket(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        """Close a WebSocket from which nothing more is expected, without waiting for the other side."""
        task = asyncio.create_task(_close(websocket))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def list_pods(self, *, selector: str) -> Json:
        """The PodList of the namespace's pods with these labels."""
        return await self.request("GET", self.pods_path, query={"labelSelector": selector})

    @property
    def pods_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def ensure_namespace(self) -> None:
        """Create the namespace unless it is there."""
        try:
            await self.request("GET", f"/api/v1/namespaces/{self.namespace}")
        except ObjectNotFoundError:
            await self._create(
                "/api/v1/namespaces",
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            )

    async def apply_deployment(self, manifest: Mapping[str, Any]) -> None:
        """Create a Deployment and its namespace, or make the one that is there like ``manifest``."""
        await self.ensure_namespace()
        if not await self._create(self._deployments_path, dict(manifest)):
            await self.request(
                "PATCH",
                f"{self._deployments_path}/{manifest['metadata']['name']}",
                body=dict(manifest),
                content_type="application/merge-patch+json",
            )

    async def deployment(self, name: str) -> Json:
        """A Deployment with its status.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return await self.request("GET", f"{self._deployments_path}/{name}")

    async def scale_deployment(self, name: str, *, replicas: int) -> None:
        """Set how many pods a Deployment has.

        Raises:
            ObjectNotFoundError: there is no such Deployment.
        """
        await self.request(
            "PATCH",
            f"{self._deployments_path}/{name}/scale",
            body={"spec": {"replicas": replicas}},
            content_type="application/merge-patch+json",
        )

    @property
    def _deployments_path(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments"

    async def _create(self, path: str, manifest: Json) -> bool:
        """``False`` if an object of that name was there already."""
        try:
            await self.request("POST", path, body=manifest)
        except ObjectConflictError:
            return False
        return True

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        **options: Any,
    ) -> aiohttp.ClientResponse:
        """A response with a good status; its body is still to be read."""

        async def send(headers: Mapping[str, str]) -> aiohttp.ClientResponse:
            response = await self._session.request(
                method,
                self._configuration.host + path,
                params=query,
                data=None if body is None else json.dumps(body),
                headers={**headers, "Content-Type": content_type},
                proxy=self._configuration.proxy,
                **options,
            )
            if response.status < 400:
                return response
            async with response:
                status = _status_object(await response.read())
            raise _refusal(response.status, status, f"{method} {path}")

        return await self._authorized(send)

    async def _authorized[T](self, send: Callable[[Mapping[str, str]], Awaitable[T]]) -> T:
        """Send with the token at hand; where that is refused (401), once more with one that was read anew."""
        headers = await self._authorization()
        try:
            return await send(headers)
        except AccessRefusedError as error:
            newer = headers if error.status != 401 else await self._renewed(refused=headers)
            if newer == headers:
                raise
        return await send(newer)

    async def _renewed(self, *, refused: Mapping[str, str]) -> dict[str, str]:
        """The token, read anew if the one at hand is still the one that was refused.

        Raises:
            TransientError: it cannot be read now. It could when the cluster was opened, so that may pass.
        """
        async with self._renewing:
            headers = await self._authorization()
            if headers == refused:
                try:
                    self._configuration, _ = await log_in(self._access)
                except UsageError as error:
                    raise TransientError(f"The cluster's credentials cannot be renewed: {error}") from error
                headers = await self._authorization()
            return headers

    async def _authorization(self) -> dict[str, str]:
        try:
            settings: Json = dict(await self._configuration.auth_settings())
        except Exception as error:  # whatever the official client raises while it reads the token's file
            raise TransientError(f"The cluster's token cannot be read: {error!r}") from error
        return {entry["key"]: entry["value"] for entry in settings.values() if entry["value"]}


async def _close(websocket: aiohttp.ClientWebSocketResponse) -> None:
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await websocket.close()


async def _persistently[T](once: Callable[[], Awaitable[T]], *, place: str, patience_seconds: float) -> T:
    """Call ``once`` until it does not fail transiently, or ``patience_seconds`` are over."""
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_delay(patience_seconds),
        wait=wait_exponential_jitter(multiplier=0.2, max=10),
        reraise=True,
    )
    async for attempt in attempts:
        with attempt, _translated(place):
            return await once()
    raise AssertionError("tenacity either returns or raises")


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TransientError(f"The cluster's API did not answer in time: {place}.") from error
    except (aiohttp.ClientError, json.JSONDecodeError, OSError) as error:
        raise TransientError(f"The cluster's API cannot be reached: {place}: {error}") from error


_BUSY_QUOTA = "cannot be fulfilled on resourcequotas"
"""How a create is refused when others were counted against the quota at the same moment; nothing was made.
https://github.com/kubernetes/kubernetes/issues/67761"""

_TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}


def _refusal(code: int, status: Json, place: str) -> InfrastructureError:
    text = f"{place}: {code} {status.get('message') or status.get('reason') or ''}".rstrip()
    match code:
        case 404:
            return ObjectNotFoundError(f"The cluster has no such object: {text}")
        case 409 if _BUSY_QUOTA in text:
            return TransientError(f"The namespace's quota was busy: {text}")
        case 409:
            return ObjectConflictError(f"The cluster refused for a conflict: {text}")
        case 410:
            return WatchExpiredError(f"The cluster forgot this resourceVersion: {text}")
        case 403 if "exceeded quota" in text:
            return QuotaExceededError(f"The namespace's quota is used up, until pods end: {text}.")
        case 403 if "being terminated" in text:
            return TransientError(f"The namespace still goes; run the command again when it has: {text}")
        case 401 | 403:
            return AccessRefusedError(
                f"The cluster refused these credentials: {text}. Check the kubeconfig and its role.", status=code
            )
        case _ if code in _TRANSIENT_STATUSES:
            return TransientError(f"The cluster's API failed: {text}")
    return PermanentError(f"The cluster refused: {text}")


def _status_object(body: bytes) -> Json:
    """A Kubernetes ``Status``; what is not one (a proxy's error page) becomes its message."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    return status if isinstance(status, dict) else {"message": body[:500].decode(errors="replace")}
