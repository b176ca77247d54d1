"""CloudFormation as one stack's life, played from recorded event streams; each look sees a little more of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from tests.unit.infra.deploy.event_streams import NAME, STACK, Row

from harbor_aws.infra.deploy.stacks import TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
OUTPUTS = {
    "QueueUrl": "q",
    "DeadLetterQueueUrl": "d",
    "BucketName": "b",
    "TrialsNamespace": "t",
    "WorkersNamespace": "w",
    "EnvironmentsRepositoryUri": "r",
    "TrialsSecurityGroupId": "sg",
    "ClusterName": NAME,
    "ClusterEndpoint": "https://cluster.example",
    "ClusterCertificateAuthority": "",
}


class FakeCloudFormation:
    """The client of boto3, as far as :class:`~harbor_aws.infra.deploy.stacks.Stacks` uses it.

    Args:
        past: events that are there already.
        plays: what each operation that is begun plays, in their order; the first follows an unfinished past.
        rows_per_look: events that appear from one look to the next.
    """

    def __init__(
        self, past: Sequence[Row] = (), *, plays: Sequence[Sequence[Row]] = (), rows_per_look: int = 1
    ) -> None:
        self._past = list(past)
        self._coming: list[Row] = []
        self._plays = [list(play) for play in plays]
        self.rows_per_look = rows_per_look
        self.calls: list[str] = []
        self.has_changes = True
        self.failing_looks: list[Exception] = []
        self.tags = {TAG: NAME}
        self.outputs = dict(OUTPUTS)
        self.parameters = {"PublicAccessCidrs": "10.0.0.0/8"}
        self.meta = SimpleNamespace(endpoint_url="https://cloudformation.eu-west-1.amazonaws.com")

    @property
    def status(self) -> str | None:
        rows = [row for row in self._past if row.type == STACK]
        return None if not rows or rows[-1].status == "DELETE_COMPLETE" else rows[-1].status

    def go_on(self) -> None:
        """Begin what is played next."""
        self._coming += self._plays.pop(0)

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's names, here and below
        self._fail()
        is_there = self.status is not None and StackName in {NAME, f"arn:{NAME}"}
        was_there = bool(self._past) and StackName == f"arn:{NAME}"
        if not is_there and not was_there:
            raise client_error("ValidationError", f"Stack with id {StackName} does not exist")
        status = self.status or "DELETE_COMPLETE"
        return {
            "Stacks": [
                {
                    "StackId": f"arn:{NAME}",
                    "StackName": NAME,
                    "StackStatus": status,
                    "Parameters": [
                        {"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()
                    ],
                    "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()],
                    "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
                }
            ]
        }

    def create_change_set(self, **arguments: Any) -> dict[str, str]:
        self.calls.append(f"create_change_set {arguments['ChangeSetType']}")
        self.parameters = {each["ParameterKey"]: each["ParameterValue"] for each in arguments["Parameters"]}
        if arguments["ChangeSetType"] == "CREATE":
            self._past.append(Row(0, NAME, STACK, "REVIEW_IN_PROGRESS", "User Initiated"))
        return {"Id": "change-set", "StackId": f"arn:{NAME}"}

    def describe_change_set(self, **_: Any) -> dict[str, Any]:
        if not self.has_changes:
            return {"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes. Submit …"}
        change = {"Action": "Add", "LogicalResourceId": "Vpc", "ResourceType": "AWS::EC2::VPC"}
        return {"Status": "CREATE_COMPLETE", "ChangeSetId": "change-set", "Changes": [{"ResourceChange": change}] * 3}

    def execute_change_set(self, **_: Any) -> None:
        self.calls.append("execute_change_set")
        self.go_on()

    def delete_change_set(self, **_: Any) -> None:
        self.calls.append("delete_change_set")

    def delete_stack(self, **_: Any) -> None:
        self.calls.append("delete_stack")
        self.go_on()

    def continue_update_rollback(self, **_: Any) -> None:
        self.calls.append("continue_update_rollback")
        self.go_on()

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=getattr(self, f"_{operation}"))

    def _fail(self) -> None:
        if self.failing_looks:
            raise self.failing_looks.pop(0)

    def _describe_stack_events(self, **_: Any) -> Iterator[dict[str, Any]]:
        self._fail()
        shown, self._coming = self._coming[: self.rows_per_look], self._coming[self.rows_per_look :]
        self._past += shown
        rows = list(enumerate(self._past))[::-1]
        for start in range(0, len(rows), 4):
            yield {"StackEvents": [_event(number, row) for number, row in rows[start : start + 4]]}

    def _list_stack_resources(self, **_: Any) -> Iterator[dict[str, Any]]:
        last = {row.resource: row for row in self._past if row.type != STACK}
        yield {
            "StackResourceSummaries": [
                {
                    "LogicalResourceId": name,
                    "ResourceType": row.type,
                    "ResourceStatus": row.status,
                    "PhysicalResourceId": f"{name}-1",
                }
                for name, row in last.items()
            ]
        }


def client_error(code: str, message: str, *, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")


def _event(number: int, row: Row) -> dict[str, Any]:
    reason = {"ResourceStatusReason": row.reason} if row.reason else {}
    return {
        "EventId": f"event-{number}",
        "LogicalResourceId": row.resource,
        "ResourceType": row.type,
        "ResourceStatus": row.status,
        "Timestamp": START + timedelta(seconds=row.second),
        **reason,
    }
