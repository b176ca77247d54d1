"""``harbor-aws image``, for those who build the workers' image by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.worker_image.context import worker_context
from harbor_aws.producer.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path


def said(*arguments: str) -> bytes:
    """What it writes to stdout."""
    result = CliRunner().invoke(app, ["image", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout_bytes


def test_the_context_goes_where_it_is_wanted(tmp_path: Path) -> None:
    """To a file, with the tag said; to stdout with nothing else there."""
    context = worker_context()
    assert said("--output", str(tmp_path / "context.tar.gz")) == f"{context.tag}\n".encode()
    assert (tmp_path / "context.tar.gz").read_bytes() == context.archive
    assert said("-o", "-") == context.archive


def test_without_a_target_it_only_says_what_would_be_built() -> None:
    """The tag alone, for scripts."""
    assert said() == f"{worker_context().tag}\n".encode()


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """As the user's mistake."""
    with pytest.raises(UsageError, match=r"missing/context.tar.gz cannot be written: No such file"):
        said("-o", str(tmp_path / "missing" / "context.tar.gz"))
