"""What to do about a failure, by CloudFormation's own words for it. Pure."""

from __future__ import annotations

import re

_QUOTAS = "https://console.aws.amazon.com/servicequotas/home/services"

_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"Unrecognized resource types",
        "The region lacks a service that a stack needs (CodeBuild, EKS on Fargate, budgets): take another with "
        "--region, or leave the budget out.",
    ),
    (
        r"AddressLimitExceeded|maximum number of addresses",
        f"No elastic IP address is left: release one, or raise the quota L-0263D0A3 ({_QUOTAS}/ec2/quotas).",
    ),
    (
        r"VpcLimitExceeded|maximum number of VPCs",
        f"The region has no VPC left: delete one, or raise the quota L-F678F1CE ({_QUOTAS}/vpc/quotas).",
    ),
    (
        r"InternetGatewayLimitExceeded|maximum number of internet gateways",
        f"Raise the quota of internet gateways, L-A4707A72, or delete one ({_QUOTAS}/vpc/quotas).",
    ),
    (
        r"NatGatewayLimitExceeded",
        f"Raise the quota of NAT gateways in a zone, L-FE5A380F, or delete one ({_QUOTAS}/vpc/quotas).",
    ),
    (
        r"UnsupportedAvailabilityZone",
        "EKS has no room in one of the two zones; take another region with --region.",
    ),
    (
        r"not authorized to perform|AccessDenied|UnauthorizedOperation|is not authorized|explicit deny",
        "The credentials that deploy lack this permission; have it added, or use those of an administrator. "
        "An organization's own policies may forbid it too.",
    ),
    (
        r"service[- ]linked role",
        "Allow iam:CreateServiceLinkedRole to whoever deploys, or have an administrator create the role once.",
    ),
    (
        r"access entry resource is already in use|AccessEntry.*already",
        "Who deployed the stack administers it already; name somebody else with --admin, or nobody with --admin ''.",
    ),
    (
        r"already exists|AlreadyExists|BucketAlreadyOwnedByYou|must wait 60 seconds",
        "The name is taken, by a stack that is being deleted or by something made by hand: deploy under another name "
        "with --stack, or delete that first.",
    ),
    (
        r"SecretNotFound|secretsmanager|ecr-pullthroughcache",
        "The secret with Docker Hub's credentials must exist, in this region, under a name that begins with "
        "ecr-pullthroughcache/; see --docker-hub-secret.",
    ),
    (
        r"DependencyViolation|has dependencies and cannot be deleted|mapped public address|is currently in use",
        "Something made outside of the stack still uses it, mostly network interfaces of pods, which go some minutes "
        "after the pods. Run the command again then.",
    ),
    (
        r"RepositoryNotEmpty|BucketNotEmpty|bucket you tried to delete is not empty",
        "It still holds something; empty it, then run the command again.",
    ),
    (
        r"LimitExceeded|limit exceeded|quota|maximum number of|TooMany",
        f"A quota of the account is used up: raise it at {_QUOTAS}, or delete what is not needed.",
    ),
    (
        r"Rate exceeded|Throttl|InternalFailure|ServiceUnavailable|Internal error|NotStabilized|timed out",
        "AWS was busy or at fault; run the command again.",
    ),
)


def advice(reason: str | None) -> str | None:
    """What to do about a failure with this reason, if that is known."""
    return next((text for pattern, text in _ADVICE if re.search(pattern, reason or "", re.IGNORECASE)), None)
