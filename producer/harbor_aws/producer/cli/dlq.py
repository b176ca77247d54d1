"""``harbor-aws dlq``: what came to nothing, and how it gets another chance."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.layout import result_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.producer.cli.errors import FAILED
from harbor_aws.producer.cli.fetch import bars
from harbor_aws.producer.cli.letters_choice import (
    AllOption,
    CauseOption,
    IdsArgument,
    JobOption,
    SinceOption,
    chosen_letters,
    look_at,
    per_second,
)
from harbor_aws.producer.cli.letters_view import as_json as letter_as_json
from harbor_aws.producer.cli.letters_view import letter_view, letters_view, report_view
from harbor_aws.producer.cli.options import JsonOption, StackOption, chosen_stack, notes, output
from harbor_aws.producer.dead_letters.purge import purge as purge_letters
from harbor_aws.producer.dead_letters.replay import Fate, Replayer
from harbor_aws.producer.dead_letters.selection import Selection, find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.dead_letters.browse import Look
    from harbor_aws.producer.dead_letters.letter import Letter
    from harbor_aws.producer.dead_letters.replay import Report

dlq_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look into the dead-letter queue, and replay what is in it.\n\n"
    "A trial goes there when its attempts are spent, when it can never run, or when it kills its workers.",
)


@dlq_app.command("list")
def list_letters(
    *,
    job: JobOption = None,
    cause: CauseOption = None,
    since: SinceOption = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many to show, the newest first; JSON has all.")] = 50,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the newest first.

    Examples:

        harbor-aws dlq list --job nightly --since 2h

        harbor-aws dlq list --json | jq '.letters[].cause' | sort | uniq -c
    """
    seen = look_at(chosen_stack(stack))
    letters = Selection(job=job, cause=cause, since=since).of(seen.letters)
    if as_json:
        typer.echo(json.dumps({"letters": [letter_as_json(each) for each in letters], "hidden": seen.hidden}))
        return
    output.print(letters_view(letters, shown=last, everything=seen.letters))


@dlq_app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="A letter's id, or the beginning of it.")],
    *,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of one dead letter: its attempts, its pod, its traceback, the place of its logs.

    Examples:

        harbor-aws dlq show 3f1c9a70

        harbor-aws dlq show 3f1c9a70 --json | jq .message.trial_config
    """
    chosen = chosen_stack(stack)
    letter = find(look_at(chosen).letters, letter_id)
    is_committed = bool(
        letter.job and letter.trial and ObjectStore.of(chosen).exists(result_key(letter.job, letter.trial))
    )
    if as_json:
        typer.echo(json.dumps({**letter_as_json(letter, whole=True), "committed": is_committed}))
    else:
        output.print(letter_view(letter, is_committed=is_committed))


@dlq_app.command()
def replay(
    ids: IdsArgument = None,
    *,
    job: JobOption = None,
    cause: CauseOption = None,
    since: SinceOption = None,
    everything: AllOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and do nothing.")] = False,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="N/s", parser=per_second, help="Trials a second at most.", show_default=False),
    ] = None,
    attempts: Annotated[
        int | None,
        typer.Option("--attempts", metavar="N", min=1, help="The trials' new budget (default: the one they had)."),
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put dead letters back on the queue, each exactly once, with a fresh budget and their history.

    It may be interrupted at any moment, and run again. A trial that has a result meanwhile is not run again.

    Examples:

        harbor-aws dlq replay 3f1c9a70 8d02

        harbor-aws dlq replay --job nightly --cause PodStartError --attempts 5

        harbor-aws-replay --all --rate 2 --dry-run
    """
    selection = chosen_letters(ids, job=job, cause=cause, since=since, everything=everything)
    chosen = chosen_stack(stack)
    seen = look_at(chosen)
    letters = selection.of(seen.letters)
    if dry_run:
        _show_plan(letters, seen, as_json=as_json)
        return
    with bars() as progress:
        bar = progress.add_task("Replaying", total=len(letters))
        report = Replayer(
            dead_letters=Queue.dead_letters(chosen, attempts=1),
            trials=Queue.trials(chosen),
            store=ObjectStore.of(chosen),
            attempts=attempts,
            rate=rate,
            on_letter=lambda: progress.advance(bar),
        ).replay(letters)
    if as_json:
        typer.echo(json.dumps(_report_json(report, letters)))
    else:
        output.print(report_view(report, letters))
    if not report.is_clean:
        raise typer.Exit(FAILED)


@dlq_app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines go there; - is stdout.", allow_dash=True)],
    *,
    job: JobOption = None,
    cause: CauseOption = None,
    since: SinceOption = None,
    stack: StackOption = None,
) -> None:
    """Write dead letters to a file, one JSON object a line, with the original messages. They stay in the queue.

    Examples:

        harbor-aws dlq export letters.jsonl

        harbor-aws dlq export - --job nightly | jq -r .trial
    """
    letters = Selection(job=job, cause=cause, since=since).of(look_at(chosen_stack(stack)).letters)
    text = "".join(json.dumps(letter_as_json(letter, whole=True)) + "\n" for letter in letters)
    if str(file) == "-":
        typer.echo(text, nl=False)
        return
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(text)
        partial.replace(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
    notes.print(f"{len(letters)} dead letters are in {file}.", highlight=False, soft_wrap=True)


@dlq_app.command()
def purge(
    ids: IdsArgument = None,
    *,
    job: JobOption = None,
    cause: CauseOption = None,
    since: SinceOption = None,
    everything: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete dead letters for good. Their trials have no result and cannot be replayed any more.

    Examples:

        harbor-aws dlq purge --cause UndecodableMessageError

        harbor-aws dlq export old.jsonl && harbor-aws dlq purge --all --yes
    """
    selection = chosen_letters(ids, job=job, cause=cause, since=since, everything=everything)
    chosen = chosen_stack(stack)
    letters = selection.of(look_at(chosen).letters)
    if letters and not yes:
        _ask(len(letters))
    deleted = _delete(chosen, letters)
    if as_json:
        typer.echo(json.dumps({"purged": deleted, "hidden": len(letters) - deleted}))
    else:
        output.print(f"{deleted} dead letters are deleted.")
        if deleted < len(letters):
            notes.print(f"{len(letters) - deleted} were in the hands of another command; run this again in a minute.")
    if deleted < len(letters):
        raise typer.Exit(FAILED)


def _delete(stack: Stack, letters: Sequence[Letter]) -> int:
    if not letters:
        return 0
    with bars() as progress:
        bar = progress.add_task("Deleting", total=len(letters))
        return purge_letters(
            Queue.dead_letters(stack, attempts=1),
            {letter.id for letter in letters},
            on_letters=lambda count: progress.advance(bar, count),
        )


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"This deletes {count} dead letters for good; say --yes.")
    typer.confirm(f"Delete {count} dead letters for good?", abort=True, err=True)


def _show_plan(letters: Sequence[Letter], seen: Look, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"dry_run": True, "letters": [letter_as_json(letter) for letter in letters]}))
    else:
        output.print(letters_view(letters, shown=len(letters), everything=seen.letters))
        notes.print("Nothing was replayed: this was a dry run.")


def _report_json(report: Report, letters: Sequence[Letter]) -> dict[str, object]:
    by_fate: dict[str, list[str]] = {fate.value: [] for fate in Fate}
    for letter in letters:
        by_fate[report.fates[letter.id]].append(letter.id)
    return {"dry_run": False, **by_fate}
