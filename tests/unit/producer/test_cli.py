"""How commands end when something is wrong."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, cast

import pytest
import typer
from typer.main import get_command

from harbor_aws.infra.errors import HarborAwsError, PermanentError, TransientError, UsageError
from harbor_aws.producer.cli import enqueue_main, main
from harbor_aws.producer.cli.errors import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor_aws.producer.cli.app import Command


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """What a command does to SIGTERM is undone."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> int:
    """The exit code of a program whose only command raises ``error``."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        if error:
            raise error

    monkeypatch.setattr("sys.argv", ["program"])
    with pytest.raises(SystemExit) as exited:
        run(lambda: cast("Command", get_command(app)), name="program")
    return int(exited.value.code or 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("This is wrong."), 2),
        (HarborAwsError("This is wrong."), 1),
        (PermanentError("This is wrong."), 1),
        (TransientError("This is wrong."), 1),
    ],
)
def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: HarborAwsError, code: int
) -> None:
    """What was asked wrongly ends with 2, the rest with 1; one sentence on stderr, no traceback."""
    assert ended(monkeypatch, error) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Error: This is wrong.\n")


def test_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130, as shells have it."""
    assert ended(monkeypatch, KeyboardInterrupt()) == 130


def test_interruption_while_a_command_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the seconds that the imports take is no traceback either."""

    def load(*_: object, **__: object) -> Command:
        raise KeyboardInterrupt

    monkeypatch.setattr("harbor_aws.producer.cli.load_command", load)
    with pytest.raises(SystemExit) as exited:
        enqueue_main()
    assert exited.value.code == 130


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """harbor-aws and Harbor, each with its own."""
    monkeypatch.setattr("sys.argv", ["harbor-aws", "--version"])
    with pytest.raises(SystemExit) as exited:
        main()
    assert not exited.value.code
    assert re.fullmatch(r"harbor-aws \d\S+ \(harbor \d\S+\)\n", capsys.readouterr().out)


def test_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wrong is 0."""
    assert ended(monkeypatch, None) == 0


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody raised on purpose keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        ended(monkeypatch, ZeroDivisionError())
