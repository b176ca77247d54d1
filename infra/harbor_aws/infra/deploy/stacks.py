"""The door to CloudFormation. Blocking."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from harbor_aws.infra.aws import cloudformation_client
from harbor_aws.infra.aws_errors import NO_CHANGES, MissingStackError, NoChangesError, translated
from harbor_aws.infra.deploy.events import StackEvent
from harbor_aws.infra.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.literals import ChangeSetTypeType
    from mypy_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef

    from harbor_aws.infra.aws import Account

TAG = "harbor-aws-stack"
"""A tag of every stack of ours, and so of all its resources; its value is the stack's name."""

LOOK_SECONDS = 2.0
"""How often a change set is looked at while CloudFormation works it out; it takes some seconds."""

CHANGE_SET_SECONDS = 300
"""How long that may take."""


@dataclass(frozen=True, slots=True)
class StackDescription:
    """A stack as DescribeStacks has it."""

    id: str
    name: str
    status: str
    status_reason: str | None
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def is_ours(self) -> bool:
        """Whether harbor-aws made it; of one that is only under review nothing is there to tell."""
        return self.tags.get(TAG) == self.name or self.status == "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Change:
    """What a change set would do to one resource."""

    action: str
    """``Add``, ``Modify``, ``Remove``, …"""
    resource: str
    type: str
    replaces: bool = False
    """Whether the resource is made anew and the old one deleted."""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What was worked out and can be executed."""

    id: str
    stack_id: str
    changes: tuple[Change, ...]


class Stacks:
    """CloudFormation in one region.

    Every method raises :class:`~harbor_aws.infra.aws_errors.CredentialsError`, :class:`TransientError` when AWS
    did not answer or asks to come again (after botocore's own retries), and :class:`PermanentError` when it refuses.
    """

    def __init__(self, client: CloudFormationClient) -> None:
        self._client = client

    @classmethod
    def of(cls, account: Account) -> Self:
        with translated("make a client"):
            return cls(cloudformation_client(account))

    @property
    def is_emulated(self) -> bool:
        """Whether CloudFormation is on this machine, which is to say moto."""
        host = urlsplit(self._client.meta.endpoint_url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def describe(self, stack: str) -> StackDescription | None:
        """The stack of this name or id; ``None`` if there is none. Only by its id is one found that was deleted."""
        try:
            with translated(f"describe the stack {stack}"):
                (found,) = self._client.describe_stacks(StackName=stack)["Stacks"]
        except MissingStackError:
            return None
        return StackDescription(
            id=found["StackId"],
            name=found["StackName"],
            status=found["StackStatus"],
            status_reason=found.get("StackStatusReason"),
            parameters={each["ParameterKey"]: each.get("ParameterValue", "") for each in found.get("Parameters", [])},
            outputs={each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])},
            tags={each["Key"]: each["Value"] for each in found.get("Tags", [])},
        )

    def prepare(
        self, name: str, *, template: str, parameters: Mapping[str, str], kind: ChangeSetTypeType
    ) -> ChangeSet | None:
        """Have the way to the template worked out; ``None`` if there is nothing to change."""
        try:
            with translated(f"work out the changes of the stack {name}"):
                made = self._client.create_change_set(
                    StackName=name,
                    ChangeSetName=f"harbor-aws-{uuid.uuid4().hex[:12]}",
                    ChangeSetType=kind,
                    TemplateBody=template,
                    Capabilities=["CAPABILITY_IAM"],
                    Parameters=[
                        {"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())
                    ],
                    Tags=[{"Key": TAG, "Value": name}],
                )
                answer = self._worked_out(name, made["Id"])
        except NoChangesError:
            return None
        if answer is None:
            self._delete_change_set(made["Id"])
            return None
        return ChangeSet(id=made["Id"], stack_id=made["StackId"], changes=self._changes(answer))

    def execute(self, change_set: ChangeSet) -> None:
        with translated("execute the change set"):
            self._client.execute_change_set(
                ChangeSetName=change_set.id,
                # A stack that never came to be leaves nothing, not even the (empty) bucket that would stay otherwise.
                RetainExceptOnCreate=True,
            )

    def discard(self, change_set: ChangeSet, *, is_new: bool) -> None:
        """Forget a change set that nobody wants, and the stack that there was for it alone."""
        if is_new:
            self.delete(change_set.stack_id)
        else:
            self._delete_change_set(change_set.id)

    def delete(self, stack: str) -> None:
        with translated(f"delete the stack {stack}"):
            self._client.delete_stack(StackName=stack)

    def continue_rollback(self, stack: str) -> None:
        with translated(f"continue the rollback of the stack {stack}"):
            self._client.continue_update_rollback(StackName=stack)

    def events(self, stack_id: str) -> Iterator[StackEvent]:
        """The newest first, one request per hundred."""
        with translated(f"read the events of the stack {stack_id}"):
            for page in self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
                for row in page["StackEvents"]:
                    yield StackEvent(
                        id=row["EventId"],
                        resource=row["LogicalResourceId"],
                        type=row["ResourceType"],
                        status=row["ResourceStatus"],
                        at=row["Timestamp"],
                        reason=row.get("ResourceStatusReason"),
                    )

    def resources(self, stack_id: str) -> list[tuple[str, str, str]]:
        """Name in the template, type and physical id of all that the stack has and has not deleted."""
        with translated(f"list the resources of the stack {stack_id}"):
            return [
                (row["LogicalResourceId"], row["ResourceType"], row.get("PhysicalResourceId", ""))
                for page in self._client.get_paginator("list_stack_resources").paginate(StackName=stack_id)
                for row in page["StackResourceSummaries"]
                if row["ResourceStatus"] != "DELETE_COMPLETE" and row["ResourceType"]
            ]

    def _worked_out(self, name: str, change_set: str) -> DescribeChangeSetOutputTypeDef | None:
        deadline = time.monotonic() + CHANGE_SET_SECONDS
        while True:
            answer = self._client.describe_change_set(ChangeSetName=change_set, StackName=name)
            reason = answer.get("StatusReason", "")
            match answer["Status"]:
                case "CREATE_COMPLETE":
                    return answer
                case "FAILED" if any(words in reason for words in NO_CHANGES):
                    return None
                case "FAILED":
                    raise PermanentError(f"CloudFormation refused the stack {name}: {reason}")
            if time.monotonic() > deadline:
                raise TransientError(f"CloudFormation did not work out the changes of {name}; run the command again.")
            time.sleep(LOOK_SECONDS)

    def _changes(self, first: DescribeChangeSetOutputTypeDef) -> tuple[Change, ...]:
        answer, changes = first, []
        while True:
            for row in answer.get("Changes", []):
                change = row.get("ResourceChange", {})
                changes.append(
                    Change(
                        action=change.get("Action", ""),
                        resource=change.get("LogicalResourceId", ""),
                        type=change.get("ResourceType", ""),
                        replaces=change.get("Replacement") == "True",
                    )
                )
            token = answer.get("NextToken")
            if not token:
                return tuple(changes)
            with translated("read the change set"):
                answer = self._client.describe_change_set(ChangeSetName=first["ChangeSetId"], NextToken=token)

    def _delete_change_set(self, change_set: str) -> None:
        with translated("delete the change set"):
            self._client.delete_change_set(ChangeSetName=change_set)
