"""One fetch at a time writes into a job's directory, and none leaves anything beside it for long."""

from __future__ import annotations

import subprocess
import sys
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer import fetch_place as module
from harbor_aws.producer.fetch_place import fetch_place

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, pathlib, signal, sys
from harbor_aws.producer.fetch_place import fetch_place
with fetch_place(pathlib.Path(sys.argv[1])) as place:
    (place / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_fetch_left_is_removed(tmp_path: Path) -> None:
    """By the next one of this job; what lies there of another job, whose name begins likewise, is its own."""
    others = tmp_path / ".job-2.fetching"
    others.mkdir()
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "job")], check=False).returncode == -9
    assert (tmp_path / ".job.fetching" / "half").exists()
    with fetch_place(tmp_path / "job") as place:
        assert list(place.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [others.name, "job"]


def test_a_second_fetch_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and begins when the first has ended."""
    waiting = Event()
    monkeypatch.setattr(module.logger, "warning", lambda *_: waiting.set())
    ended: list[str] = []

    def second() -> None:
        with fetch_place(tmp_path / "job"):
            ended.append("second")

    with fetch_place(tmp_path / "job") as place:
        thread = Thread(target=second)
        thread.start()
        assert waiting.wait(30)
        assert place.exists()
        ended.append("first")
    thread.join()
    assert ended == ["first", "second"]


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said, with what to do."""
    (tmp_path / "job").touch()
    (tmp_path / ".mine.fetching").touch()
    for name in ("job", "mine"):  # the second: what lies beside it is in the way
        with pytest.raises(UsageError, match="-o names another directory"), fetch_place(tmp_path / name):
            pass
