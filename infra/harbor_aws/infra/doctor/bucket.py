"""The bucket: where it is, who may read it, what becomes of what is in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harbor_aws.infra.doctor.asking import MissingError, ask
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.doctor.queues import demands_tls

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject

FIRST_REGION = "us-east-1"
"""Whose buckets S3 gives no region, for it had but one. https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html"""


async def _bucket(subject: Subject) -> Outcome:
    """By a listing of nothing, which every user of a stack may."""
    name = subject.stack.bucket
    try:
        await ask("s3:ListBucket", lambda: subject.s3().list_objects_v2(Bucket=name, MaxKeys=1))
    except MissingError:
        return Outcome.failed(
            f"there is no bucket {name}", f"All results are lost with it; `harbor-aws destroy{subject.option}`, deploy."
        )
    return Outcome.ok(f"s3://{name} answers")


async def _region(subject: Subject) -> Outcome:
    name, wanted = subject.stack.bucket, subject.stack.region
    answer = await ask("s3:GetBucketLocation", lambda: subject.s3().get_bucket_location(Bucket=name))
    seen = answer["LocationConstraint"] or FIRST_REGION
    if seen != wanted:
        return Outcome.failed(
            f"{name} is in {seen}, the stack in {wanted}", f"Move it: deploy another stack in {seen}, or a bucket here."
        )
    return Outcome.ok(f"{name} is in {seen}, as the stack is")


async def _public_access(subject: Subject) -> Outcome:
    name = subject.stack.bucket
    try:
        answer = await ask("s3:GetBucketPublicAccessBlock", lambda: subject.s3().get_public_access_block(Bucket=name))
    except MissingError:
        blocks: dict[str, bool] = {}
    else:
        blocks = {str(key): bool(value) for key, value in answer["PublicAccessBlockConfiguration"].items()}
    wanted = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    missing = [each for each in wanted if not blocks.get(each)]
    if missing:
        return Outcome.failed(
            f"{name} lacks {', '.join(missing)}",
            f"aws s3api put-public-access-block --bucket {name} --public-access-block-configuration "
            + ",".join(f"{each}=true" for each in wanted),
        )
    return Outcome.ok("all four kinds of public access are blocked")


async def _encryption(subject: Subject) -> Outcome:
    name = subject.stack.bucket
    try:
        answer = await ask("s3:GetEncryptionConfiguration", lambda: subject.s3().get_bucket_encryption(Bucket=name))
    except MissingError:
        return Outcome.failed(f"{name} has no default encryption", _set_back(subject))
    rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
    return Outcome.ok(", ".join(each["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for each in rules))


async def _tls(subject: Subject) -> Outcome:
    name = subject.stack.bucket
    try:
        policy = (await ask("s3:GetBucketPolicy", lambda: subject.s3().get_bucket_policy(Bucket=name)))["Policy"]
    except MissingError:
        policy = "{}"
    if not demands_tls(json.loads(policy)):
        return Outcome.failed(f"the policy of {name} lets in what is not encrypted", _set_back(subject))
    return Outcome.ok("its policy denies what is not encrypted")


async def _life_cycle(subject: Subject) -> Outcome:
    """That what lost or broke off goes, and that nothing else does."""
    name = subject.stack.bucket
    try:
        answer = await ask(
            "s3:GetLifecycleConfiguration", lambda: subject.s3().get_bucket_lifecycle_configuration(Bucket=name)
        )
    except MissingError:
        rules = []
    else:
        rules = [each for each in answer["Rules"] if each["Status"] == "Enabled"]
    greedy = [each.get("ID", "?") for each in rules if "Expiration" in each and not _is_by_tag(dict(each))]
    if greedy:
        return Outcome.failed(
            f"the rule {', '.join(greedy)} expires results and tasks too", f"Remove the rule. {_set_back(subject)}"
        )
    missing = [
        what
        for what, is_there in {
            "archives of attempts that lost": any(_is_by_tag(dict(each)) and "Expiration" in each for each in rules),
            "broken uploads": any("AbortIncompleteMultipartUpload" in each for each in rules),
        }.items()
        if not is_there
    ]
    if missing:
        return Outcome.warning(f"{' and '.join(missing)} stay, and cost, for ever", _set_back(subject))
    return Outcome.ok("archives that lost and broken uploads go, nothing else does")


def _is_by_tag(rule: dict[str, object]) -> bool:
    return "harbor-aws" in json.dumps(rule.get("Filter", {}))


def _set_back(subject: Subject) -> str:
    return (
        f"Set it back as infra/harbor_aws/infra/deploy/template.yaml has it; `aws cloudformation detect-stack-drift "
        f"--stack-name {subject.question.stack}` says what differs."
    )


_REACH = "Let this machine reach S3 by HTTPS (port 443); https://health.aws.amazon.com says how S3 is."
_ON_IT = ("bucket",)

CHECKS = (
    Check(id="bucket", title="The bucket answers", look=_bucket, fix=_REACH, needs=("stack",)),
    Check(
        id="bucket-region",
        title="It is in the stack's region",
        look=_region,
        fix=_REACH,
        needs=_ON_IT,
        applies_to=ON_AWS,
    ),
    Check(
        id="bucket-public-access",
        title="The public is kept out of it",
        look=_public_access,
        fix=_REACH,
        needs=_ON_IT,
        applies_to=ON_AWS,
    ),
    Check(
        id="bucket-encryption",
        title="It encrypts what it keeps",
        look=_encryption,
        fix=_REACH,
        needs=_ON_IT,
        applies_to=ON_AWS,
    ),
    Check(id="bucket-tls", title="It takes TLS alone", look=_tls, fix=_REACH, needs=_ON_IT, applies_to=ON_AWS),
    Check(
        id="bucket-life-cycle",
        title="What broke off goes, results stay",
        look=_life_cycle,
        fix=_REACH,
        needs=_ON_IT,
        applies_to=ON_AWS,
    ),
)
