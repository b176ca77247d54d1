"""The commands: arguments in, text out. Everything that they do is done by the package's other modules."""

from __future__ import annotations

from harbor_aws.producer.cli.app import app, enqueue_app
from harbor_aws.producer.cli.errors import run

__all__ = ["enqueue_main", "main"]


def main() -> None:
    """``harbor-aws``."""
    run(app)


def enqueue_main() -> None:
    """``harbor-aws-enqueue``, which is ``harbor-aws enqueue``."""
    run(enqueue_app)
