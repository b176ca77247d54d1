"""CodeBuild's API as a server on the loopback: builds live as they are told to, one step for each look at them.

boto3 talks to it as it does to AWS (JSON 1.1 over HTTP); ``AWS_ENDPOINT_URL_CODEBUILD`` leads there. moto has no such
life: there a build has succeeded as soon as somebody looks, and its variables are forgotten.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

Json = dict[str, Any]

PHASES = ("QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "FINALIZING")
"""What a build goes through, with COMPLETED after it."""

MOST_IDS = 100


@dataclass(frozen=True, slots=True)
class Life:
    """How a build goes."""

    ending: str = "SUCCEEDED"
    """Its ``buildStatus`` at the end."""
    in_phase: str = "BUILD"
    """The phase that ends like that, if not in success; none comes after it."""
    message: str = ""
    """That phase's own context message."""
    looks_per_phase: int = 1
    """For how many looks it stays in each."""
    never_ends: bool = False
    """Whether it stays in its first phase."""


@dataclass(slots=True)
class StubBuild:
    """A build as the server keeps it."""

    id: str
    project: str
    variables: dict[str, str]
    life: Life
    log_group: str
    looks: int = 0
    began: float = field(default_factory=time.time)

    @property
    def log_stream(self) -> str:
        return self.id.partition(":")[2]

    @property
    def has_ended(self) -> bool:
        return not self.life.never_ends and self.looks >= len(self._phases) * self.life.looks_per_phase

    @property
    def has_succeeded(self) -> bool:
        return self.has_ended and self.life.ending == "SUCCEEDED"

    def row(self) -> Json:
        """As BatchGetBuilds has it."""
        at = 0 if self.life.never_ends else self.looks // self.life.looks_per_phase
        current = "COMPLETED" if self.has_ended else self._phases[at]
        return {
            "id": self.id,
            "projectName": self.project,
            "buildStatus": self.life.ending if self.has_ended else "IN_PROGRESS",
            "buildComplete": self.has_ended,
            "currentPhase": current,
            "phases": [*self._past(at), {"phaseType": current, "startTime": self.began + at}],
            "startTime": self.began,
            "environment": {
                "environmentVariables": [
                    {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in self.variables.items()
                ]
            },
            "logs": self._logs(at),
        }

    @property
    def _phases(self) -> tuple[str, ...]:
        """Those that it goes through."""
        return PHASES if self.life.ending == "SUCCEEDED" else PHASES[: PHASES.index(self.life.in_phase) + 1]

    def _past(self, at: int) -> list[Json]:
        """The phases that are over; the last one has failed if the build has."""
        rows: list[Json] = [{"phaseType": "SUBMITTED", "phaseStatus": "SUCCEEDED", "startTime": self.began}]
        for number, phase in enumerate(self._phases[:at]):
            is_bad = self.life.ending != "SUCCEEDED" and phase == self.life.in_phase
            row: Json = {"phaseType": phase, "phaseStatus": "SUCCEEDED", "startTime": self.began + number}
            if is_bad:
                context = {"statusCode": "COMMAND_EXECUTION_ERROR", "message": self.life.message}
                row |= {"phaseStatus": self.life.ending, "contexts": [context]}
            rows.append(row)
        return rows

    def _logs(self, at: int) -> Json:
        """There is a log once the build has got a machine."""
        if "DOWNLOAD_SOURCE" not in self._phases[: at + 1]:
            return {"deepLink": "https://console.example/null"}
        link = f"https://console.example/{self.log_group}/{self.log_stream}"
        return {"groupName": self.log_group, "streamName": self.log_stream, "deepLink": link}


class CodeBuildStub:
    """The service.

    Attributes:
        lives: how the builds to come go, the next first; one that succeeds when there is none.
        on_end: called once with each build that has ended, before anybody learns of it.
        most_active: builds at once that the account may have.
        throttled: how many of the next requests of an operation are refused as too many.
        unanswered: how many of the next requests of an operation are carried out, and their connection then cut.
        log_groups: of projects whose builds print elsewhere than into ``/builds/<project>``.
        forgets: ids of builds that it does not know any more.
        requests: how many of each operation came, the refused ones too.
    """

    def __init__(self, projects: set[str]) -> None:
        self.projects = projects
        self.lives: list[Life] = []
        self.on_end: Callable[[StubBuild], None] = lambda _: None
        self.most_active = 100
        self.throttled: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.log_groups: dict[str, str] = {}
        self.forgets: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.builds: list[StubBuild] = []
        self.url = ""
        self._by_token: dict[str, tuple[Json, StubBuild]] = {}
        self._lock = threading.Lock()

    def forget_tokens(self) -> None:
        """As after five minutes."""
        self._by_token.clear()

    def answer(self, operation: str, body: Json) -> tuple[int, Json] | None:
        """Status and body; ``None``: cut the connection."""
        with self._lock:
            self.requests[operation] += 1
            if self.throttled[operation] > 0:
                self.throttled[operation] -= 1
                return _error("ThrottlingException", "Rate exceeded")
            answer = getattr(self, f"_{operation}")(body)
            if self.unanswered[operation] > 0:
                self.unanswered[operation] -= 1
                return None
            return answer if isinstance(answer, tuple) else (200, answer)

    def _StartBuild(self, body: Json) -> Json | tuple[int, Json]:  # noqa: N802 - CodeBuild's names, here and below
        if body["projectName"] not in self.projects:
            return _error("ResourceNotFoundException", f"Project cannot be found: {body['projectName']}")
        token = body.get("idempotencyToken", uuid4().hex)
        if token in self._by_token:
            asked, build = self._by_token[token]
            if asked != body:
                return _error("InvalidInputException", "idempotencyToken was used with other parameters")
            return {"build": build.row()}
        if sum(not build.has_ended for build in self.builds) >= self.most_active:
            message = f"Cannot have more than {self.most_active} builds in queue for the account"
            return _error("AccountLimitExceededException", message)
        build = StubBuild(
            id=f"{body['projectName']}:{uuid4()}",
            project=body["projectName"],
            variables={each["name"]: each["value"] for each in body.get("environmentVariablesOverride", [])},
            life=self.lives.pop(0) if self.lives else Life(),
            log_group=self.log_groups.get(body["projectName"], f"/builds/{body['projectName']}"),
        )
        self.builds.append(build)
        self._by_token[token] = (body, build)
        return {"build": build.row()}

    def _BatchGetBuilds(self, body: Json) -> Json | tuple[int, Json]:  # noqa: N802
        if not 1 <= len(body["ids"]) <= MOST_IDS:
            return _error("InvalidInputException", f"ids must have 1 to {MOST_IDS} members")
        asked = [build for build in self.builds if build.id in body["ids"] and build.id not in self.forgets]
        rows = [build.row() for build in asked]
        for build in asked:
            if not build.has_ended:
                build.looks += 1
                if build.has_ended:
                    self.on_end(build)
        known = {build.id for build in asked}
        return {"builds": rows, "buildsNotFound": [each for each in body["ids"] if each not in known]}

    def _ListBuildsForProject(self, body: Json) -> Json | tuple[int, Json]:  # noqa: N802
        if body["projectName"] not in self.projects:
            return _error("ResourceNotFoundException", f"The provided project {body['projectName']} does not exist")
        ids = [build.id for build in self.builds if build.project == body["projectName"]]
        if body.get("sortOrder", "DESCENDING") == "DESCENDING":
            ids.reverse()
        start = int(body.get("nextToken", 0))
        more = {"nextToken": str(start + MOST_IDS)} if len(ids) > start + MOST_IDS else {}
        return {"ids": ids[start : start + MOST_IDS], **more}


@contextmanager
def codebuild_stub(monkeypatch: pytest.MonkeyPatch, *projects: str) -> Iterator[CodeBuildStub]:
    """A server with these projects, to which all clients of CodeBuild that are made from now on go."""
    stub = CodeBuildStub(set(projects))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = stub.answer(self.headers["X-Amz-Target"].rpartition(".")[2], body)
            if answer is None:
                self.close_connection = True
                return
            status, said = answer
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        stub.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_CODEBUILD", stub.url)
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()


def _error(code: str, message: str) -> tuple[int, Json]:
    return 400, {"__type": code, "message": message}
