"""The stack itself: what CloudFormation, or this machine, says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.doctor.asking import in_background
from harbor_aws.infra.doctor.check import Check, Kind
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.stack import LOCAL_STACK, load_stack, stack_file

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.stacks import StackDescription
    from harbor_aws.infra.doctor.subject import Subject

_REFUSED = "AccessDenied"
"""In what CloudFormation's door says of a refusal."""


def kind_of(stack: str) -> Kind:
    """What the stack of this name is made on: what has a file on this machine is local."""
    return Kind.LOCAL if stack == LOCAL_STACK or stack_file(stack).exists() else Kind.AWS


async def _stack(subject: Subject) -> Outcome:
    name = subject.question.stack
    if subject.kind is Kind.LOCAL:
        try:
            subject.stack = load_stack(name)
        except UsageError as error:
            return Outcome.failed(str(error), "harbor-aws local up")
        return Outcome.ok(f"{stack_file(name)} has its outputs")
    try:
        found = await in_background(lambda: Stacks.of(subject.account).describe(name))
    except PermanentError as error:
        if _REFUSED in str(error):
            return Outcome.blocked("may not ask (cloudformation:DescribeStacks), and nothing else says what it has")
        raise
    return _judge(subject, found)


def _judge(subject: Subject, found: StackDescription | None) -> Outcome:
    name, region, again = subject.question.stack, subject.account.region, f"harbor-aws deploy{subject.option}"
    if found is None or not found.is_ours:
        what = "there is none of this name" if found is None else "it is not one of harbor-aws's"
        return Outcome.failed(
            f"{what} in {region}", f"Say --stack and AWS_REGION of one that is there, or make it: {again}"
        )
    if not found.outputs:
        return Outcome.failed(f"{name} is {found.status} and not whole", again)
    try:
        subject.stack = stack_from_outputs(name, region=region, outputs=found.outputs)
    except UsageError as error:
        return Outcome.failed(str(error), again)
    subject.outputs = found.outputs
    if found.status.endswith("_FAILED"):
        return Outcome.failed(f"{name} is {found.status}: {found.status_reason or 'no reason given'}", again)
    if found.status.endswith("_IN_PROGRESS") or "ROLLBACK" in found.status:
        return Outcome.warning(f"{name} is {found.status}", again)
    return Outcome.ok(f"{name} in {region} is {found.status}")


CHECKS = (
    Check(
        id="stack",
        title="The stack is there and whole",
        look=_stack,
        fix="Look at it in CloudFormation's console; `harbor-aws deploy` goes on from where it is.",
        needs=("credentials",),
    ),
)
