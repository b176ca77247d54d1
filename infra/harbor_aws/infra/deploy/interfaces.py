"""Network interfaces of pods, which outlive them by minutes and keep what they are in from being deleted. Blocking.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.exceptions import ClientError

from harbor_aws.infra.aws import ec2_client
from harbor_aws.infra.aws_errors import translated

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from harbor_aws.infra.aws import Account
    from harbor_aws.infra.deploy.follow import Watcher

LOOK_SECONDS = 5.0
"""How often it is looked whether they have gone."""

PATIENCE_SECONDS = 900.0
"""How long they may take; those of Fargate's pods take a few minutes."""

_DETACHED = "available"

_NO_MATTER = {"InvalidNetworkInterfaceID.NotFound", "InvalidParameterValue", "InvalidNetworkInterface.InUse"}
"""Why it could not be deleted: it has gone by itself, or was attached again. The next look tells."""

_GOES_ALONG = "nat_gateway"
"""The type of an interface that goes with its gateway, which is the stack's."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What interfaces are looked for in: a filter of DescribeNetworkInterfaces."""

    filter: str
    id: str
    words: str


def in_group(security_group: str) -> Scope:
    return Scope("group-id", security_group, "of the trials' pods")


def in_network(vpc: str) -> Scope:
    return Scope("vpc-id", vpc, f"in the network {vpc}")


class Interfaces:
    """Those of one account and region. Raises as :class:`~harbor_aws.infra.deploy.stacks.Stacks` does."""

    def __init__(self, client: EC2Client) -> None:
        self._client = client

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(ec2_client(account))

    def wait_until_gone(self, scope: Scope, *, watcher: Watcher) -> bool:
        """Wait until there are none; those that nothing is attached to any more are deleted. Whether all have gone."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left := self._left(scope):
            watcher.waits(f"{len(left)} network interfaces {scope.words} are not gone: {', '.join(sorted(left))}")
            if time.monotonic() > deadline:
                return False
            for interface, is_orphan in left.items():
                if is_orphan:
                    self._delete(interface)
            time.sleep(LOOK_SECONDS)
        return True

    def _left(self, scope: Scope) -> dict[str, bool]:
        """Their ids, and whether they are orphans: nothing is attached, and no service of AWS's sees to them."""
        with translated("list the network interfaces"):
            return {
                row["NetworkInterfaceId"]: row["Status"] == _DETACHED and not row["RequesterManaged"]
                for page in self._client.get_paginator("describe_network_interfaces").paginate(
                    Filters=[{"Name": scope.filter, "Values": [scope.id]}]
                )
                for row in page["NetworkInterfaces"]
                if row["InterfaceType"] != _GOES_ALONG
            }

    def _delete(self, interface: str) -> None:
        with translated(f"delete the network interface {interface}"):
            try:
                self._client.delete_network_interface(NetworkInterfaceId=interface)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _NO_MATTER:
                    raise
