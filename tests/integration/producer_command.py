"""The commands, run in the test's own process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harbor_aws.producer import cli


class Command:
    """Runs ``harbor-aws`` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What it printed on stdout, or on stderr if it was to fail."""
        self._monkeypatch.setattr("sys.argv", ["harbor-aws", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capfd.readouterr()
        assert (ended.value.code or 0) == code, out + err
        return err if code else out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))
