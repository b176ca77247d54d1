"""``harbor-aws estimate``."""

from __future__ import annotations

import inspect
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from harbor.cli.utils import run_async

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.layout import PLAN_NAME, job_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack, load_stack
from harbor_aws.producer.cli.estimate_view import estimate_view, right_sized_line
from harbor_aws.producer.cli.flags import (
    given_flags,
    harbor_flags,
    job_config,
    refuse_flags,
    with_dataset,
)
from harbor_aws.producer.cli.options import JsonOption, RightSizeOption, StackOption, notes, output
from harbor_aws.producer.estimate.alike import agent_of
from harbor_aws.producer.estimate.earlier import Earlier, earlier
from harbor_aws.producer.estimate.estimate import Estimate, estimate
from harbor_aws.producer.estimate.room import Room, room_of
from harbor_aws.producer.estimate.run import run_of
from harbor_aws.producer.estimate.used import uses_of
from harbor_aws.producer.overview import JobReader
from harbor_aws.producer.plan import prepare
from harbor_aws.producer.portable import dump_job_config
from harbor_aws.producer.tasks import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor.models.job.config import JobConfig

    from harbor_aws.producer.planfile import PlannedTrial

_PANEL = "harbor-aws"

_DEPLOYED_LATER = Stack(
    name="harbor-aws",
    region="",
    queue_url="",
    dead_letter_queue_url="",
    bucket="",
    isolation="namespace",
)
"""What a run's price is reckoned with before there is a stack: one that can do all that any can do. It has no registry
that images without a network could come from, so it is not one of those that need it to."""


