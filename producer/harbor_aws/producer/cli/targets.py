"""Which stack of which region ``deploy`` and ``destroy`` mean, and whether that is meant."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harbor_aws.infra.aws import configured_region
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.settings import Settings

DEFAULT_NAME = "harbor-aws"
"""The stack that is meant when neither the command nor the environment says one."""

TargetStackOption = Annotated[
    str | None,
    typer.Option(
        "--stack", help=f"The stack's name (default: HARBOR_AWS_STACK, or '{DEFAULT_NAME}').", show_default=False
    ),
]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", help="AWS's region (default: AWS_REGION, or the profile's).", show_default=False),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def chosen_name(name: str | None) -> str:
    """The stack that is meant; the local one is not, unless it is named outright."""
    settings = Settings()
    return name or (settings.stack if "stack" in settings.model_fields_set else DEFAULT_NAME)


def chosen_region(region: str | None) -> str:
    """The region that is meant.

    Raises:
        UsageError: none is configured.
    """
    found = region or configured_region()
    if not found:
        raise UsageError("Say which region of AWS: --region, or set AWS_REGION.")
    return found


def ask(question: str, *, what: str, yes: bool) -> None:
    """Return if the user says yes, now or by ``--yes``.

    Raises:
        UsageError: nobody is there to be asked.
        typer.Abort: the user says no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{what}; say --yes.")
    typer.confirm(question, abort=True, err=True)
