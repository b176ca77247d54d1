"""Nothing waits here."""

from __future__ import annotations

import pytest

from harbor_aws.infra.deploy import follow, stacks


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0)
    monkeypatch.setattr(stacks, "LOOK_SECONDS", 0)
