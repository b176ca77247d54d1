"""What CloudFormation says while it works, the oldest first, in the shapes and words that it has for it.

https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_StackEvent.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
"""

from __future__ import annotations

from typing import NamedTuple

STACK = "AWS::CloudFormation::Stack"
NAME = "team"


class Row(NamedTuple):
    """One event."""

    second: int
    resource: str
    type: str
    status: str
    reason: str | None = None


def stack(second: int, status: str, reason: str | None = None) -> Row:
    return Row(second, NAME, STACK, status, reason)


def resource(second: int, name: str, status: str, reason: str | None = None) -> Row:
    types = {
        "Vpc": "AWS::EC2::VPC",
        "NatAddress": "AWS::EC2::EIP",
        "Cluster": "AWS::EKS::Cluster",
        "TrialsQueue": "AWS::SQS::Queue",
        "ResultsBucket": "AWS::S3::Bucket",
        "PrivateSubnetA": "AWS::EC2::Subnet",
    }
    return Row(second, name, types[name], status, reason)


REVIEW = [stack(0, "REVIEW_IN_PROGRESS", "User Initiated")]

CREATION = [
    stack(10, "CREATE_IN_PROGRESS", "User Initiated"),
    resource(14, "Vpc", "CREATE_IN_PROGRESS"),
    resource(14, "TrialsQueue", "CREATE_IN_PROGRESS"),
    resource(15, "Vpc", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
    resource(16, "TrialsQueue", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
    resource(27, "Vpc", "CREATE_COMPLETE"),
    resource(30, "Cluster", "CREATE_IN_PROGRESS"),
    resource(33, "Cluster", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
    resource(80, "TrialsQueue", "CREATE_COMPLETE"),
    resource(560, "Cluster", "CREATE_COMPLETE"),
    stack(561, "CREATE_COMPLETE"),
]

ADDRESS_REASON = (
    'Resource handler returned message: "The maximum number of addresses has been reached. (Service: Ec2, Status Code: '
    '400, Request ID: 0f5a) (SDK Attempt Count: 1)" (RequestToken: 8d3c, HandlerErrorCode: ServiceLimitExceeded)'
)

CREATION_WITHOUT_ADDRESS = [
    stack(10, "CREATE_IN_PROGRESS", "User Initiated"),
    resource(14, "NatAddress", "CREATE_IN_PROGRESS"),
    resource(14, "Vpc", "CREATE_IN_PROGRESS"),
    resource(14, "TrialsQueue", "CREATE_IN_PROGRESS"),
    resource(15, "Vpc", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
    resource(16, "NatAddress", "CREATE_FAILED", ADDRESS_REASON),
    resource(16, "Vpc", "CREATE_FAILED", "Resource creation cancelled"),
    resource(16, "TrialsQueue", "CREATE_FAILED", "Resource creation cancelled"),
    stack(
        17,
        "ROLLBACK_IN_PROGRESS",
        "The following resource(s) failed to create: [NatAddress, Vpc, TrialsQueue]. Rollback requested by user.",
    ),
    resource(20, "Vpc", "DELETE_IN_PROGRESS"),
    resource(20, "NatAddress", "DELETE_COMPLETE"),
    resource(21, "TrialsQueue", "DELETE_COMPLETE"),
    resource(22, "Vpc", "DELETE_COMPLETE"),
    stack(23, "ROLLBACK_COMPLETE"),
]

DELETION_REASON = (
    "Resource handler returned message: \"The subnet 'subnet-0a1b' has dependencies and cannot be deleted. "
    '(Service: Ec2, Status Code: 400, Request ID: 77aa)" (RequestToken: 1f2e, HandlerErrorCode: InvalidRequest)'
)

DELETION = [
    stack(1000, "DELETE_IN_PROGRESS", "User Initiated"),
    resource(1002, "Cluster", "DELETE_IN_PROGRESS"),
    resource(1003, "ResultsBucket", "DELETE_SKIPPED"),
    resource(1200, "Cluster", "DELETE_COMPLETE"),
    resource(1201, "Vpc", "DELETE_IN_PROGRESS"),
    resource(1210, "Vpc", "DELETE_COMPLETE"),
    stack(1211, "DELETE_COMPLETE"),
]

DELETION_WITH_PODS_LEFT = [
    stack(1000, "DELETE_IN_PROGRESS", "User Initiated"),
    resource(1002, "PrivateSubnetA", "DELETE_IN_PROGRESS"),
    resource(1002, "TrialsQueue", "DELETE_IN_PROGRESS"),
    resource(1010, "TrialsQueue", "DELETE_COMPLETE"),
    resource(1900, "PrivateSubnetA", "DELETE_FAILED", DELETION_REASON),
    stack(1901, "DELETE_FAILED", "The following resource(s) failed to delete: [PrivateSubnetA]. "),
]

UPDATE = [
    stack(2000, "UPDATE_IN_PROGRESS", "User Initiated"),
    resource(2005, "TrialsQueue", "UPDATE_IN_PROGRESS"),
    resource(2050, "TrialsQueue", "UPDATE_COMPLETE"),
    stack(2051, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
    stack(2052, "UPDATE_COMPLETE"),
]

PERMISSION_REASON = (
    'Resource handler returned message: "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: '
    "eks:UpdateClusterConfig on resource: arn:aws:eks:eu-west-1:123456789012:cluster/team "
    '(Service: Eks, Status Code: 403)" (RequestToken: 2, HandlerErrorCode: AccessDenied)'
)

UPDATE_WITHOUT_PERMISSION = [
    stack(2000, "UPDATE_IN_PROGRESS", "User Initiated"),
    resource(2005, "Cluster", "UPDATE_IN_PROGRESS"),
    resource(2006, "Cluster", "UPDATE_FAILED", PERMISSION_REASON),
    stack(2007, "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [Cluster]. "),
    resource(2010, "Cluster", "UPDATE_IN_PROGRESS"),
    resource(2011, "Cluster", "UPDATE_COMPLETE"),
    stack(2012, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"),
    stack(2013, "UPDATE_ROLLBACK_COMPLETE"),
]

ROLLBACK_TAKEN_UP = [
    stack(3000, "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated"),
    resource(3002, "Cluster", "UPDATE_COMPLETE"),
    stack(3003, "UPDATE_ROLLBACK_COMPLETE"),
]

REFUSED_AS_A_WHOLE = [
    stack(10, "CREATE_IN_PROGRESS", "User Initiated"),
    stack(12, "ROLLBACK_IN_PROGRESS", "User: arn:aws:iam::1:user/ann is not authorized to perform: ec2:CreateVpc"),
    stack(13, "ROLLBACK_COMPLETE"),
]
