"""The commands: arguments in, text out. Everything that they do is done by the package's other modules."""

from __future__ import annotations

from typing import cast

from typer.main import get_command

from harbor_aws.producer.cli.app import Command, app, load_command
from harbor_aws.producer.cli.errors import run

__all__ = ["enqueue_main", "main", "replay_main"]


def main() -> None:
    """``harbor-aws``."""
    run(lambda: cast("Command", get_command(app)), name="harbor-aws")


def enqueue_main() -> None:
    """``harbor-aws-enqueue``, which is ``harbor-aws enqueue``."""
    run(lambda: load_command("enqueue"), name="harbor-aws-enqueue")


def replay_main() -> None:
    """``harbor-aws-replay``, which is ``harbor-aws dlq replay``."""
    run(lambda: load_command("replay", place="harbor_aws.producer.cli.dlq:replay"), name="harbor-aws-replay")
