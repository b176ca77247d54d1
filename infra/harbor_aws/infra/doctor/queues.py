"""The two queues, and what becomes of messages in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.doctor.asking import MissingError, ask
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.doctor.subject import Subject

LONGEST_RETENTION_SECONDS = 14 * 24 * 3600
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

SHORTEST_RETENTION_SECONDS = 4 * 24 * 3600
"""SQS's own default: a long weekend. Less than that loses trials that nobody has looked at yet."""

FEWEST_RECEIVES = 10
"""Handing a trial back is a receive too, and each attempt is one, so that less makes dead letters of sound trials."""

_ACTION = "sqs:GetQueueAttributes"


async def _attributes(subject: Subject, url: str) -> Mapping[str, str]:
    answer = await ask(
        _ACTION, lambda: subject.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    )
    return {str(name): value for name, value in answer.items()}


async def _trials(subject: Subject) -> Mapping[str, str]:
    return await _attributes(subject, subject.stack.queue_url)


async def _dead(subject: Subject) -> Mapping[str, str]:
    return await _attributes(subject, subject.stack.dead_letter_queue_url)


async def _queue(subject: Subject) -> Outcome:
    return await _reached(subject, subject.stack.queue_url)


async def _dead_letter_queue(subject: Subject) -> Outcome:
    return await _reached(subject, subject.stack.dead_letter_queue_url)


async def _reached(subject: Subject, url: str) -> Outcome:
    try:
        found = await _attributes(subject, url)
    except MissingError:
        return Outcome.failed(f"there is no queue {url}", _again(subject))
    waiting, flying = found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]
    return Outcome.ok(f"{waiting} messages waiting, {flying} in flight")


async def _redrive(subject: Subject) -> Outcome:
    policy = json.loads((await _trials(subject)).get("RedrivePolicy") or "{}")
    wanted = (await _dead(subject))["QueueArn"]
    if policy.get("deadLetterTargetArn") != wanted:
        seen = policy.get("deadLetterTargetArn", "nowhere")
        return Outcome.failed(f"messages that kill their workers go to {seen}, not to {wanted}", _again(subject))
    receives = int(policy.get("maxReceiveCount", 0))
    if receives < FEWEST_RECEIVES:
        return Outcome.failed(
            f"maxReceiveCount is {receives}: below {FEWEST_RECEIVES} sound trials become dead letters", _again(subject)
        )
    return Outcome.ok(f"to the dead-letter queue after {receives} receives")


async def _redrive_allow(subject: Subject) -> Outcome:
    policy = json.loads((await _dead(subject)).get("RedriveAllowPolicy") or "{}")
    ours, permission = (await _trials(subject))["QueueArn"], policy.get("redrivePermission", "allowAll")
    if permission == "allowAll":
        return Outcome.warning("every queue of the account may redrive to it", _again(subject))
    if permission != "byQueue" or ours not in policy.get("sourceQueueArns", []):
        return Outcome.failed(f"its RedriveAllowPolicy ({permission}) does not name {ours}", _again(subject))
    return Outcome.ok("the trials' queue alone may redrive to it")


async def _visibility(subject: Subject) -> Outcome:
    seen = int((await _trials(subject))["VisibilityTimeout"])
    wanted, interval = Settings().visibility_timeout_seconds, Settings().lease_interval_seconds
    if seen <= interval:
        return Outcome.failed(
            f"{seen} s, but a lease is extended every {interval:g} s: trials run twice", _again(subject)
        )
    if seen != wanted:
        return Outcome.warning(f"{seen} s, where workers keep leases of {wanted} s", _again(subject))
    return Outcome.ok(f"{seen} s, extended every {interval:g} s")


