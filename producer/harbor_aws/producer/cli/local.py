"""``harbor-aws local``: the whole of it on this machine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Annotated

import typer
from harbor.utils.env import is_sensitive_env_key

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.local import stack as local_stack
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import KubernetesAccess, Stack
from harbor_aws.producer.cli.options import notes
from harbor_aws.producer.examples import tasks_directory

local_app = typer.Typer(
    no_args_is_help=True,
    help="Run everything on this machine, without an AWS account: queues, bucket, Kubernetes and workers.\n\n"
    "It is for trying and testing: a pod isolates files and processes, not a hostile program.",
)

_WITHHELD = {"HARBOR_AWS_STACK", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"}
"""Variables that workers are not given: the local stack has credentials of its own."""


@local_app.command()
def up(
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Worker processes, of 32 trials each.")] = 2,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave it running and return.")] = False,
    rootfs: Annotated[
        list[str] | None,
        typer.Option(
            "--rootfs",
            metavar="IMAGE=DIR|TAR",
            help="Root file system of an image. Any other name means a copy of this machine's own. Repeatable.",
        ),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option("--kubeconfig", exists=True, dir_okay=False, help="Run the trials' pods in this cluster."),
    ] = None,
    namespace: Annotated[str, typer.Option(help="Namespace for the pods in that cluster.")] = "harbor-aws",
) -> None:
    """Start the local stack, or find it running.

    The workers get this shell's environment variables, which is how an agent's API keys reach them.

    Examples:

        harbor-aws local up --detach

        harbor-aws local up --workers 4 --rootfs ubuntu:24.04=/srv/rootfs/ubuntu.tar
    """
    detach = detach or local_stack.status().is_up
    try:
        with notes.status("Starting the local stack …"):
            stack = local_stack.up(
                workers=workers,
                settings=Settings(),
                environment=worker_environment(),
                secrets=worker_secrets(),
                working_directory=Path.cwd(),
                rootfs=_rootfs(rootfs or []),
                trials=KubernetesAccess(kubeconfig=kubeconfig.resolve(), namespace=namespace) if kubeconfig else None,
            )
        _explain(stack, workers=workers)
        if not detach:
            notes.print("Ctrl-C takes it down, with what its queue and bucket hold.")
            signal.pause()
    finally:
        if not detach:
            take_down()


@local_app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what of the local stack runs. Exit code 0 if all of it does, 1 if not."""
    found = local_stack.status()
    if as_json:
        outputs = found.stack.model_dump(mode="json") if found.stack else None
        print(json.dumps({"up": found.is_up, "parts": dict(found.running), "stack": outputs}))
    else:
        for part, running in found.running.items():
            print(f"{part:<12} {'running' if running else 'not running'}")
        if found.stack:
            print(f"kubeconfig   {found.stack.workers.kubeconfig}")
    raise typer.Exit(0 if found.is_up else 1)


@local_app.command()
def down() -> None:
    """Take the local stack down: no process, mount or file stays, nor what its queue and bucket hold."""
    there = take_down()
    notes.print("The local stack is down." if there else "There was no local stack.")


def take_down() -> bool:
    """Take the local stack down, saying so; ``False`` if there was none."""
    with notes.status("Taking the local stack down …"):
        return local_stack.down()


def worker_environment() -> dict[str, str]:
    """The environment variables that the local stack's workers get, but for secrets."""
    return {name: value for name, value in _given().items() if not is_sensitive_env_key(name)}


def worker_secrets() -> dict[str, str]:
    """Those of them that have the names of secrets."""
    return {name: value for name, value in _given().items() if is_sensitive_env_key(name)}


def _given() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _WITHHELD}


def _rootfs(arguments: list[str]) -> dict[str, Path]:
    parsed = {}
    for argument in arguments:
        image, equals, path = argument.partition("=")
        if not (image and equals and Path(path).exists()):
            raise UsageError(f"--rootfs takes IMAGE=DIR|TAR with a path that exists, not {argument!r}.")
        parsed[image] = Path(path).resolve()
    return parsed


def _explain(stack: Stack, *, workers: int) -> None:
    notes.print(f"The local stack is up, with {workers} worker{'' if workers == 1 else 's'}.")
    if stack.image_builder == "embedded":
        notes.print("It pulls no images: a name without --rootfs stands for a copy of this machine's own files.")
    notes.print("Next:")
    notes.print(f"  harbor-aws-enqueue {tasks_directory()} -a oracle --wait", highlight=False, soft_wrap=True)
    notes.print(f"  KUBECONFIG={stack.workers.kubeconfig} kubectl get pods -A", highlight=False, soft_wrap=True)
