"""The exec protocol's messages."""

from __future__ import annotations

import json

import pytest

from harbor_aws.worker.exec.channels import (
    FRAME_BYTES,
    Channel,
    ExecStatus,
    Frame,
    decode,
    parse_status,
    stdin_frames,
)


def test_stdin_is_cut_into_messages() -> None:
    """Each message begins with stdin's channel, none is too long, and nothing is lost."""
    data = bytes(range(256)) * 300
    frames = list(stdin_frames(data))
    assert {frame[0] for frame in frames} == {Channel.STDIN}
    assert max(map(len, frames)) == FRAME_BYTES + 1
    assert b"".join(frame[1:] for frame in frames) == data
    assert list(stdin_frames(b"")) == []


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        (b"\x01out\x00", Frame(Channel.STDOUT, b"out\x00")),
        (b"\x02", Frame(Channel.STDERR, b"")),
        (b"\x03{}", Frame(Channel.ERROR, b"{}")),
        (b"", None),
        (b"\x09?", None),
        (b"\xff\x01", None),
    ],
)
def test_messages_of_the_server(message: bytes, frame: Frame | None) -> None:
    """The three channels of a server are told apart; all else is nothing to us."""
    assert decode(message) == frame


def _failure(**fields: object) -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "message": "m", **fields}).encode()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b'{"metadata":{},"status":"Success"}', ExecStatus(0)),
        (
            _failure(reason="NonZeroExitCode", details={"causes": [{"reason": "ExitCode", "message": "3"}]}),
            ExecStatus(3, "m"),
        ),
        (
            _failure(reason="InternalError", details={"causes": [{"message": "container not found"}]}),
            ExecStatus(None, "m"),
        ),
        (_failure(reason="NonZeroExitCode"), ExecStatus(None, "m")),
        (_failure(reason="NonZeroExitCode", details={"causes": [{"reason": "ExitCode"}]}), ExecStatus(None, "m")),
        (b"proxy error", ExecStatus(None, "proxy error")),
        (b"", ExecStatus(None, "")),
    ],
)
def test_only_an_exit_code_is_an_exit_code(data: bytes, status: ExecStatus) -> None:
    """Whatever does not say an exit code has none: it is never taken for 0."""
    assert parse_status(data) == status
