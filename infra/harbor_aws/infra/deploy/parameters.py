"""What a user may say of a stack, as the template's parameters. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_NAME = 24
"""Characters of a stack's name: with ``-hub`` it is the prefix of a pull-through cache, which has 30 at most.
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreatePullThroughCacheRule.html"""

DEFAULT_MAX_VCPUS = 256
"""The template's own, of vCPUs of trials at once."""

RESERVED_NAMES = {"local", "aws", "default"}

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/\S+")

CIDRS = "PublicAccessCidrs"
ZONE_A = "ZoneA"
ZONE_B = "ZoneB"
MAX_VCPUS = "MaxVcpus"
LAUNCHES = "LaunchesPerSecond"
ALERT_EMAIL = "AlertEmail"
BUDGET = "BudgetUsdPerMonth"
DOCKER_HUB_SECRET = "DockerHubSecretArn"  # noqa: S105 - the name of a parameter
ADMIN = "AdminArn"
WORKER_IMAGE = "WorkerImage"
AUTOSCALING = "Autoscaling"
ISOLATION = "Isolation"
S3_PREFIX_LIST = "S3PrefixList"
EMULATED = "Emulated"
PARAMETERS = (
    CIDRS,
    ZONE_A,
    ZONE_B,
    MAX_VCPUS,
    LAUNCHES,
    ALERT_EMAIL,
    BUDGET,
    DOCKER_HUB_SECRET,
    ADMIN,
    WORKER_IMAGE,
    AUTOSCALING,
    ISOLATION,
    S3_PREFIX_LIST,
    EMULATED,
)
"""All of the template's parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What was asked for; what is ``None`` stays as it is, or as the template has it."""

    allow_cidrs: tuple[str, ...] | None = None
    """Who may reach the cluster's API, as IPv4 CIDR blocks."""
    max_vcpus: int | None = None
    """vCPUs of trials at once."""
    launches_per_second: int | None = None
    """Pods that workers launch a second."""
    alert_email: str | None = None
    """Where alarms go; ``""`` for nowhere."""
    budget_usd_per_month: float | None = None
    """US dollars; 0 for no budget."""
    docker_hub_secret_arn: str | None = None
    """A secret with Docker Hub's credentials; ``""`` for none."""
    admin_arn: str | None = None
    """A role or user of IAM that administers the cluster too; ``""`` for none."""
    worker_image: str | None = None
    """An image of the user's for the workers; ``""`` for the one that is built."""
    autoscaling: bool | None = None
    """Whether the queue decides how many workers there are."""
    isolation: bool | None = None
    """Whether pods can be without a network."""


def check_name(name: str) -> str:
    """The name itself, if a stack may have it.

    Raises:
        UsageError: it may not.
    """
    if name in RESERVED_NAMES:
        raise UsageError(f"A stack of AWS cannot be called {name!r}; say another name with --stack.")
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"{name!r} cannot be a stack's name: queues, images and a cluster are called after it. It takes lower-case "
            f"letters, digits and single hyphens, begins with a letter, and has {LONGEST_NAME} characters at most."
        )
    return name


def parameters(
    options: StackOptions,
    *,
    previous: Mapping[str, str],
    zones: Callable[[], tuple[str, str]],
    caller: Callable[[], str],
    s3_prefix_list: Callable[[], str],
    is_emulated: bool,
) -> dict[str, str]:
    """Values of the template's parameters: what was asked for, else what the stack has.

    Args:
        previous: the parameters of the stack as it is; empty if there is none.
        zones: names two zones; called only if the stack has none yet.
        caller: the ARN of who deploys; called only if a new stack is to have another administrator.
        s3_prefix_list: names the region's one; called only if the stack is to isolate pods and has none yet.
        is_emulated: it goes to moto instead of AWS.

    Raises:
        UsageError: something asked for makes no sense, or is missing.
    """
    asked = asked_for(options)
    kept = {name: value for name, value in previous.items() if name in PARAMETERS}
    values = {
        **kept,
        **{name: value for name, value in asked.items() if value is not None},
        EMULATED: str(is_emulated).lower(),
    }
    if CIDRS not in values:
        raise UsageError(
            "Say who may reach the cluster's API: --allow-cidr with this machine's public address and /32 (a web "
            "search for 'my ip' tells it), or --allow-cidr 0.0.0.0/0 for anybody who has credentials of the account."
        )
    if ZONE_A not in values or ZONE_B not in values:
        values[ZONE_A], values[ZONE_B] = zones()
    if values.get(ISOLATION) == "true" and not values.get(S3_PREFIX_LIST) and not is_emulated:
        values[S3_PREFIX_LIST] = s3_prefix_list()
    if not previous and options.admin_arn and _is_same(options.admin_arn, caller()):
        raise UsageError("Whoever deploys a stack administers it: --admin is for somebody else, so leave it out.")
    if values.get(BUDGET) and not values.get(ALERT_EMAIL):
        raise UsageError("A budget does nothing but send mail; say where to with --alert-email.")
    return values


def asked_for(options: StackOptions) -> dict[str, str | None]:
    """The options as values of parameters; ``None`` for what was not said.

    Raises:
        UsageError: one of them makes no sense, whatever the stack is.
    """
    return {
        CIDRS: ",".join(map(_cidr, options.allow_cidrs)) if options.allow_cidrs else None,
        MAX_VCPUS: None if options.max_vcpus is None else str(options.max_vcpus),
        LAUNCHES: None if options.launches_per_second is None else str(options.launches_per_second),
        ALERT_EMAIL: None if options.alert_email is None else _address(options.alert_email),
        BUDGET: None if options.budget_usd_per_month is None else _amount(options.budget_usd_per_month),
        DOCKER_HUB_SECRET: options.docker_hub_secret_arn,
        ADMIN: None if options.admin_arn is None else _principal(options.admin_arn),
        WORKER_IMAGE: None if options.worker_image is None else _image(options.worker_image),
        AUTOSCALING: None if options.autoscaling is None else str(options.autoscaling).lower(),
        ISOLATION: None if options.isolation is None else str(options.isolation).lower(),
    }


def _cidr(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError as error:
        raise UsageError(
            f"--allow-cidr takes an IPv4 CIDR block such as 203.0.113.7/32, not {text!r}: {error}."
        ) from None


def _address(text: str) -> str:
    if text and not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise UsageError(f"--alert-email takes an address such as me@example.org, not {text!r}.")
    return text


def _principal(arn: str) -> str:
    if arn and not _PRINCIPAL.fullmatch(arn):
        raise UsageError(
            f"--admin takes the ARN of IAM's role or user, such as arn:aws:iam::123456789012:role/team, not {arn!r}. "
            "What `aws sts get-caller-identity` says of an assumed role is a session: take the role's own."
        )
    return arn


def _is_same(principal: str, caller: str) -> bool:
    """Whether a role or user of IAM is who calls; the session of a role names it without its path."""
    kind, _, name = principal.rpartition(":")[2].partition("/")
    account, name = principal.split(":")[4], name.rpartition("/")[2]
    called_kind, _, called = caller.rpartition(":")[2].partition("/")
    if called_kind == "assumed-role":
        return kind == "role" and (account, name) == (caller.split(":")[4], called.partition("/")[0])
    return principal == caller


def _image(name: str) -> str:
    if re.search(r"\s", name):
        raise UsageError(f"--worker-image takes an image's name such as registry/name:tag, not {name!r}.")
    return name


def _amount(usd: float) -> str:
    return f"{usd:.2f}" if usd else ""
