"""``harbor-aws image``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.worker_image.context import worker_context


def image(
    *,
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the build context there, a tar.gz; '-' is stdout."),
    ] = None,
) -> None:
    """Say the tag of the workers' image of this harbor-aws, and write what it is built from.

    ``deploy`` has AWS build it, so this is for those who build by hand; then ``deploy --worker-image``.

    Examples:

        harbor-aws image -o context.tar.gz

        harbor-aws image -o - | docker build -t registry.example.org/worker -
    """
    context = worker_context()
    if target == Path("-"):
        typer.get_binary_stream("stdout").write(context.archive)
        return
    if target is not None:
        try:
            target.write_bytes(context.archive)
        except OSError as error:
            raise UsageError(f"{target} cannot be written: {error.strerror}.") from error
    typer.echo(context.tag)
