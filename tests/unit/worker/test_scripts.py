"""The shell scripts, in this machine's own shell."""

from __future__ import annotations

import subprocess

import pytest

from harbor_aws.worker.exec.scripts import BOOTSTRAP, Command, payload

ID = "ab" * 16


def bootstrap(data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(BOOTSTRAP, input=data, capture_output=True, timeout=30, check=False)


def test_a_command_reports_its_start_and_its_end() -> None:
    """The start marker comes before the output, the end marker behind it, on both streams."""
    result = bootstrap(payload(Command("echo out; echo err >&2; exit 7", {}), ID))
    start, rest = result.stdout.split(b"out\n")
    assert start.startswith(f"harbor-aws:{ID}:start:".encode())
    assert rest == f"harbor-aws:{ID}:end:7:".encode()
    assert result.stderr == f"err\nharbor-aws:{ID}:end:7:".encode()


@pytest.mark.parametrize("missing", [1, 5, 500])
def test_a_command_that_did_not_come_whole_is_not_run(missing: int) -> None:
    """A stream that is cut within the command runs nothing of it."""
    result = bootstrap(payload(Command("echo ran", {}), ID)[:-missing])
    assert b"ran" not in result.stdout
    assert result.returncode != 0


def test_what_no_shell_can_take_is_refused() -> None:
    """A NUL, or a variable's name that cannot be exported, is refused before anything is sent."""
    with pytest.raises(ValueError, match="NUL"):
        payload(Command("echo \0", {}), ID)
    with pytest.raises(ValueError, match=r"'a\.b'"):
        payload(Command("true", {"a.b": "1"}), ID)
