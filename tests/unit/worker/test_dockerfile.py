"""The user of a Dockerfile's container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harbor_aws.worker.dockerfile import final_user

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("FROM a\nRUN true\n", None),
        ("FROM a\nUSER one\nRUN true\nUSER two\n", "two"),
        ("FROM a\nUSER 1000:1000\n", "1000"),
        ("FROM a AS base\nUSER one\nFROM b\nRUN true\n", None),
        ("FROM a AS base\nUSER one\nFROM --platform=linux/amd64 Base AS final\nRUN true\n", "one"),
        ("FROM a as base\nUSER one\nFROM base\nUSER root\n", "root"),
    ],
)
def test_the_last_stages_user(tmp_path: Path, text: str, user: str | None) -> None:
    """The last stage's USER counts, with what it has from the stage that it is based on."""
    (tmp_path / "Dockerfile").write_text(text)
    assert final_user(tmp_path / "Dockerfile") == user


def test_without_a_dockerfile(tmp_path: Path) -> None:
    """A prebuilt image has no Dockerfile to ask."""
    assert final_user(tmp_path / "Dockerfile") is None