async def _retention(subject: Subject) -> Outcome:
    seen = {"trials": await _trials(subject), "dead letters": await _dead(subject)}
    seconds = {name: int(each["MessageRetentionPeriod"]) for name, each in seen.items()}
    evidence = ", ".join(f"{name} {each / 86400:g} days" for name, each in seconds.items())
    if min(seconds.values()) < SHORTEST_RETENTION_SECONDS:
        return Outcome.failed(f"{evidence}: what is not looked at in time is lost", _again(subject))
    if min(seconds.values()) < LONGEST_RETENTION_SECONDS:
        return Outcome.warning(evidence, _again(subject))
    return Outcome.ok(evidence)


async def _tls(subject: Subject) -> Outcome:
    seen = {"trials": await _trials(subject), "dead letters": await _dead(subject)}
    plain = [name for name, each in seen.items() if not demands_tls(json.loads(each.get("Policy") or "{}"))]
    if plain:
        return Outcome.failed(f"the policy of {' and '.join(plain)} lets in what is not encrypted", _again(subject))
    return Outcome.ok("both queues' policies deny what is not encrypted")


async def _encryption(subject: Subject) -> Outcome:
    seen = {"trials": await _trials(subject), "dead letters": await _dead(subject)}
    plain = [name for name, each in seen.items() if not _is_encrypted(each)]
    if plain:
        return Outcome.failed(f"messages of {' and '.join(plain)} lie there in the clear", _again(subject))
    return Outcome.ok("both queues encrypt what they keep")


def _is_encrypted(attributes: Mapping[str, str]) -> bool:
    return attributes.get("SqsManagedSseEnabled", "").lower() == "true" or "KmsMasterKeyId" in attributes


async def _dead_letters(subject: Subject) -> Outcome:
    found = await _dead(subject)
    letters = int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])
    if letters:
        return Outcome.warning(f"{letters} trials came to nothing", f"harbor-aws dlq list{subject.option}")
    return Outcome.ok("none")


def demands_tls(policy: Mapping[str, Any]) -> bool:
    """Whether a resource's policy refuses everybody who does not use TLS."""
    return any(
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and str(statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")).lower() == "false"
        for statement in policy.get("Statement", [])
    )


def _again(subject: Subject) -> str:
    return (
        f"Somebody changed or removed what the stack made. `aws cloudformation detect-stack-drift --stack-name "
        f"{subject.question.stack}` says what; set it back as infra/harbor_aws/infra/deploy/template.yaml has it."
    )


_REACH = "Let this machine reach SQS by HTTPS (port 443); https://health.aws.amazon.com says how SQS is."
_BOTH = ("queue", "dead-letter-queue")

CHECKS = (
    Check(id="queue", title="The trials' queue answers", look=_queue, fix=_REACH, needs=("stack",)),
    Check(
        id="dead-letter-queue",
        title="The dead-letter queue answers",
        look=_dead_letter_queue,
        fix=_REACH,
        needs=("stack",),
    ),
    Check(
        id="queue-redrive",
        title="Messages that kill their workers become dead letters",
        look=_redrive,
        fix=_REACH,
        needs=_BOTH,
    ),
    Check(
        id="queue-redrive-allow",
        title="The dead-letter queue takes them",
        look=_redrive_allow,
        fix=_REACH,
        needs=_BOTH,
        applies_to=ON_AWS,
    ),
    Check(
        id="queue-visibility",
        title="Messages stay hidden for longer than a lease",
        look=_visibility,
        fix=_REACH,
        needs=_BOTH[:1],
    ),
    Check(id="queue-retention", title="Queues keep messages for 14 days", look=_retention, fix=_REACH, needs=_BOTH),
    Check(
        id="queue-tls",
        title="Queues take TLS alone",
        look=_tls,
        fix=_REACH,
        needs=_BOTH,
        applies_to=ON_AWS,
    ),
    Check(
        id="queue-encryption",
        title="Queues encrypt what they keep",
        look=_encryption,
        fix=_REACH,
        needs=_BOTH,
        applies_to=ON_AWS,
    ),
    Check(id="dead-letters", title="No trial came to nothing", look=_dead_letters, fix=_REACH, needs=_BOTH[1:]),
)
