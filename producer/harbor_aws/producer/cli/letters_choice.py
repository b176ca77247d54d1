"""Options that choose dead letters, and the look at the queue that they choose from."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.producer.cli.fetch import bars
from harbor_aws.producer.cli.options import notes
from harbor_aws.producer.dead_letters.browse import look
from harbor_aws.producer.dead_letters.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.dead_letters.browse import Look

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """``90s``, ``30m``, ``2h`` or ``7d``."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time such as 90s, 30m, 2h or 7d.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def per_second(text: str) -> float:
    """``2``, ``0.5`` or ``2/s``."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)(?:/s)?", text.strip())
    if found is None or float(found[1]) == 0:
        raise typer.BadParameter(f"{text!r} is not a number of trials a second, such as 2 or 0.5.")
    return float(found[1])


JobOption = Annotated[str | None, typer.Option("--job", metavar="JOB", help="Only letters of this job.")]
CauseOption = Annotated[
    str | None,
    typer.Option("--cause", metavar="CAUSE", help="Only letters of this cause, such as PodStartError or WorkerDied."),
]
SinceOption = Annotated[
    timedelta | None,
    typer.Option("--since", metavar="TIME", parser=duration, help="Only what died within 90s, 30m, 2h, 7d, …"),
]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID...]", help="Letters' ids, or their beginnings.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


def look_at(stack: Stack) -> Look:
    """Every dead letter of the stack, with progress, and a note of what could not be seen."""
    with bars() as progress:
        bar = progress.add_task("Looking", total=None)
        seen = look(
            Queue.dead_letters(stack, attempts=1),
            ObjectStore.of(stack),
            on_letters=lambda count: progress.advance(bar, count),
        )
    if seen.hidden:
        notes.print(
            f"About {seen.hidden} dead letters are in the hands of another command, or of one that was killed, and are "
            f"not among these; they are back within minutes.",
            highlight=False,
            soft_wrap=True,
        )
    if seen.is_cut_off:
        notes.print("There are more dead letters than can be seen at once; deal with these first.", soft_wrap=True)
    return seen


def chosen_letters(
    ids: Sequence[str] | None,
    *,
    job: str | None,
    cause: str | None,
    since: timedelta | None,
    everything: bool,
) -> Selection:
    """What the options mean.

    Raises:
        UsageError: nothing was chosen, or everything and something.
    """
    selection = Selection(ids=tuple(ids or ()), job=job, cause=cause, since=since)
    if selection.is_open and not everything:
        raise UsageError("Say which dead letters: their ids, --job, --cause, --since, or --all.")
    if everything and not selection.is_open:
        raise UsageError("--all means every dead letter; leave it out to choose by id, --job, --cause or --since.")
    return selection
