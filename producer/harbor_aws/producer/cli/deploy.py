"""``harbor-aws deploy``."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated

import typer

from harbor_aws.infra.aws import Account
from harbor_aws.infra.deploy.account import caller_arn, fargate_vcpus
from harbor_aws.infra.deploy.cluster_objects import EksObjects
from harbor_aws.infra.deploy.keda_manifest import KEDA_VERSION, parse
from harbor_aws.infra.deploy.keda_source import read_keda_manifest
from harbor_aws.infra.deploy.parameters import DEFAULT_MAX_VCPUS, StackOptions, check_name
from harbor_aws.infra.deploy.prefix_lists import s3_prefix_list
from harbor_aws.infra.deploy.prices import isolation_usd_per_month
from harbor_aws.infra.deploy.provision import Provisioner
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.deploy.worker_image import BuiltImages
from harbor_aws.infra.deploy.zones import choose_zones
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.fargate import LAUNCHES_PER_SECOND
from harbor_aws.producer.cli.deploy_view import Display, changes_view, costs_as_json, costs_view, quota_warning
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
    from harbor_aws.infra.deploy.provision import Deployment
    from harbor_aws.infra.deploy.stacks import Change


def deploy(
    *,
    stack: TargetStackOption = None,
    region: RegionOption = None,
    allow_cidr: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-cidr",
            metavar="CIDR",
            help="Who may reach the cluster's API. Repeatable.",
            rich_help_panel="What to deploy",
        ),
    ] = None,
    max_vcpus: Annotated[
        int | None,
        typer.Option(
            "--max-vcpus", min=1, help="vCPUs of trials at once (default: 256).", rich_help_panel="What to deploy"
        ),
    ] = None,
    launches_per_second: Annotated[
        int | None,
        typer.Option(
            "--launches-per-second",
            min=1,
            help=f"Pods that Fargate launches a second for the account (default: {LAUNCHES_PER_SECOND}).",
            show_default=False,
            rich_help_panel="What to deploy",
        ),
    ] = None,
    alert_email: Annotated[
        str | None,
        typer.Option(
            "--alert-email",
            help="Where alarms go, once the address is confirmed; '' for nowhere.",
            rich_help_panel="What to deploy",
        ),
    ] = None,
    budget_usd_per_month: Annotated[
        float | None,
        typer.Option(
            "--budget-usd-per-month",
            min=0,
            help="Mail at 80 % of it and when the forecast is above it, for the whole account; 0 for no budget.",
            rich_help_panel="What to deploy",
        ),
    ] = None,
    docker_hub_secret: Annotated[
        str | None,
        typer.Option(
            "--docker-hub-secret",
            metavar="ARN",
            help="A secret of Secrets Manager with Docker Hub's username and accessToken: images are then cached.",
            rich_help_panel="What to deploy",
        ),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(
            "--admin",
            metavar="ARN",
            help="A role or user that may deploy, scale and destroy it too; '' for none.",
            rich_help_panel="What to deploy",
        ),
    ] = None,
    worker_image: Annotated[
        str | None,
        typer.Option(
            "--worker-image",
            metavar="IMAGE",
            help="Your own image for the workers, instead of the one that is built; '' for that one again.",
            rich_help_panel="What to deploy",
        ),
    ] = None,
    autoscaling: Annotated[
        bool | None,
        typer.Option(
            "--autoscaling/--no-autoscaling",
            help="Whether the queue decides how many workers there are (default: it does).",
            show_default=False,
            rich_help_panel="What to deploy",
        ),
    ] = None,
    isolation: Annotated[
        bool | None,
        typer.Option(
            "--isolation/--no-isolation",
            help="Whether tasks can ask for no network, for "
            f"${isolation_usd_per_month():.0f} a month (default: they cannot).",
            show_default=False,
            rich_help_panel="What to deploy",
        ),
    ] = None,
    keda_manifest: Annotated[
        str | None,
        typer.Option(
            "--keda-manifest",
            metavar="FILE|URL",
            help=f"The release manifest of KEDA, which scales (default: keda-{KEDA_VERSION}-core.yaml from GitHub).",
            rich_help_panel="What to deploy",
        ),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a stack in an AWS account, or change what changed, or go on with what broke off.

    It says first what that makes and costs, and asks. What is not said stays as it is. Ctrl-C stops nothing: the same
    command takes it up.

    Examples:

        harbor-aws deploy --allow-cidr 203.0.113.7/32

        harbor-aws deploy --stack team --region eu-west-1 --max-vcpus 1000 --yes

        harbor-aws deploy --alert-email me@example.org --budget-usd-per-month 500
    """
    name, place = check_name(chosen_name(stack)), chosen_region(region)
    account = Account(place)
    options = StackOptions(
        allow_cidrs=tuple(allow_cidr) if allow_cidr else None,
        max_vcpus=max_vcpus,
        launches_per_second=launches_per_second,
        alert_email=alert_email,
        budget_usd_per_month=budget_usd_per_month,
        docker_hub_secret_arn=docker_hub_secret,
        admin_arn=admin,
        worker_image=worker_image,
        autoscaling=autoscaling,
        isolation=isolation,
    )
    if keda_manifest and autoscaling is False:
        raise UsageError("--keda-manifest is for autoscaling, and --no-autoscaling does without; say one of them.")
    keda = parse(read_keda_manifest(keda_manifest), source=keda_manifest) if keda_manifest else None

    vcpus = cache(partial(fargate_vcpus, account))

    def agree(changes: tuple[Change, ...] | None) -> None:
        if changes is None:
            notes.print(costs_view(name, place, is_isolating=bool(isolation)))
        else:
            notes.print(changes_view(name, changes))
        if warning := quota_warning(vcpus(), asked=max_vcpus or (DEFAULT_MAX_VCPUS if changes is None else 0)):
            notes.print(warning, style="yellow", highlight=False)
        ask("Deploy it?", what="This makes things that cost money", yes=yes)

    with Display() as display:
        done = Provisioner(
            Stacks.of(account),
            name=name,
            region=place,
            zones=lambda: choose_zones(account),
            caller=lambda: caller_arn(account),
            s3_prefix_list=lambda: s3_prefix_list(account),
            watcher=display,
            agree=display.pausing(agree),
            worker_images=BuiltImages(account, watcher=display),
            cluster_objects=EksObjects(display, keda=keda, account_vcpus=vcpus),
        ).deploy(options)
    _report(done, region=place, as_json=as_json)


