"""Which two zones of a region a stack is in. One request to EC2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.aws import ec2_client
from harbor_aws.infra.aws_errors import translated
from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from harbor_aws.infra.aws import Account

WITHOUT_EKS = {"use1-az3", "usw1-az2", "cac1-az3", "apne1-az3", "cnn1-az3"}
"""Ids of zones in which there is no EKS or no Fargate. A zone's name says nothing: it is another one in each account.
https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
https://docs.aws.amazon.com/eks/latest/userguide/fargate.html"""


def choose_zones(account: Account) -> tuple[str, str]:
    """The names of the first two zones of the account's region that EKS and Fargate are in.

    Raises:
        UsageError: there are no two.
    """
    with translated("list the zones of the region"):
        return first_two(ec2_client(account), region=account.region)


def first_two(client: EC2Client, *, region: str) -> tuple[str, str]:
    answer = client.describe_availability_zones(
        Filters=[{"Name": "state", "Values": ["available"]}, {"Name": "zone-type", "Values": ["availability-zone"]}]
    )
    zones = answer["AvailabilityZones"]
    usable = sorted(zone["ZoneName"] for zone in zones if zone["ZoneId"] not in WITHOUT_EKS)
    if len(usable) < 2:
        raise UsageError(f"EKS needs two zones, and in {region} this account has {len(usable)}; take another --region.")
    return usable[0], usable[1]
