"""The door to S3, against a server that has its troubles."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError
from tests.integration.moto_stack import make_stack, moto_server

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.objects import ObjectStore, ObjectVersion
from harbor_aws.infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # botocore's own retries wait in between


class Unavailable(BaseHTTPRequestHandler):
    """Answers 503 to everything."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._refuse()

    def do_GET(self) -> None:
        self._refuse()

    do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

    def _refuse(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    """A bucket whose server is unavailable."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Unavailable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        stack = Stack(
            name="x", region="us-east-1", queue_url="", dead_letter_queue_url="", bucket="b", endpoint_url=url
        )
        yield ObjectStore.of(stack)
        server.shutdown()


def test_writes_on_a_condition(tmp_path: Path) -> None:
    """One that knows the version there is is taken; one that knows another, or none, is not, unless it is its own."""
    with moto_server() as url:
        store = ObjectStore.of(make_stack(url, kubeconfig=tmp_path))
        first = store.put_if_unchanged("key", b"1", etag=None)
        assert first
        assert store.put_if_unchanged("key", b"2", etag=None) is None
        assert store.put_if_unchanged("key", b"1", etag=None) == first
        second = store.put_if_unchanged("key", b"2", etag=first)
        assert second
        assert store.get_version("key") == ObjectVersion(b"2", second)
        assert store.put_if_unchanged("key", b"3", etag=first) is None
        assert store.put_if_unchanged("key", b"2", etag=first) == second
        assert store.put_if_unchanged("none", b"1", etag=first) is None
        assert store.get_version("none") is None


@pytest.mark.parametrize(("conflicts", "written"), [(2, True), (9, False)])
def test_a_conflict_of_conditional_writes_passes(conflicts: int, written: bool) -> None:
    """S3 asks to come again while another write on a condition is under way; for some time that is done."""
    answers = [ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")] * conflicts

    class Client:
        def put_object(self, **_: object) -> dict[str, str]:
            if answers:
                raise answers.pop()
            return {"ETag": "new"}

    store = ObjectStore(cast("Any", Client()), bucket="b")
    if written:
        assert store.put_if_unchanged("key", b"1", etag="old") == "new"
    else:
        with pytest.raises(TransientError):
            store.put_if_unchanged("key", b"1", etag="old")


def test_an_upload_that_s3_cannot_take_may_be_tried_again(store: ObjectStore, tmp_path: Path) -> None:
    """Also where boto3's transfer manager wraps the answer in an exception of its own."""
    (tmp_path / "file").write_text("content")
    with pytest.raises(TransientError):
        store.upload("key", tmp_path / "file")


def test_a_download_that_s3_cannot_give_may_be_tried_again(store: ObjectStore, tmp_path: Path) -> None:
    """The same on the way back."""
    with pytest.raises(TransientError):
        store.download("key", tmp_path / "file")
