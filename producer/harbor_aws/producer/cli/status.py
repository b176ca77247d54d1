"""``harbor-aws status``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.producer.cli.errors import FAILED
from harbor_aws.producer.cli.options import JsonOption, StackOption, chosen_stack, notes, output, stack_argument
from harbor_aws.producer.cli.render import job_view, jobs_view
from harbor_aws.producer.follow import INTERVAL_SECONDS, Patience, follow
from harbor_aws.producer.jobs import JobsReader
from harbor_aws.producer.overview import JobReader, Overview
from harbor_aws.producer.stackview import StackReader

if TYPE_CHECKING:
    from rich.console import Console

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.jobs import JobSummary
    from harbor_aws.producer.stackview import StackView


def status(
    job: Annotated[str | None, typer.Argument(help="A job's name; without it, the jobs.", show_default=False)] = None,
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            "-w",
            help="Look again and again; at a job, until all its trials have ended: exit code 0 if each has a result.",
        ),
    ] = False,
    last: Annotated[int, typer.Option("--last", min=1, help="How many jobs to list.")] = 20,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a job stands: trials by phase, those in flight, rewards so far, failures, dead letters, workers.

    Examples:

        harbor-aws status

        harbor-aws status nightly --watch

        harbor-aws status nightly --json | jq .phases
    """
    chosen = chosen_stack(stack)
    if job is None:
        _show_jobs(chosen, last=last, watch=watch, as_json=as_json)
    elif watch:
        last_look = follow_job(chosen, job, console=output, as_json=as_json)
        if dead := len(last_look.dead):
            are = "is a dead letter" if dead == 1 else "are dead letters"
            why = f"harbor-aws dlq list --job {job}{stack_argument(stack)}"
            notes.print(
                f"{dead} of {last_look.trials} trials {are}: `{why}` says why.", highlight=False, soft_wrap=True
            )
            raise typer.Exit(FAILED)
    else:
        overview, view = JobReader(ObjectStore.of(chosen), job).read(), StackReader(chosen).read()
        if as_json:
            typer.echo(_json(overview, view))
        else:
            output.print(job_view(overview, view))


def follow_job(stack: Stack, job: str, *, console: Console, as_json: bool = False) -> Overview:
    """Show a job until every trial has ended; as JSON, one line a look.

    Raises:
        StrandedError: the rest will never end by itself.
        TransientError: the stack has not answered for a quarter of an hour.
    """
    reader, stack_reader, queue = JobReader(ObjectStore.of(stack), job), StackReader(stack), Queue.trials(stack)
    if as_json:
        return follow(reader, queue, on_look=lambda overview: typer.echo(_json(overview, stack_reader.read())))
    with Live(console=console, auto_refresh=False) as live:
        last = follow(
            reader,
            queue,
            on_look=lambda overview: live.update(job_view(overview, stack_reader.read()), refresh=True),
        )
    if not console.is_terminal:
        console.print()  # Live ends a pipe's last line nowhere
    return last


def _show_jobs(stack: Stack, *, last: int, watch: bool, as_json: bool) -> None:
    reader, stack_reader = JobsReader(ObjectStore.of(stack)), StackReader(stack)
    if as_json:
        typer.echo(_jobs_json(reader.read(limit=last), stack_reader.read()))
        return
    if not watch:
        output.print(jobs_view(reader.read(limit=last), stack_reader.read()))
        return
    patience = Patience()
    with Live(console=output, auto_refresh=False) as live:
        while True:
            try:
                live.update(jobs_view(reader.read(limit=last), stack_reader.read()), refresh=True)
                patience.look_worked()
            except TransientError as error:
                patience.look_failed(error)
            time.sleep(INTERVAL_SECONDS)


def _json(overview: Overview, view: StackView) -> str:
    return json.dumps({**overview.model_dump(mode="json"), "stack": view.model_dump(mode="json")})


def _jobs_json(jobs: list[JobSummary], view: StackView) -> str:
    return json.dumps({"jobs": [job.model_dump(mode="json") for job in jobs], "stack": view.model_dump(mode="json")})