def next_lines(done: Deployment) -> list[str]:
    """What the workers run, and what to do next. Without a cluster there are none."""
    image = done.worker_image
    if image is None:
        return []
    return [
        f"Its workers run {image.name}" + (", which was built for it." if image.is_new else "."),
        "  They come and go with the queue; `harbor-aws scale` sets bounds."
        if "KedaRoleArn" in done.outputs
        else "  `harbor-aws scale 1` starts one.",
    ]


def _report(done: Deployment, *, region: str, as_json: bool) -> None:
    name = done.stack.name
    if as_json:
        said = {
            "stack": name,
            "region": region,
            "is_changed": done.changes is not None,
            "worker_image": done.worker_image.name if done.worker_image else None,
            "is_image_new": bool(done.worker_image and done.worker_image.is_new),
            "changes": [{"action": each.action, "resource": each.resource} for each in done.changes or ()],
            "outputs": dict(done.outputs),
            "costs": costs_as_json(is_isolating=done.stack.isolation != "none"),
        }
        typer.echo(json.dumps(said))
    elif done.changes is not None:
        output.print(f"The stack {name} in {region} is deployed.", highlight=False)
        output.print(f"  export HARBOR_AWS_STACK={name} AWS_REGION={region}", highlight=False, soft_wrap=True)
    else:
        output.print(f"The stack {name} in {region} is as it should be; nothing was changed.", highlight=False)
    if not as_json:
        for line in next_lines(done):
            output.print(line, highlight=False, soft_wrap=True)
