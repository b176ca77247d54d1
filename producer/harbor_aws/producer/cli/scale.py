"""``harbor-aws scale``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from harbor_aws.producer.cli.options import JsonOption, StackOption, chosen_stack, notes, output
from harbor_aws.producer.workers import WorkerCount, scale_workers


def scale(
    workers: Annotated[int, typer.Argument(metavar="N", min=0, help="How many workers there shall be.")],
    *,
    stack: StackOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when there are exactly so many.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Set the number of workers; one that goes finishes or hands back its trials, and none is lost.

    Examples:

        harbor-aws scale 4

        harbor-aws scale 0 --no-wait
    """
    with notes.status(f"Scaling to {workers} workers") as line:
        count = asyncio.run(
            scale_workers(
                chosen_stack(stack), workers, wait=wait, on_change=lambda count: line.update(_progress(workers, count))
            )
        )
    if as_json:
        typer.echo(count.model_dump_json())
    else:
        output.print(_progress(workers, count))


def _progress(wanted: int, count: WorkerCount) -> str:
    return f"Workers: {count.ready} ready, {count.existing} there, {wanted} wanted"
