"""``harbor-aws secrets``: what the workers know that nobody else should."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.secrets.kept import open_secrets
from harbor_aws.infra.secrets.names import check_name, check_value
from harbor_aws.infra.secrets.reference import SecretReference
from harbor_aws.infra.stack import LOCAL_STACK
from harbor_aws.producer.cli.options import JsonOption, StackOption, chosen_stack, notes, output
from harbor_aws.producer.cli.render import age
from harbor_aws.producer.secrets import PART_SECRET_CHARACTERS, WHOLE_SECRET_CHARACTERS
from harbor_aws.producer.workers import count_workers, restart_workers

if TYPE_CHECKING:
    from harbor_aws.infra.secrets.stored import StoredSecret
    from harbor_aws.infra.stack import Stack

secrets_app = typer.Typer(
    no_args_is_help=True,
    help="Give the workers agents' keys and what tasks call ${NAME}, or take them away.\n\n"
    "A secret becomes a variable of the workers. Values are never shown, and never taken from the command line.",
)

_NameArgument = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
_RestartOption = Annotated[
    bool,
    typer.Option("--restart", help="Replace the running workers too: trials go on elsewhere, some of them anew."),
]


@secrets_app.command("set")
def set_secret(
    name: _NameArgument,
    value: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    *,
    from_env: Annotated[bool, typer.Option("--from-env", help="Take the value of this shell's variable NAME.")] = False,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", exists=True, dir_okay=False, help="Take what a file holds.")
    ] = None,
    secretsmanager: Annotated[
        str | None,
        typer.Option(
            "--secretsmanager",
            metavar="ID[#KEY]",
            help="Keep only where it is: a secret of AWS Secrets Manager, or a value in one that is a JSON object.",
        ),
    ] = None,
    restart: _RestartOption = False,
    stack: StackOption = None,
) -> None:
    """Give the workers a secret; its value comes from stdin, or is asked for, unless an option says otherwise.

    Workers that begin from now on have it. A line's end at the value's end is dropped.

    Examples:

        harbor-aws secrets set ANTHROPIC_API_KEY

        harbor-aws secrets set ANTHROPIC_API_KEY --from-env --restart

        pass show openai | harbor-aws secrets set OPENAI_API_KEY

        harbor-aws secrets set OPENAI_API_KEY --secretsmanager harbor-aws/models#openai
    """
    if value:
        check_name("")  # says what has become of a value that was in the command line
    check_name(name)
    if sum(map(bool, (from_env, from_file, secretsmanager))) > 1:
        raise UsageError("--from-env, --from-file and --secretsmanager each say where the value is; give one of them.")
    chosen = chosen_stack(stack)
    if secretsmanager:
        text = str(_reference(chosen, secretsmanager))
    else:
        text = _value(name, from_env=from_env, from_file=from_file)
    check_value(text)
    least = PART_SECRET_CHARACTERS if text.strip().isdigit() else WHOLE_SECRET_CHARACTERS
    if len(text.strip()) < least:
        notes.print(f"It has less than {least} characters: too short to be taken out of logs.")
    asyncio.run(_set(chosen, name, text))
    _say_when(chosen, restart=restart, done=f"{name} is set")


@secrets_app.command("list")
def list_secrets(stack: StackOption = None, as_json: JsonOption = False) -> None:
    """List what the workers' secrets are called, and when each was set. Values are not shown."""
    found = asyncio.run(_list(chosen_stack(stack)))
    if as_json:
        told = [{"name": each.name, "since": each.since and each.since.isoformat()} for each in found]
        typer.echo(json.dumps({"secrets": told}))
        return
    table = Table("NAME", "SET", box=None)
    for each in found:
        table.add_row(each.name, _age(each))
    output.print(table if found else "There are none.")


@secrets_app.command("remove")
def remove_secret(name: _NameArgument, restart: _RestartOption = False, stack: StackOption = None) -> None:
    """Take a secret away from the workers that begin from now on."""
    check_name(name)
    chosen = chosen_stack(stack)
    if not asyncio.run(_remove(chosen, name)):
        raise UsageError(f"The workers of {chosen.name!r} have no secret {name}; `harbor-aws secrets list` lists them.")
    _say_when(chosen, restart=restart, done=f"{name} is removed")


def _value(name: str, *, from_env: bool, from_file: Path | None) -> str:
    if from_env:
        if name not in os.environ:
            raise UsageError(f"This shell has no variable {name}.")
        return os.environ[name]
    try:
        if from_file is not None:
            text = from_file.read_bytes().decode()
        elif sys.stdin.isatty():
            text = typer.prompt(f"Value of {name}", hide_input=True, err=True)
        else:
            text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise UsageError("The value is no text; encode it, for variables hold nothing else.") from None
    return text.removesuffix("\n").removesuffix("\r")


def _reference(stack: Stack, text: str) -> SecretReference:
    reference = SecretReference.parse(text)
    own = reference.secret.startswith(f"{stack.name}/") or f":secret:{stack.name}/" in reference.secret
    if not own and stack.name != LOCAL_STACK:
        notes.print(
            f"Workers may read what is called {stack.name}/… . For {reference.secret} its own policy must give the "
            "workers' role secretsmanager:GetSecretValue; a worker that may not read it does not begin.",
            highlight=False,
        )
    return reference


async def _set(stack: Stack, name: str, value: str) -> None:
    async with open_secrets(stack) as secrets:
        await secrets.set(name, value)


async def _list(stack: Stack) -> list[StoredSecret]:
    async with open_secrets(stack) as secrets:
        return await secrets.list()


async def _remove(stack: Stack, name: str) -> bool:
    async with open_secrets(stack) as secrets:
        return await secrets.remove(name)


def _say_when(stack: Stack, *, restart: bool, done: str) -> None:
    if restart:
        asyncio.run(restart_workers(stack))
        notes.print(f"{done}. The workers are being replaced; each finishes or hands back its trials.")
        return
    running = asyncio.run(count_workers(stack)).existing
    notes.print(
        f"{done}, for workers that begin from now on."
        + (f" {running} running ones go on as they are; the same with --restart replaces them." if running else ""),
        highlight=False,
    )


def _age(secret: StoredSecret) -> str:
    """Since when; kubectl leaves no note of that."""
    return "–" if secret.since is None else f"{age((datetime.now(UTC) - secret.since).total_seconds())} ago"
