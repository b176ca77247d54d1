"""``harbor-aws scale``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer.cli.options import JsonOption, StackOption, chosen_stack, notes, output, stack_argument
from harbor_aws.producer.workers import WorkerCount, WorkerScale, automate_workers, scale_workers, worker_scale


def scale(
    workers: Annotated[
        int | None,
        typer.Argument(metavar="N", min=0, help="How many workers there shall be, whatever is queued."),
    ] = None,
    *,
    minimum: Annotated[
        int | None,
        typer.Option("--min", metavar="A", min=0, help="Let the queue decide, and have at least A workers."),
    ] = None,
    maximum: Annotated[
        int | None, typer.Option("--max", metavar="B", min=1, help="Let the queue decide, and have at most B workers.")
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Let the queue decide, within the bounds that there are.")
    ] = False,
    stack: StackOption = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="With N, return when there are exactly so many.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Set the number of workers, or let the queue decide it, or see what it is.

    A worker that goes finishes or hands back its trials, and none is lost. N is by hand, until --auto, --min or --max.
    The local stack has no autoscaling.

    Examples:

        harbor-aws scale

        harbor-aws scale 4

        harbor-aws scale 0 --no-wait

        harbor-aws scale --min 1 --max 20

        harbor-aws scale --auto
    """
    is_automatic = auto or minimum is not None or maximum is not None
    if workers is not None and is_automatic:
        raise UsageError("N is by hand, and --auto, --min and --max let the queue decide; say one or the other.")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise UsageError(f"--min {minimum} is more than --max {maximum}.")
    chosen = chosen_stack(stack)
    if workers is not None:
        with notes.status(f"Scaling to {workers} workers") as line:
            found = asyncio.run(
                scale_workers(chosen, workers, wait=wait, on_change=lambda count: line.update(progress(workers, count)))
            )
    elif is_automatic:
        found = asyncio.run(automate_workers(chosen, minimum=minimum, maximum=maximum))
    else:
        found = asyncio.run(worker_scale(chosen))
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        output.print(progress(found.desired if workers is None else workers, found), highlight=False)
        output.print(decided_by(found, more=stack_argument(stack)), highlight=False, soft_wrap=True)


def progress(wanted: int, count: WorkerCount) -> str:
    return f"Workers: {count.ready} ready, {count.existing} there, {wanted} wanted"


def decided_by(found: WorkerScale, *, more: str) -> str:
    """Who decides how many workers there are, for a person.

    Args:
        more: what a command must say to mean the same stack.
    """
    auto = found.autoscaling
    if auto is None:
        return f"By hand: harbor-aws scale N{more}"
    if auto.is_paused:
        return f"By hand; harbor-aws scale --auto{more} lets the queue decide again, {auto.minimum} to {auto.maximum}"
    line = f"By the queue, {auto.minimum} to {auto.maximum}"
    return line if auto.trouble is None else f"{line}, but KEDA cannot: {auto.trouble}"
