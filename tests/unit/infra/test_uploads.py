"""What is left in the bucket of uploads and attempts that came to nothing."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import pytest

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.objects import ObjectMissingError, ObjectStore
from harbor_aws.infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTED_BYTES = 17 * 2**20
"""More than boto3 sends in one piece (8 MiB)."""

_UPLOAD = (
    b"<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u-1</UploadId>"
    b"</InitiateMultipartUploadResult>"
)


class Bucket(BaseHTTPRequestHandler):
    """Begins uploads, takes no part but the first, and tags everything but ``missing``."""

    requests: ClassVar[list[str]] = []
    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self._answer(200, _UPLOAD)

    def do_PUT(self) -> None:
        if "tagging" in self.path:
            self._answer(404 if "missing" in self.path else 200, b"")
        else:
            self._answer(200 if "partNumber=1" in self.path else 400, b"")

    def do_DELETE(self) -> None:
        self._answer(204, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.requests.append(f"{self.command} {self.path}")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    Bucket.requests.clear()
    Bucket.bodies.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        stack = Stack(
            name="x", region="us-east-1", queue_url="", dead_letter_queue_url="", bucket="b", endpoint_url=url
        )
        yield ObjectStore.of(stack)
        server.shutdown()


def test_an_upload_that_fails_leaves_no_parts(store: ObjectStore, tmp_path: Path) -> None:
    """Parts that nobody sees cost money until they are removed; boto3 aborts the upload."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(PARTED_BYTES)
    with pytest.raises(TransientError):
        store.upload("key", tmp_path / "file")
    assert "DELETE /b/key?uploadId=u-1" in Bucket.requests


def test_what_is_to_expire_is_tagged(store: ObjectStore) -> None:
    """By the tag that the bucket's life-cycle rule names."""
    store.expire("key")
    assert Bucket.requests == ["PUT /b/key?tagging"]
    assert b"<Key>harbor-aws</Key><Value>expires</Value>" in Bucket.bodies[0]
    with pytest.raises(ObjectMissingError):
        store.expire("missing")