def _own_options(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB|DATASET",
            help="A job of the stack, or what enqueue takes: name@version, org/name@ref, a task or a directory of "
            "tasks. A plain name is a job's if the stack has one of that name.",
            show_default=False,
        ),
    ] = None,
    *,
    job: Annotated[
        str | None,
        typer.Option("--job", help="The job's name, whatever else has it.", rich_help_panel=_PANEL, show_default=False),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="JOB",
            help="Take the durations of JOB's trials, whichever agent it ran (default: of the same tasks by the same "
            "agent in the stack's newest jobs).",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        str,
        typer.Option(
            "--concurrency",
            metavar="N|quota",
            help="Trials at once: a number, or as many as quotas let.",
            rich_help_panel=_PANEL,
        ),
    ] = "quota",
    max_vcpus: Annotated[
        int | None,
        typer.Option(
            "--max-vcpus",
            min=1,
            help="vCPUs of trials at once, instead of what the account's quota and the stack let.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    skip_unsupported: Annotated[
        bool,
        typer.Option("--skip-unsupported", help="Leave out tasks that cannot run here.", rich_help_panel=_PANEL),
    ] = False,
    right_size: RightSizeOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only the signature is used: the options that Harbor does not have."""


def estimate_command(**options: Any) -> None:
    """Say what a run will cost and how long it will take, before it is run. Nothing is sent, and no stack is needed.

    "At most" is what it costs if every trial takes all the time that its task gives it; "about" is as trials of the
    same tasks went before, if the stack has results of such. A trial that the infrastructure fails is tried again, and
    paid again. Models' own prices are not in it.

    Examples:

        harbor-aws estimate terminal-bench@2.0 -a claude-code -m anthropic/claude-opus-4-1 -k 5

        harbor-aws estimate ./my-tasks -a oracle --max-vcpus 1000

        harbor-aws estimate nightly                          # a job: what it has cost, and what is left

        harbor-aws estimate ./my-tasks -a oracle --like nightly --right-size --json | jq .about.usd
    """
    ctx: typer.Context = options.pop("ctx")
    given = given_flags(ctx, options)
    stack = _stack(options["stack"])
    room = room_of(stack, max_vcpus=options["max_vcpus"], concurrency=_concurrency(options["concurrency"]))
    job = _job(stack, options)
    if job is not None:
        found = _of_job(_needed(stack, job), job, options, given, room=room)
    else:
        refuse_flags(sorted(given))
        config = job_config(with_dataset({**options, "dataset": options["target"]}, given))
        if options["print_config"]:
            typer.echo(dump_job_config(config))
            return
        try:
            found = _of_dataset(stack, config, options, room=room)
        except DatasetError as error:
            if stack is None or not _may_be_a_job(options["target"]):
                raise
            raise DatasetError(f"The stack {stack.name!r} has no job {options['target']!r}. {error}") from error
    if options["as_json"]:
        typer.echo(found.model_dump_json())
    else:
        output.print(estimate_view(found))


def _stack(name: str | None) -> Stack | None:
    """The stack that is meant; ``None`` if none was named and there is none."""
    try:
        return load_stack(name or Settings().stack)
    except UsageError:
        if name is not None or "stack" in Settings().model_fields_set:
            raise
        return None


def _needed(stack: Stack | None, job: str) -> Stack:
    if stack is None:
        raise UsageError(f"The job {job!r} is a stack's: say which with --stack.")
    return stack


def _concurrency(said: str) -> int | None:
    if said == "quota":
        return None
    if not said.isdecimal() or int(said) == 0:
        raise UsageError(f"--concurrency is a number of trials or 'quota', and not {said!r}.")
    return int(said)


def _job(stack: Stack | None, options: Mapping[str, Any]) -> str | None:
    """The job that is meant, if one is: a plain name may be one's, a path or what has a version is not."""
    target, job = options["target"], options["job"]
    if job is not None:
        if target is not None:
            raise UsageError(f"--job {job} and {target} both say what to estimate; give one of them.")
        return str(job)
    if stack is None or not _may_be_a_job(target):
        return None
    return str(target) if ObjectStore.of(stack).exists(job_key(target, PLAN_NAME)) else None


def _may_be_a_job(target: str | None) -> bool:
    return target is not None and not set(target) & set("@/~") and not Path(target).exists()


def _of_job(stack: Stack, job: str, options: Mapping[str, Any], given: set[str], *, room: Room) -> Estimate:
    """What a job has cost, and what is left of it."""
    others = given - {"target", "job", "stack", "as_json", "max_vcpus", "concurrency", "quiet", "like"}
    if others:
        raise UsageError(f"The job {job!r} is planned already; leave out {', '.join(sorted(others))}.")
    store = ObjectStore.of(stack)
    with notes.status(f"Reading job {job}"):
        reader = JobReader(store, job)
        overview = reader.read()
        ended = reader.results.keys() | {trial.trial for trial in overview.dead}
        left = [trial for trial in reader.plan if trial.trial not in ended]
        like = options["like"]
        known = earlier(store, left, like=like) if like else _own_and_earlier(store, job, reader, left)
    return estimate(
        job,
        left,
        known,
        room=room,
        any_agent=bool(like),
        spent=overview.cost,
        running=len(overview.in_flight),
    )


def _own_and_earlier(store: ObjectStore, job: str, reader: JobReader, left: list[PlannedTrial]) -> Earlier:
    """The job's own runs, and earlier ones of those files that it has not measured by the same agent itself."""
    planned = {trial.trial: trial for trial in reader.plan}
    found = (run_of(job, planned[name], result) for name, result in reader.results.items() if name in planned)
    own = [run for run in found if run is not None]
    measured = {(run.bundle, run.agent) for run in own}
    rest = [trial for trial in left if (trial.bundle, agent_of(trial.trial_config)) not in measured]
    others = earlier(store, rest) if rest else Earlier([])
    return Earlier([*own, *(run for run in others.runs if run.job != job)], others.unread)


def _of_dataset(stack: Stack | None, config: JobConfig, options: Mapping[str, Any], *, room: Room) -> Estimate:
    """What a job would cost."""
    store = ObjectStore.of(stack) if stack else None
    if store is None and (options["like"] or options["right_size"]):
        raise UsageError("--like and --right-size look at a stack's earlier jobs: say which stack with --stack.")
    with tempfile.TemporaryDirectory(prefix="harbor-aws-estimate-") as directory, notes.status("Planning"):
        prepared = run_async(
            prepare(
                config,
                directory=Path(directory),
                attempts=1,
                skip_unsupported=options["skip_unsupported"],
                stack=stack or _DEPLOYED_LATER,
                deadline_seconds=Settings().trial_deadline_seconds,
                uses=partial(uses_of, store) if store and options["right_size"] else None,
                missing=_none_missing,
            )
        )
        for line in prepared.skipped:
            notes.print(f"Left out: {line}", highlight=False, markup=False)
        known = earlier(store, prepared.trials, like=options["like"]) if store else Earlier([])
    found = estimate(
        str(options["target"] or prepared.job),
        prepared.trials,
        known,
        room=room,
        any_agent=bool(options["like"]),
        right_sized=prepared.right_sized,
    )
    if options["right_size"] and not found.right_sized:
        notes.print(right_sized_line(found), highlight=False, markup=False)
    return found


async def _none_missing(_names: frozenset[str]) -> frozenset[str]:
    """Whoever asks for a price need not have given the workers their keys yet."""
    return frozenset()


def _signature() -> inspect.Signature:
    own = inspect.signature(_own_options, eval_str=True).parameters.values()
    return inspect.Signature([*own, *harbor_flags()], return_annotation=None)


estimate_command.__signature__ = _signature()  # type: ignore[attr-defined]  # what Typer reads the options from
estimate_command.__annotations__ = {name: parameter.annotation for name, parameter in _signature().parameters.items()}
