"""``harbor-aws destroy``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from harbor_aws.infra.aws import Account
from harbor_aws.infra.deploy.cluster_objects import EksObjects
from harbor_aws.infra.deploy.interfaces import Interfaces
from harbor_aws.infra.deploy.leftovers import Leftovers
from harbor_aws.infra.deploy.parameters import check_name
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.deploy.teardown import Losses, Remains, Teardown
from harbor_aws.producer.cli.deploy_view import Display
from harbor_aws.producer.cli.errors import FAILED
from harbor_aws.producer.cli.options import JsonOption, notes, output
from harbor_aws.producer.cli.targets import (
    RegionOption,
    TargetStackOption,
    YesOption,
    ask,
    chosen_name,
    chosen_region,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def destroy(
    *,
    stack: TargetStackOption = None,
    region: RegionOption = None,
    delete_results: Annotated[
        bool, typer.Option("--delete-results", help="Delete the bucket too, with all jobs, logs and results.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Even though trials run; they are lost.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a stack from an AWS account, with the images and logs that its use left there.

    The results stay, unless --delete-results says otherwise. What is left is listed, and then the exit code is 1; the
    same command takes up what broke off.

    Examples:

        harbor-aws destroy

        harbor-aws destroy --stack team --region eu-west-1 --delete-results --yes
    """
    name, place = check_name(chosen_name(stack)), chosen_region(region)
    account = Account(place)

    def agree(losses: Losses) -> None:
        notes.print(f"The stack {name} in {place} will be deleted.", highlight=False)
        for line in loss_lines(losses):
            notes.print(f"  {line}", highlight=False)
        ask("Destroy it?", what=f"This destroys the stack {name}", yes=yes)

    with Display() as display:
        remains = Teardown(
            Stacks.of(account),
            Leftovers.of(account, stack=name),
            Interfaces.of(account),
            name=name,
            region=place,
            watcher=display,
            agree=display.pausing(agree),
            cluster_objects=EksObjects(display),
        ).destroy(delete_results=delete_results, force=force)
    _report(name, place, remains, as_json=as_json)
    if remains and remains.left:
        raise typer.Exit(FAILED)


def loss_lines(losses: Losses) -> Iterator[str]:
    """What would be lost, for people."""
    if losses.trials and losses.trials.total:
        waiting = losses.trials.visible + losses.trials.delayed
        yield f"{waiting} trials are queued and {losses.trials.in_flight} run; none of them will have a result."
    if losses.dead_letters:
        yield f"{losses.dead_letters} dead letters are lost; `harbor-aws dlq export` would save them."
    for bucket in losses.buckets:
        yield f"All that is in the bucket {bucket} is deleted for good."


def _report(name: str, region: str, remains: Remains | None, *, as_json: bool) -> None:
    kept, left = (remains.kept, remains.left) if remains else ((), ())
    if as_json:
        said = {
            "stack": name,
            "region": region,
            "existed": remains is not None,
            "kept": list(kept),
            "left": [{"kind": each.kind, "name": each.name} for each in left],
        }
        typer.echo(json.dumps(said))
        return
    if remains is None:
        output.print(f"There is no stack {name} in {region}.", highlight=False)
    elif left:
        output.print(f"Of the stack {name} in {region} there is still:", highlight=False)
        for each in left:
            output.print(f"  {each.kind} {each.name}", highlight=False)
    else:
        output.print(f"The stack {name} in {region} is gone.", highlight=False)
    for bucket in kept:
        output.print(
            f"Kept: the bucket {bucket}; `harbor-aws destroy --delete-results` deletes it.",
            highlight=False,
            soft_wrap=True,
        )
