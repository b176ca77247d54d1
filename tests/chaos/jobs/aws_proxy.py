"""An HTTP proxy between the stack's processes and the server of SQS and S3, that misbehaves and keeps the history.

Every process has a port of its own, by which the history knows who it was. What a worker did is taken from what the
server has answered, whether or not the worker came to hear of it.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web
from tests.chaos.jobs.calls import Call, meaning, same_queue
from tests.chaos.jobs.events import Kind
from tests.chaos.jobs.misfortunes import Delay, LoseAnswer, LoseRequest, Refuse, Twice, calm
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.chaos.jobs.history import History
    from tests.chaos.jobs.misfortunes import Misfortune, Weather

HOST = "127.0.0.1"
LARGEST_BODY_BYTES = 256 * 1024 * 1024
_UNSENT = {"connection", "content-length", "date", "expect", "host", "keep-alive", "server", "transfer-encoding"}
"""Headers that belong to one connection, or that each side writes itself."""

_ECHO = "echo-"
_RECEIVE_LIMIT = 10


class AwsProxy:
    """Make it with :meth:`open`.

    Attributes:
        weather: asked once for each request which misfortune it meets; may be changed at any time.
    """

    def __init__(self, upstream: str, history: History, session: aiohttp.ClientSession) -> None:
        self.weather: Weather = calm
        self.dead_letter_queue_url = ""
        self._upstream = upstream
        self._history = history
        self._session = session
        self._actors: dict[int, str] = {}
        self._receipts: dict[str, dict[str, Any]] = {}
        self._echoes: deque[tuple[str, dict[str, Any]]] = deque()
        self._numbers = itertools.count(1)
        self._defects: list[Exception] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, upstream: str, history: History) -> AsyncIterator[Self]:
        """Listen for the length of an ``async with``.

        Args:
            upstream: URL of the server.

        Raises:
            ExceptionGroup: the proxy itself failed meanwhile.
        """
        timeout = aiohttp.ClientTimeout(total=120)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False) as session:
            proxy = cls(upstream, history, session)
            application = web.Application(client_max_size=LARGEST_BODY_BYTES)
            application.router.add_route("*", "/{path:.*}", proxy._guarded)
            proxy._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
            await proxy._runner.setup()
            try:
                yield proxy
            finally:
                await proxy._runner.cleanup()
        if proxy._defects:
            raise ExceptionGroup("the proxy itself failed", proxy._defects)

    _runner: web.AppRunner

    async def way_for(self, actor: str) -> str:
        """The URL that a process is to use."""
        await web.TCPSite(self._runner, HOST, 0).start()
        port: int = self._runner.addresses[-1][1]
        self._actors[port] = actor
        return f"http://{HOST}:{port}"

    async def _guarded(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._serve(request)
        except (ConnectionError, aiohttp.ClientConnectionError):
            return _cut(request)  # one of the two sides has gone
        except Exception as error:
            self._defects.append(error)
            raise

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        actor = self._actors[request.transport.get_extra_info("sockname")[1]]
        call = Call.of(actor, request.method, request.path_qs, request.headers, await request.read())
        misfortune = self.weather(call)
        if isinstance(misfortune, Twice) and not self._can_be_twice(call):
            misfortune = None
        if misfortune is not None:
            harmed = "" if isinstance(misfortune, Twice) else actor  # what comes twice harms nobody's lease
            self._history.fault(_name(misfortune, call), actor=harmed)
        match misfortune:
            case Refuse():
                return _refusal(misfortune, call)
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case LoseRequest():
                return _cut(request)
        status, headers, answer = await self._answer(call, request)
        if isinstance(misfortune, Twice):
            await self._repeat(call, request, answer)
        is_gone = request.transport is None or request.transport.is_closing()
        self._record(call, status, answer, unheard=is_gone or isinstance(misfortune, LoseAnswer))
        if isinstance(misfortune, LoseAnswer):
            await asyncio.sleep(misfortune.seconds)
            return _cut(request)
        if call.operation == "ReceiveMessage" and status == web.HTTPOk.status_code:
            answer = self._with_echoes(actor, answer)
        return _response(request, status, headers, answer)

    async def _answer(self, call: Call, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        """The server's, or our own for what only we have given out."""
        fields = call.fields
        if fields.get("ReceiptHandle", "").startswith(_ECHO):
            return web.HTTPOk.status_code, {"Content-Type": "application/x-amz-json-1.0"}, b"{}"
        ours = [entry for entry in fields.get("Entries", []) if entry.get("ReceiptHandle", "").startswith(_ECHO)]
        if not ours:
            return await self._forward(request, call.body)
        rest = [entry for entry in fields["Entries"] if entry not in ours]
        status, headers, answer = web.HTTPOk.status_code, {"Content-Type": "application/x-amz-json-1.0"}, b"{}"
        if rest:
            status, headers, answer = await self._forward(request, call.with_fields({**fields, "Entries": rest}))
        told = json.loads(answer)
        told["Successful"] = [*told.get("Successful", []), *({"Id": entry["Id"]} for entry in ours)]
        return status, headers, json.dumps(told).encode()

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _UNSENT}
        url = URL(self._upstream + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=io.BytesIO(body) if body else None
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _UNSENT}
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                kept["Content-Length"] = answer.headers["Content-Length"]
            return answer.status, kept, await answer.read()

    def _can_be_twice(self, call: Call) -> bool:
        """Of the dead letters the history has nothing that a second receiver could be told by."""
        match call.operation:
            case "ReceiveMessage":
                return not same_queue(call.fields["QueueUrl"], self.dead_letter_queue_url)
            case operation:
                return operation in ("SendMessage", "SendMessageBatch")

    async def _repeat(self, call: Call, request: web.Request, answer: bytes) -> None:
        """SQS gives a message to two receivers, or has got a message twice."""
        if call.operation == "ReceiveMessage":
            self._echoes.extend((call.actor, message) for message in json.loads(answer or b"{}").get("Messages", []))
        elif call.operation in ("SendMessage", "SendMessageBatch"):
            status, _, again = await self._forward(request, call.body)
            self._record(call, status, again, unheard=False)

    def _with_echoes(self, actor: str, answer: bytes) -> bytes:
        """The answer, and with it what another worker has been given already."""
        told = json.loads(answer or b"{}")
        messages = told.get("Messages", [])
        for _ in range(len(self._echoes)):
            first, message = self._echoes.popleft()
            if first == actor or len(messages) >= _RECEIVE_LIMIT:
                self._echoes.append((first, message))
                continue
            known = self._receipts[message["ReceiptHandle"]]
            receipt = f"{_ECHO}{next(self._numbers)}"
            messages.append({**message, "ReceiptHandle": receipt})
            self._receipts[receipt] = known
            self._history.add(Kind.RECEIVED, actor=actor, receipt=receipt, note="echo", **known)
        return json.dumps({**told, "Messages": messages}).encode() if messages else answer

    def _record(self, call: Call, status: int, answer: bytes, *, unheard: bool) -> None:
        for happened in meaning(call, status, answer, dead_letter_queue_url=self.dead_letter_queue_url):
            fields, kind = dict(happened.fields), happened.kind
            receipt = fields.get("receipt", "")
            if kind is Kind.RECEIVED:
                self._receipts[receipt] = {name: value for name, value in fields.items() if name != "receipt"}
                kind = Kind.UNHEARD if unheard else kind
            elif receipt:
                fields = {**self._receipts.get(receipt, {}), **fields}
            self._history.add(kind, actor=call.actor, **fields)


