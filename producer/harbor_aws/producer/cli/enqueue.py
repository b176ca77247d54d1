"""``harbor-aws enqueue``, also called ``harbor-aws-enqueue``."""

from __future__ import annotations

import inspect
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from harbor.cli.jobs import print_job_results_tables
from harbor.cli.utils import run_async

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.infra.settings import Settings
from harbor_aws.producer.cli.errors import FAILED
from harbor_aws.producer.cli.estimate_view import count, right_sized_line, summary_lines
from harbor_aws.producer.cli.fetch import bars, fetch_job, summary
from harbor_aws.producer.cli.flags import given_flags, harbor_flags, job_config, refuse_flags, with_dataset
from harbor_aws.producer.cli.options import (
    JsonOption,
    RightSizeOption,
    StackOption,
    chosen_stack,
    notes,
    output,
    stack_argument,
)
from harbor_aws.producer.cli.status import follow_job
from harbor_aws.producer.cli.task_images import build_task_images
from harbor_aws.producer.cli.variables import missing_variables
from harbor_aws.producer.enqueue import claim, ensure_name_is_free, resume, send, upload_bundles
from harbor_aws.producer.estimate.prepared import estimate_of
from harbor_aws.producer.estimate.used import uses_of
from harbor_aws.producer.follow import StrandedError
from harbor_aws.producer.plan import Prepared, prepare
from harbor_aws.producer.portable import dump_job_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor.models.job.config import JobConfig

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.estimate.estimate import Estimate
    from harbor_aws.producer.planfile import PlannedTrial

_PANEL = "harbor-aws"


