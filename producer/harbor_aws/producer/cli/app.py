"""The command line's table of contents.

A command's module is imported when the command is used: Harbor, boto3 and the Kubernetes client take seconds between
them, and no command needs all three.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, cast, override

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

_COMMANDS = {
    "enqueue": "harbor_aws.producer.cli.enqueue:enqueue",
    "estimate": "harbor_aws.producer.cli.estimate:estimate_command",
    "status": "harbor_aws.producer.cli.status:status",
    "fetch": "harbor_aws.producer.cli.fetch:fetch",
    "dlq": "harbor_aws.producer.cli.dlq:dlq_app",
    "secrets": "harbor_aws.producer.cli.secrets:secrets_app",
    "scale": "harbor_aws.producer.cli.scale:scale",
    "demo": "harbor_aws.producer.cli.demo:demo",
    "deploy": "harbor_aws.producer.cli.deploy:deploy",
    "destroy": "harbor_aws.producer.cli.destroy:destroy",
    "doctor": "harbor_aws.producer.cli.doctor:doctor",
    "image": "harbor_aws.producer.cli.image:image",
    "local": "harbor_aws.producer.cli.local:local_app",
}
"""In the order in which ``--help`` lists them."""

_SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "rich_markup_mode": "rich",
    "pretty_exceptions_enable": False,
}


Command = TyperCommand | TyperGroup


class LazyGroup(TyperGroup):
    """Knows its commands by name, and imports one when it is asked for.

    The contexts are click's, which some versions of Typer bring along under a name of their own.
    """

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:
        return load_command(cmd_name) if cmd_name in _COMMANDS else None


def load_command(name: str, *, place: str | None = None) -> Command:
    """One of the commands, its module imported; with a place (``module:function``) also one that is not listed."""
    module, _, attribute = (place or _COMMANDS[name]).partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(**_SETTINGS)
        found.command(name)(function)
    command = cast("Command", get_command(found))
    command.name = name
    return command


app = typer.Typer(
    name="harbor-aws",
    cls=LazyGroup,
    help="Run Harbor's agent benchmarks on AWS: thousands of trials at once, on SQS, Celery and EKS Fargate.",
    no_args_is_help=True,
    **_SETTINGS,
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"harbor-aws {version('harbor-aws')} (harbor {version('harbor')})")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the versions and exit.")
    ] = False,
) -> None:
    """Run Harbor's agent benchmarks on AWS: thousands of trials at once, on SQS, Celery and EKS Fargate."""
