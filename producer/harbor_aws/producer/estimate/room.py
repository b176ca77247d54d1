"""How much of an account a run may have. Blocking: AWS is asked where it can be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING

from harbor_aws.infra.aws import Account, configured_region
from harbor_aws.infra.capacity import Limits
from harbor_aws.infra.deploy.account import fargate_vcpus
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.errors import HarborAwsError, UsageError

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack


@dataclass(frozen=True, slots=True)
class Room:
    """What bounds a run, and who says so."""

    limits: Limits
    source: str
    """For people: where the vCPUs are from."""
    concurrency: int | None = None
    """Trials at once, if somebody said how many."""
    is_assumed: bool = False
    """Whether nobody said so, and it is what a new account has."""

    @property
    def vcpus(self) -> float:
        """That trials, workers and the cluster's own pods may have."""
        return min(self.limits.account_vcpus, self.limits.max_vcpus)


def room_of(stack: Stack | None, *, max_vcpus: int | None, concurrency: int | None) -> Room:
    """What a run on ``stack``, or on one that is yet to be deployed, may have.

    Args:
        max_vcpus: vCPUs of the trials, whatever account and stack say.
        concurrency: trials at once.
    """
    known = _said(max_vcpus) or _asked(stack)
    limits, source = known or (Limits(), _why_new(stack))
    return Room(_with_slots(limits, concurrency), source, concurrency, is_assumed=known is None)


def _said(max_vcpus: int | None) -> tuple[Limits, str] | None:
    if max_vcpus is None:
        return None
    return Limits(account_vcpus=inf, max_vcpus=float(max_vcpus)), f"{max_vcpus} vCPUs of trials, as --max-vcpus says"


def _asked(stack: Stack | None) -> tuple[Limits, str] | None:
    if stack is not None and stack.cluster_name is None:
        return None
    try:
        region = stack.region if stack else configured_region()
        quota = fargate_vcpus(Account(region)) if region else None
    except UsageError:  # no credentials, or a configuration that cannot be used
        return None
    if region is None or quota is None:
        return None
    trials = _stack_vcpus(stack) if stack else None
    if trials is None:
        return Limits(account_vcpus=quota), f"the account's quota, {quota:g} vCPUs in {region}"
    return (
        Limits(account_vcpus=quota, max_vcpus=trials),
        f"the account's quota, {quota:g} vCPUs in {region}, of which the stack's trials may have {trials:g}",
    )


def _stack_vcpus(stack: Stack) -> float | None:
    try:
        found = Stacks.of(Account(stack.region)).describe(stack.name)
    except HarborAwsError:
        return None
    return float(found.outputs["MaxVcpus"]) if found and "MaxVcpus" in found.outputs else None


def _why_new(stack: Stack | None) -> str:
    vcpus = f"{Limits().account_vcpus:g} vCPUs, what AWS gives a new account"
    if stack is not None and stack.cluster_name is None:
        return f"{vcpus} (the stack {stack.name!r} is not on AWS); say others with --max-vcpus"
    return f"{vcpus} (the account's own quota could not be learnt); say others with --max-vcpus"


def _with_slots(limits: Limits, concurrency: int | None) -> Limits:
    """The same with as many slots as trials are to run at once, on as few workers as usual.

    All workers of the model have the same: what they then have too many, the messages that they may hold leave idle.
    """
    if concurrency is None:
        return limits
    workers = ceil(concurrency / limits.slots_per_worker)
    held = min(limits.messages_in_flight, float(concurrency))
    slots = ceil(concurrency / workers)
    return replace(limits, max_workers=workers, slots_per_worker=slots, messages_in_flight=held)