def _name(misfortune: Misfortune, call: Call) -> str:
    """For the count of faults."""
    service = {"s3": "S3", "sqs": "SQS"}[call.service]
    what = (
        call.operation
        if call.service == "sqs"
        else {"PUT": "PUT", "HEAD": "HEAD", "GET": "GET"}.get(call.operation, "request")
    )
    match misfortune:
        case Refuse(status, code):
            return f"{service} answers {status} {code}"
        case Delay():
            return f"{service} is slow"
        case LoseRequest():
            return f"{service}: a {what} is lost"
        case LoseAnswer(seconds):
            return f"{service}: a {what} is done and {'times out' if seconds else 'its answer lost'}"
        case Twice():
            return "SQS gives a message out twice" if call.operation == "ReceiveMessage" else "SQS has a message twice"


def _refusal(refusal: Refuse, call: Call) -> web.Response:
    if call.service == "sqs":
        body = json.dumps({"__type": f"com.amazonaws.sqs#{refusal.code}", "message": "chaos"})
        return web.Response(status=refusal.status, text=body, content_type="application/x-amz-json-1.0")
    body = f"<Error><Code>{refusal.code}</Code><Message>chaos</Message></Error>"
    return web.Response(status=refusal.status, text=body, content_type="application/xml")


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=web.HTTPBadGateway.status_code)


def _response(request: web.Request, status: int, headers: dict[str, str], body: bytes) -> web.Response:
    return web.Response(status=status, headers=headers, body=None if request.method == "HEAD" else body)
