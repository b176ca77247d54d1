"""What the code asks of AWS, recorded from botocore's events, and what a policy allows of it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.integration.moto_stack import REGION

from harbor_aws.infra import aws

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_KEY = "harbor-aws-test-parameters"

_ACTIONS = {
    "cloudformation:DescribeStacks": "cloudformation:DescribeStacks",
    "codebuild:BatchGetBuilds": "codebuild:BatchGetBuilds",
    "codebuild:ListBuildsForProject": "codebuild:ListBuildsForProject",
    "codebuild:StartBuild": "codebuild:StartBuild",
    "api.ecr:BatchGetImage": "ecr:BatchGetImage",
    "logs:GetLogEvents": "logs:GetLogEvents",
    "s3:AbortMultipartUpload": "s3:AbortMultipartUpload",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:GetObject": "s3:GetObject",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:PutObject": "s3:PutObject",
    "s3:PutObjectTagging": "s3:PutObjectTagging",
    "s3:UploadPart": "s3:PutObject",
    "secretsmanager:GetSecretValue": "secretsmanager:GetSecretValue",
    "servicequotas:GetAWSDefaultServiceQuota": "servicequotas:GetAWSDefaultServiceQuota",
    "servicequotas:GetServiceQuota": "servicequotas:GetServiceQuota",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibility",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage": "sqs:DeleteMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:GetQueueAttributes": "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage": "sqs:ReceiveMessage",
    "sqs:SendMessage": "sqs:SendMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
"""The action that each operation needs.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html"""


@dataclass(frozen=True, slots=True)
class Need:
    """A permission that a call took."""

    action: str
    resource: str


class CallRecorder:
    """Notes what is needed while it is recording."""

    def __init__(self) -> None:
        self.needs: set[Need] = set()
        self.is_recording = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note every call of this process's clients, whichever thread makes it; those made by the test itself not."""
        self.is_recording = True
        try:
            yield
        finally:
            self.is_recording = False

    def before(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        context[_KEY] = dict(params)
        if self.is_recording:
            operation = f"{model.service_model.endpoint_prefix}:{model.name}"
            self.needs.add(Need(_ACTIONS[operation], _resource(params)))

    def after(self, model: Any, http_response: Any, context: dict[str, Any], **_: object) -> None:
        """Whoever may not list a bucket is not told that an object is missing (404), but refused (403)."""
        is_read = model.name in {"GetObject", "HeadObject"}
        if self.is_recording and is_read and http_response.status_code == 404:
            self.needs.add(Need("s3:ListBucket", f"arn:aws:s3:::{context[_KEY]['Bucket']}"))


@contextmanager
def recorded_calls() -> Iterator[CallRecorder]:
    """A recorder of all clients that are made within."""
    recorder = CallRecorder()
    aws._session.cache_clear()
    events = aws._session(REGION, is_emulator=False).events
    events.register("before-parameter-build.*", recorder.before)
    events.register("after-call.*", recorder.after)
    try:
        yield recorder
    finally:
        aws._session.cache_clear()


@dataclass(frozen=True, slots=True)
class Grant:
    """One action on one resource that a policy's statement allows; both may have wildcards."""

    sid: str
    action: str
    resource: str

    def covers(self, need: Need) -> bool:
        return _matches(self.action, need.action) and _matches(self.resource, need.resource)


def grants(policy: dict[str, Any]) -> list[Grant]:
    """All that a policy allows, each statement taken apart."""
    return [
        Grant(statement["Sid"], action, resource)
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
        for action in _list(statement["Action"])
        for resource in _list(statement["Resource"])
    ]


def refused(allowed: Iterable[Grant], needs: Iterable[Need]) -> list[Need]:
    """Calls that no statement allows."""
    everything = list(allowed)
    return sorted(
        (need for need in needs if not any(grant.covers(need) for grant in everything)), key=lambda need: str(need)
    )


def unused(allowed: Iterable[Grant], needs: Iterable[Need]) -> list[Grant]:
    """What is allowed and no call needs."""
    called = list(needs)
    return [grant for grant in allowed if not any(grant.covers(need) for need in called)]


def _resource(params: dict[str, Any]) -> str:
    if "QueueUrl" in params:
        account, name = params["QueueUrl"].rsplit("/", 2)[-2:]
        return f"arn:aws:sqs:{REGION}:{account}:{name}"
    if "repositoryName" in params:
        return f"arn:aws:ecr:{REGION}:{params['registryId']}:repository/{params['repositoryName']}"
    if "logGroupName" in params:
        names = f"log-group:{params['logGroupName']}:log-stream:{params['logStreamName']}"
        return f"arn:aws:logs:{REGION}:123456789012:{names}"
    if "projectName" in params or "ids" in params:  # a build is a resource of its project
        project = params["projectName"] if "projectName" in params else params["ids"][0].partition(":")[0]
        return f"arn:aws:codebuild:{REGION}:123456789012:project/{project}"
    if "StackName" in params:
        return f"arn:aws:cloudformation:{REGION}:123456789012:stack/{params['StackName']}/some-id"
    if "QuotaCode" in params:
        return "*"  # no policy can name one
    if "SecretId" in params:
        return f"arn:aws:secretsmanager:{REGION}:123456789012:secret:{params['SecretId']}-AbCdEf"
    return f"arn:aws:s3:::{params['Bucket']}" + (f"/{params['Key']}" if "Key" in params else "")


def _matches(pattern: str, text: str) -> bool:
    """IAM's wildcards, which also match a slash."""
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, text) is not None


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
