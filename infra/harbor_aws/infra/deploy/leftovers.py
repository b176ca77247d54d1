"""The door to what a stack's use leaves behind, which no template knows of: images, logs, results. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.exceptions import ClientError

from harbor_aws.infra.aws import ecr_client, logs_client, s3_client
from harbor_aws.infra.aws_errors import translated
from harbor_aws.infra.deploy.stacks import TAG

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client

    from harbor_aws.infra.aws import Account


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that is still there."""

    kind: str
    """``repository``, ``log group``, ``bucket`` or a type of CloudFormation's."""
    name: str


class Leftovers:
    """What a stack left in one region. Raises as :class:`~harbor_aws.infra.deploy.stacks.Stacks` does."""

    def __init__(self, *, stack: str, ecr: ECRClient, logs: CloudWatchLogsClient, s3: S3Client) -> None:
        self._stack = stack
        self._ecr = ecr
        self._logs = logs
        self._s3 = s3

    @classmethod
    def of(cls, account: Account, *, stack: str) -> Self:
        return cls(stack=stack, ecr=ecr_client(account), logs=logs_client(account), s3=s3_client(account))

    def repositories(self) -> list[str]:
        """Of the pull-through cache: one for each image of Docker Hub that was ever pulled."""
        with translated("list the repositories of images"):
            return sorted(
                row["repositoryName"]
                for page in self._ecr.get_paginator("describe_repositories").paginate()
                for row in page["repositories"]
                if row["repositoryName"].startswith(f"{self._stack}-hub/")
            )

    def log_groups(self) -> list[str]:
        """Of pods and builds; Fargate and CodeBuild make them again if they write after the stack has gone."""
        with translated("list the log groups"):
            return sorted(
                row["logGroupName"]
                for page in self._logs.get_paginator("describe_log_groups").paginate(
                    logGroupNamePrefix=f"/harbor-aws/{self._stack}/"
                )
                for row in page["logGroups"]
            )

    def buckets(self) -> list[str]:
        """Those of the stack, or of an earlier one of its name: a bucket stays when its stack goes."""
        with translated("list the buckets"):
            named = [
                row["Name"]
                for row in self._s3.list_buckets().get("Buckets", [])
                if row["Name"].startswith(f"{self._stack}-resultsbucket-")
            ]
            return [name for name in named if self._is_ours(name)]

    def delete_repository(self, name: str) -> None:
        with translated(f"delete the repository {name}"):
            self._ecr.delete_repository(repositoryName=name, force=True)

    def delete_log_group(self, name: str) -> None:
        with translated(f"delete the log group {name}"):
            self._logs.delete_log_group(logGroupName=name)

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket with all that is in it, a thousand objects a request."""
        with translated(f"empty and delete the bucket {name}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=name):
                keys = [row["Key"] for row in page.get("Contents", [])]
                if keys:
                    self._s3.delete_objects(
                        Bucket=name, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                    )
            self._s3.delete_bucket(Bucket=name)

    def _is_ours(self, bucket: str) -> bool:
        try:
            tags = self._s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchTagSet":
                return False
            raise
        return any(tag["Key"] == TAG and tag["Value"] == self._stack for tag in tags)
