"""Options that several commands have, and the stack that they mean."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack, load_stack

StackOption = Annotated[
    str | None,
    typer.Option("--stack", help="The stack to use (default: HARBOR_AWS_STACK, or 'local').", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
RightSizeOption = Annotated[
    bool,
    typer.Option(
        "--right-size",
        help="Give tasks the size that their earlier runs (3 or more) needed, by Harbor's own overrides. A benchmark's "
        "results may depend on what its tasks have, so it is off by itself.",
        rich_help_panel="harbor-aws",
    ),
]

output = Console()
"""What was asked for."""

notes = Console(stderr=True)
"""Progress, and what only a person wants to know."""


def chosen_stack(name: str | None) -> Stack:
    """The stack called ``name``, or the one that the environment names."""
    return load_stack(name or Settings().stack)


def stack_argument(name: str | None) -> str:
    """What a command that is shown to the user must say to mean the same stack."""
    return f" --stack {name}" if name else ""
