"""What can hold a trial up."""

from __future__ import annotations

from enum import StrEnum


class Limit(StrEnum):
    """In the order in which a trial meets them; its value is what it is called in tables."""

    BUILDS = "image builds"
    WORKERS = "workers' start"
    SLOTS = "workers' slots"
    IN_FLIGHT = "SQS messages in flight"
    S3 = "S3 requests"
    LAUNCH_RATE = "launch rate"
    API = "Kubernetes API"
    ACCOUNT_VCPUS = "account's vCPUs"
    STACK_VCPUS = "stack's vCPUs"
    NODES = "cluster's nodes"
    ADDRESSES = "subnets' addresses"
    ECR = "ECR requests"
    DOCKER_HUB = "Docker Hub pulls"
    NAT = "NAT bandwidth"
