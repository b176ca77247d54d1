"""CloudFormation's reasons, and what to do about them."""

from __future__ import annotations

import pytest
from tests.unit.infra.deploy.event_streams import ADDRESS_REASON, DELETION_REASON, PERMISSION_REASON

from harbor_aws.infra.aws_advice import advice


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (ADDRESS_REASON, "L-0263D0A3"),
        (PERMISSION_REASON, "lack this permission"),
        (DELETION_REASON, "Run the command again"),
        ("The maximum number of VPCs has been reached. (Service: Ec2, Status Code: 400)", "L-F678F1CE"),
        ("team-trials already exists in stack arn:aws:cloudformation:eu-west-1:1:stack/old/1", "The name is taken"),
        ("You must wait 60 seconds after deleting a queue before you can create another.", "--stack"),
        ("Cannot create cluster 'team' because us-east-1e, the targeted availability zone, does not currently have "
         "sufficient capacity (Service: Eks, UnsupportedAvailabilityZoneException)", "another region"),
        ("Account has reached the limit of clusters (Service: Eks, ResourceLimitExceededException)", "quota"),
        ("Unable to create the service-linked role AWSServiceRoleForAmazonEKS", "iam:CreateServiceLinkedRole"),
        ("Rate exceeded (Service: AmazonCloudFormation, Throttling)", "run the command again"),
        ("The ARN of the secret specified in the pull through cache rule was not found (SecretNotFoundException)",
         "ecr-pullthroughcache/"),
    ],
)  # fmt: skip
def test_common_reasons_have_advice(reason: str, words: str) -> None:
    """The particular before the general."""
    assert words in (advice(reason) or "")


def test_no_advice_is_better_than_a_wrong_one() -> None:
    """For what is not known, and where there is no reason."""
    assert advice("Property SubnetIds cannot be empty.") is None
    assert advice(None) is None
