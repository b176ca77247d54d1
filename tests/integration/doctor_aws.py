"""AWS between a doctor and moto: what moto does not have, and what AWS says and does when something is wrong."""

from __future__ import annotations

import http.client
import json
import re
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, override
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FARGATE_VCPUS = 4000.0
DEFAULT_VCPUS = 6.0
_UNSENT = {"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"}

_S3_READS = {
    "encryption": "GetBucketEncryption",
    "lifecycle": "GetBucketLifecycleConfiguration",
    "list-type": "ListObjectsV2",
    "location": "GetBucketLocation",
    "policy": "GetBucketPolicy",
    "publicAccessBlock": "GetPublicAccessBlock",
}
_EKS_READS = [
    (re.compile(r"/clusters/[^/]+$"), "DescribeCluster"),
    (re.compile(r"/clusters/[^/]+/fargate-profiles$"), "ListFargateProfiles"),
    (re.compile(r"/clusters/[^/]+/fargate-profiles/[^/]+$"), "DescribeFargateProfile"),
]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, by what it is for."""

    service: str
    """As the signature's scope has it; empty of what is not signed."""
    operation: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def _never(_: Call) -> bool:
    return False


def json_answer(content: object) -> Answer:
    return Answer(200, json.dumps(content).encode())


def refusal(call: Call, code: str, *, status: int = 403, message: str = "no") -> Answer:
    """As the service's own protocol has it."""
    if call.service == "s3":
        return Answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode(), "text/xml")
    if call.service in {"sts", "iam", "cloudformation"}:
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(status, f"<ErrorResponse>{error}</ErrorResponse>".encode(), "text/xml")
    body = json.dumps({"__type": code, "message": message}).encode()
    return Answer(status, body, headers={"x-amzn-errortype": code, "x-amzn-query-error": f"{code};Sender"})


class Cloud:
    """Passes on to moto what nothing is said about.

    Attributes:
        clock_is_ahead: of what every answer says the time is.
        fargate_vcpus: the account's quota; ``None``: it has everybody's alone.
        redrive_allow: by the queue's URL, which moto does not keep.
        answers: by operation (``sqs:GetQueueAttributes``), what is answered instead.
        edits: by operation, what is changed in moto's answer, which is JSON.
        refused: whether a call is refused for want of a right.
        silent: whether a call is never answered.
    """

    def __init__(self, upstream: str) -> None:
        self.clock_is_ahead = timedelta()
        self.fargate_vcpus: float | None = FARGATE_VCPUS
        self.redrive_allow: dict[str, str] = {}
        self.answers: dict[str, Callable[[Call], Answer]] = {}
        self.edits: dict[str, Callable[[Any], None]] = {}
        self.refused: Callable[[Call], bool] = _never
        self.silent: Callable[[Call], bool] = _never
        self.calls: list[Call] = []
        self.ended = threading.Event()
        self._upstream = urlsplit(upstream).netloc

    def reset(self) -> None:
        self.clock_is_ahead, self.fargate_vcpus = timedelta(), FARGATE_VCPUS
        self.redrive_allow, self.answers, self.edits = {}, {}, {}
        self.refused = self.silent = _never
        self.calls.clear()

    def answer(self, call: Call, method: str, path: str, headers: dict[str, str]) -> Answer:
        self.calls.append(call)
        name = f"{call.service}:{call.operation}"
        if self.refused(call):
            return refusal(call, "AccessDenied")
        if self.silent(call):
            self.ended.wait(60)
            raise ConnectionAbortedError
        if name in self.answers:
            return self.answers[name](call)
        if call.service == "servicequotas":
            return self._quota(call)
        answer = self._forwarded(call, method, path, headers)
        if name == "sqs:GetQueueAttributes":
            return self._supplemented(call, answer)
        if name in self.edits:
            told = json.loads(answer.body)
            self.edits[name](told)
            return json_answer(told)
        return answer

    def _quota(self, call: Call) -> Answer:
        if call.operation == "GetAWSDefaultServiceQuota":
            return json_answer({"Quota": {"QuotaCode": "L-3032A538", "Value": DEFAULT_VCPUS}})
        if self.fargate_vcpus is None:
            return refusal(call, "NoSuchResourceException", status=400)
        return json_answer({"Quota": {"QuotaCode": "L-3032A538", "Value": self.fargate_vcpus}})

    def _forwarded(self, call: Call, method: str, path: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            connection.request(method, path, call.body, headers)
            got = connection.getresponse()
            kept = {key: value for key, value in got.getheaders() if key.lower() not in _UNSENT | {"content-type"}}
            return Answer(got.status, got.read(), got.getheader("Content-Type", ""), kept)
        finally:
            connection.close()

    def _supplemented(self, call: Call, answer: Answer) -> Answer:
        policy = self.redrive_allow.get(json.loads(call.body)["QueueUrl"])
        if policy is None or answer.status != 200:
            return answer
        told = json.loads(answer.body)
        told["Attributes"]["RedriveAllowPolicy"] = policy
        return Answer(200, json.dumps(told).encode(), answer.content_type)


@contextmanager
def cloud_before(upstream: str) -> Iterator[tuple[Cloud, str]]:
    """A cloud on a free port of the loopback, and its URL."""
    cloud = Cloud(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _UNSENT}
            call = _call(self.command, self.path, headers, body)
            with suppress(ConnectionError):  # whoever asked has given up
                answer = cloud.answer(call, self.command, self.path, headers)
                self.send_response(answer.status)
                for key, value in {"Content-Type": answer.content_type, **answer.headers}.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = serve  # noqa: N815 - http.server's names

        @override
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(datetime.now(UTC) + cloud.clock_is_ahead, usegmt=True)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cloud, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        cloud.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _call(method: str, path: str, headers: dict[str, str], body: bytes) -> Call:
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", headers.get("Authorization", ""))
    service = scope[1] if scope else ""
    place = urlsplit(path)
    if target := headers.get("X-Amz-Target"):
        operation = target.rpartition(".")[2]
    elif service == "s3":
        keys = parse_qs(place.query, keep_blank_values=True)
        operation = next((name for key, name in _S3_READS.items() if key in keys and method == "GET"), method)
    elif service == "eks":
        operation = next((name for pattern, name in _EKS_READS if pattern.search(place.path) and method == "GET"), "")
    elif "/operation/" in place.path:
        operation = place.path.rpartition("/")[2]
    else:
        operation = parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
    return Call(service, operation, body)
