"""What a deploy asks of its account, on moto and on a Service Quotas that says what it is told to."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.moto_account import moto_account, use_account
from tests.integration.moto_stack import REGION

from harbor_aws.infra.aws import Account
from harbor_aws.infra.deploy.account import caller_arn, fargate_vcpus
from harbor_aws.infra.deploy.prefix_lists import s3_prefix_list

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = Account(REGION)


@contextmanager
def quotas(answers: dict[str, tuple[int, dict[str, Any]]]) -> Iterator[tuple[str, list[str]]]:
    """A Service Quotas with an answer to each operation; its URL, and the operations that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            asked.append(operation)
            status, answer = answers[operation]
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


OWN, DEFAULT = "GetServiceQuota", "GetAWSDefaultServiceQuota"
UNKNOWN = (400, {"__type": "NoSuchResourceException", "Message": "none"})
REFUSED = (400, {"__type": "AccessDeniedException", "Message": "not authorized"})


@pytest.mark.parametrize(
    ("own", "default", "vcpus"),
    [
        ((200, {"Quota": {"Value": 4000.0}}), UNKNOWN, 4000),
        (UNKNOWN, (200, {"Quota": {"Value": 6.0}}), 6),
        (REFUSED, UNKNOWN, None),
        (UNKNOWN, REFUSED, None),
    ],
)
def test_fargates_vcpus(
    monkeypatch: pytest.MonkeyPatch, own: tuple[int, Any], default: tuple[int, Any], vcpus: float | None
) -> None:
    """The account's own, else everybody's; whoever may not ask knows of none, and deploys all the same."""
    with quotas({OWN: own, DEFAULT: default}) as (url, asked):
        use_account(monkeypatch, url)
        assert fargate_vcpus(ACCOUNT) == vcpus
    assert asked == ([OWN, DEFAULT] if own == UNKNOWN else [OWN])


def test_who_deploys(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ARN of the account."""
    with moto_account() as url:
        use_account(monkeypatch, url)
        assert caller_arn(ACCOUNT).startswith("arn:aws:")


def test_the_prefix_list_of_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is AWS's own of the region."""
    with moto_account() as url:
        use_account(monkeypatch, url)
        assert s3_prefix_list(ACCOUNT).startswith("pl-")