def _own_options(
    ctx: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="name@version or org/name@ref of Harbor's registry, a task directory, or a directory of tasks.",
            show_default=False,
        ),
    ] = None,
    *,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Follow the job, fetch it, and print Harbor's table.", rich_help_panel=_PANEL),
    ] = False,
    skip_unsupported: Annotated[
        bool,
        typer.Option("--skip-unsupported", help="Leave out tasks that cannot run here.", rich_help_panel=_PANEL),
    ] = False,
    restricted: Annotated[
        bool,
        typer.Option(
            "--restricted",
            help="Run pods that Pod Security 'restricted' admits, without root; for images that work so. "
            "Short for --ek restricted=true.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    attempts: Annotated[
        int | None,
        typer.Option(
            "--attempts",
            min=1,
            help="How often a trial is tried when the infrastructure fails it (default: HARBOR_AWS_ATTEMPTS, or 3).",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="JOB",
            help="Send what an interrupted enqueue of JOB left unsent.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    right_size: RightSizeOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only the signature is used: the options that Harbor does not have."""


def enqueue(**options: Any) -> None:
    """Put every trial of a dataset on the queue, with the flags of `harbor run`.

    Nothing is enqueued unless everything can run.

    Examples:

        harbor-aws-enqueue terminal-bench@2.0 -a claude-code -m anthropic/claude-opus-4-1 -k 5

        harbor-aws-enqueue ./my-tasks -a oracle --wait

        harbor-aws-enqueue -c job.yaml --skip-unsupported --dry-run
    """
    ctx: typer.Context = options.pop("ctx")
    given = given_flags(ctx, options)
    stack = chosen_stack(options["stack"])
    if options["resume"]:
        job: str | None = _resume(stack, options, given)
    else:
        refuse_flags(sorted(given))
        config = job_config(with_dataset(options, given))
        if options["restricted"]:
            config.environment.kwargs["restricted"] = True
        if options["print_config"]:
            typer.echo(dump_job_config(config))
            return
        job = _start(stack, config, options)
    if job and options["wait"]:
        _wait(stack, job, as_json=options["as_json"])


def _start(stack: Stack, config: JobConfig, options: Mapping[str, Any]) -> str | None:
    """Enqueue a new job; its name, or ``None`` if it was only a dry run."""
    store = ObjectStore.of(stack)
    job: str = config.job_name
    ensure_name_is_free(store, job)
    with tempfile.TemporaryDirectory(prefix="harbor-aws-bundles-") as directory:
        with notes.status("Planning and checking"):
            attempts = options["attempts"] or Settings().attempts
            prepared = run_async(
                prepare(
                    config,
                    directory=Path(directory),
                    attempts=attempts,
                    skip_unsupported=options["skip_unsupported"],
                    stack=stack,
                    deadline_seconds=Settings().trial_deadline_seconds,
                    uses=partial(uses_of, store) if options["right_size"] else None,
                    missing=partial(missing_variables, stack),
                )
            )
            price = estimate_of(stack, store, prepared)
        for line in prepared.skipped:
            notes.print(f"Left out: {line}", highlight=False, markup=False)
        if options["dry_run"]:
            _report(job, prepared, price, options, sent=0)
            return None
        _upload(stack, store, prepared, quiet=options["quiet"])
    _send(stack, store, job, prepared.trials, quiet=options["quiet"])
    _report(job, prepared, price, options, sent=len(prepared.trials))
    return job


def _resume(stack: Stack, options: Mapping[str, Any], given: set[str]) -> str:
    """Send what an interrupted enqueue left; the job's name."""
    allowed = {"resume", "stack", "wait", "as_json", "quiet"}
    if others := sorted(given - allowed):
        raise UsageError(f"--resume takes a job as it was planned; leave out {', '.join(others)}.")
    job: str = options["resume"]
    store = ObjectStore.of(stack)
    with bars(disable=options["quiet"]) as progress:
        bar = progress.add_task("Enqueueing", total=None)
        sent = resume(
            store,
            Queue.trials(stack),
            job,
            on_total=lambda total: progress.update(bar, total=total),
            advance=lambda: progress.advance(bar),
        )
    if options["as_json"] and not options["wait"]:
        typer.echo(json.dumps({"job": job, "sent": sent}))
    elif not options["as_json"]:
        queued = f"{count(sent, 'trial')} that had not been sent {'is' if sent == 1 else 'are'}"
        output.print(f"Job {job}: {queued} in the queue.", highlight=False)
    return job


def _upload(stack: Stack, store: ObjectStore, prepared: Prepared, *, quiet: bool) -> None:
    """All that must be in place before the first message."""
    with bars(disable=quiet) as progress:
        bundles = progress.add_task("Uploading tasks", total=len(prepared.bundles))
        upload_bundles(store, prepared.bundles, advance=lambda: progress.advance(bundles))
        build_task_images(stack, prepared.images, progress=progress, quiet=quiet)
    claim(store, prepared)


def _send(stack: Stack, store: ObjectStore, job: str, trials: Sequence[PlannedTrial], *, quiet: bool) -> None:
    with bars(disable=quiet) as progress:
        bar = progress.add_task("Enqueueing", total=len(trials))
        send(store, Queue.trials(stack), job, trials, advance=lambda: progress.advance(bar))


def _report(job: str, prepared: Prepared, price: Estimate, options: Mapping[str, Any], *, sent: int) -> None:
    if options["as_json"]:
        if not options["wait"] or options["dry_run"]:
            facts = {"job": job, "trials": len(prepared.trials), "tasks": prepared.tasks, "sent": sent}
            skipped = {"skipped": prepared.skipped, "dry_run": options["dry_run"]}
            typer.echo(json.dumps({**facts, **skipped, "estimate": price.model_dump(mode="json")}))
        return
    what = f"{count(len(prepared.trials), 'trial')} of {count(prepared.tasks, 'task')}"
    if options["dry_run"]:
        output.print(f"{what} can run; nothing was enqueued (--dry-run).", highlight=False)
        _report_price(price, options)
        return
    where = stack_argument(options["stack"])
    are = "is" if len(prepared.trials) == 1 else "are"
    output.print(f"Job {job}: {what} {are} in the queue.", highlight=False)
    _report_price(price, options)
    if not options["wait"]:
        output.print(f"  harbor-aws status {job} --watch{where}", highlight=False, soft_wrap=True)
        output.print(f"  harbor-aws fetch {job}{where}", highlight=False, soft_wrap=True)


def _report_price(price: Estimate, options: Mapping[str, Any]) -> None:
    for line in summary_lines(price):
        output.print(f"  {line}", highlight=False, markup=False)
    if options["right_size"]:
        output.print(f"  {right_sized_line(price)}", highlight=False, markup=False)


def _wait(stack: Stack, job: str, *, as_json: bool) -> None:
    """Follow, fetch, show; exits with 1 unless every trial has a result."""
    stranded: StrandedError | None = None
    try:
        follow_job(stack, job, console=notes)
    except StrandedError as error:
        stranded = error
    except KeyboardInterrupt:
        notes.print(f"The job goes on: `harbor-aws status {job} --watch`, `harbor-aws fetch {job}`.", highlight=False)
        raise
    fetched = fetch_job(stack, job)
    if as_json:
        typer.echo(json.dumps({"job": job, **summary(fetched)}))
    else:
        print_job_results_tables(fetched.result)
        output.print(f"Results in {fetched.directory}", highlight=False, soft_wrap=True)
    if stranded:
        raise stranded
    if dead := fetched.total - fetched.present - len(fetched.failed):
        notes.print(f"{dead} of {fetched.total} trials are dead letters: `harbor-aws status {job}` says why.")
    if fetched.present < fetched.total:
        raise typer.Exit(FAILED)


def _signature() -> inspect.Signature:
    own = inspect.signature(_own_options, eval_str=True).parameters.values()
    return inspect.Signature([*own, *harbor_flags()], return_annotation=None)


enqueue.__signature__ = _signature()  # type: ignore[attr-defined]  # what Typer reads the options from
enqueue.__annotations__ = {name: parameter.annotation for name, parameter in _signature().parameters.items()}
