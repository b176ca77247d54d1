"""Which addresses are S3's in a region, by the name that AWS has for them. One request to EC2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.aws import ec2_client
from harbor_aws.infra.aws_errors import translated
from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from harbor_aws.infra.aws import Account


def s3_prefix_list(account: Account) -> str:
    """The id of S3's prefix list in the account's region, as security groups take it; each region has another.

    https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html

    Raises:
        UsageError: there is none.
    """
    name = f"com.amazonaws.{account.region}.s3"
    with translated("look for S3's prefix list"):
        answer = ec2_client(account).describe_managed_prefix_lists(
            Filters=[{"Name": "prefix-list-name", "Values": [name]}]
        )
    found = [each["PrefixListId"] for each in answer["PrefixLists"] if "PrefixListId" in each]
    if not found:
        raise UsageError(f"There is no prefix list {name} in {account.region}, so pods cannot be isolated there.")
    return found[0]
