"""``harbor-aws fetch``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harbor_aws.infra.objects import ObjectStore
from harbor_aws.producer.cli.errors import FAILED
from harbor_aws.producer.cli.options import JsonOption, StackOption, chosen_stack, notes, output
from harbor_aws.producer.fetch import Fetched, JobFetcher

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack


def fetch(
    job: Annotated[str, typer.Argument(help="The job's name.")],
    *,
    jobs_directory: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Directory of jobs that the job's own directory goes into (default: as enqueued, or 'jobs').",
            show_default=False,
        ),
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a job's results as a job directory of Harbor's; again at any time, for what is new.

    Examples:

        harbor-aws fetch 2026-11-22__12-00-00

        harbor-aws fetch nightly -o results && harbor view results

        harbor job resume -p results/nightly
    """
    fetched = fetch_job(chosen_stack(stack), job, jobs_directory=jobs_directory)
    if as_json:
        typer.echo(json.dumps(summary(fetched)))
    else:
        output.print(
            f"{fetched.new} new, {fetched.present} of {fetched.total} results in {fetched.directory}",
            soft_wrap=True,
            highlight=False,
        )
        if missing := fetched.total - fetched.present - len(fetched.failed):
            notes.print(f"{missing} have none: `harbor-aws status {job}` says why.", highlight=False, soft_wrap=True)
    if fetched.failed:
        raise typer.Exit(FAILED)


def fetch_job(stack: Stack, job: str, *, jobs_directory: Path | None = None) -> Fetched:
    """Fetch a job, showing progress, and then the trials that could not be fetched."""
    with bars() as progress:
        bar = progress.add_task("Fetching", total=None)
        fetched = JobFetcher(ObjectStore.of(stack), job, jobs_directory=jobs_directory).fetch(
            on_total=lambda total: progress.update(bar, total=total), on_trial=lambda: progress.advance(bar)
        )
    for trial, reason in fetched.failed.items():
        notes.print(f"Not fetched: {trial}: {reason}", highlight=False, markup=False, soft_wrap=True)
    return fetched


def summary(fetched: Fetched) -> dict[str, object]:
    """A fetch as JSON."""
    return {
        "directory": str(fetched.directory),
        "fetched": fetched.new,
        "present": fetched.present,
        "trials": fetched.total,
        "failed": fetched.failed,
    }


def bars(*, disable: bool = False) -> Progress:
    """Progress bars on stderr, if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=notes,
        transient=True,
        disable=disable or not notes.is_terminal,
    )
