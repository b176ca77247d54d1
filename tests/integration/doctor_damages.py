"""How a test's stack is damaged, in one way each."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.integration.doctor_aws import Answer, Call, refusal
from tests.integration.doctor_stack import Deployed, pending_pod, push_image
from tests.integration.moto_stack import REGION

from harbor_aws.infra import aws
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    import pytest

type Damage = Callable[[Deployed, pytest.MonkeyPatch], Any]


def queue_attribute(name: str, value: str, *, dead: bool = False) -> Damage:
    """moto forgets the policy of a queue that is told anything else."""

    def damage(stack: Deployed, _: pytest.MonkeyPatch) -> None:
        url, sqs = stack.dead_letter_queue if dead else stack.queue, stack.client("sqs")
        policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy, name: value})

    return damage


def two_receives(stack: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"arn:aws:sqs:{REGION}:123456789012:{stack.name}-dead-letters"
    policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 2})
    queue_attribute("RedrivePolicy", policy)(stack, monkeypatch)


def variables(**values: str) -> Damage:
    def damage(_: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
        forget_session(monkeypatch)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return damage


def object_of(kind: str, name: str, change: Callable[[dict[str, Any]], Any]) -> Damage:
    return lambda stack, _: change(stack.cluster.find(kind, name))


def gone(kind: str, name: str) -> Damage:
    return lambda stack, _: stack.cluster.remove(kind, name)


def in_moto(service: str, call: str, **arguments: Any) -> Damage:
    """A call past the cloud; ``{name}`` and ``{bucket}`` in its arguments are the stack's."""

    def damage(stack: Deployed, _: pytest.MonkeyPatch) -> None:
        filled = {
            key: value.format(name=stack.name, bucket=stack.bucket) if isinstance(value, str) else value
            for key, value in arguments.items()
        }
        getattr(stack.client(service), call)(**filled)

    return damage


def set_on(part: str, **values: Any) -> Damage:
    """Of the cloud or the cluster."""

    def damage(stack: Deployed, _: pytest.MonkeyPatch) -> None:
        for name, value in values.items():
            setattr(getattr(stack, part), name, value)

    return damage


def answered(operation: str, answer: Callable[[Call], Answer]) -> Damage:
    return lambda stack, _: stack.cloud.answers.update({operation: answer})


def profile_is(status: str) -> Damage:
    """Of the trials' profile."""

    def edit(told: dict[str, Any]) -> None:
        profile = told["fargateProfile"]
        if profile["fargateProfileName"] == "trials":
            profile["status"] = status

    return lambda stack, _: stack.cloud.edits.update({"eks:DescribeFargateProfile": edit})


def cluster_is(status: str) -> Damage:
    return lambda stack, _: stack.cloud.edits.update(
        {"eks:DescribeCluster": lambda told: told["cluster"].update(status=status)}
    )


def waits(reason: str, message: str) -> dict[str, Any]:
    """The status of a container that does."""
    return {
        "phase": "Pending",
        "containerStatuses": [{"name": "worker", "state": {"waiting": {"reason": reason, "message": message}}}],
    }


def refuses_credentials(call: Call) -> Answer:
    return refusal(call, "ExpiredToken", message="The security token included in the request is expired")


def stack_without(outputs: tuple[str, ...]) -> Damage:
    def damage(stack: Deployed, _: pytest.MonkeyPatch) -> None:
        for name in outputs:
            del stack.outputs[name]
        stack.tell()

    return damage


def silent(is_so: Callable[[Call, Deployed], bool]) -> Damage:
    def damage(stack: Deployed, _: pytest.MonkeyPatch) -> None:
        stack.cloud.silent = lambda call: is_so(call, stack)

    return damage


def session_that_ends(after: timedelta) -> Damage:
    """As `aws configure export-credentials` writes it."""

    def damage(_: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
        forget_session(monkeypatch)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + after).isoformat())

    return damage


def forget_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let configuration and credentials be read anew, for this test alone."""
    monkeypatch.setattr(aws, "_session", functools.cache(aws._session.__wrapped__))
    monkeypatch.setattr(aws, "_identity_client", functools.cache(aws._identity_client.__wrapped__))


def no_credentials(_: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_session(monkeypatch)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def two_harbors(stack: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is found first is another than the image's."""
    directory = stack.directory / "harbor-99.0.dist-info"
    directory.mkdir()
    (directory / "METADATA").write_text("Metadata-Version: 2.1\nName: harbor\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(stack.directory)


def crashes(pod: dict[str, Any]) -> None:
    pod["status"] = waits("CrashLoopBackOff", "back-off 5m0s")
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    pod["status"]["containerStatuses"][0] |= {"restartCount": 7, "lastState": ended}


def has_no_machine(pod: dict[str, Any]) -> None:
    waiting = pending_pod("", minutes=20, message="0/3 nodes")
    pod["metadata"]["creationTimestamp"] = waiting["metadata"]["creationTimestamp"]
    pod["status"] = waiting["status"]


def nobody_works(stack: Deployed, _: pytest.MonkeyPatch) -> None:
    stack.cluster.remove("ScaledObject", WORKER_DEPLOYMENT)
    stack.cluster.remove("Pod", "worker-1")
    deployment = stack.cluster.find("Deployment", WORKER_DEPLOYMENT)
    deployment["spec"]["replicas"], deployment["status"] = 0, {}


def reads_another_queue(configuration: dict[str, Any]) -> None:
    told = json.loads(configuration["data"]["stack.json"])
    configuration["data"]["stack.json"] = json.dumps({**told, "queue_url": "https://sqs/elsewhere"})


def is_refused_the_queue(scaled: dict[str, Any]) -> None:
    said = {"type": "Ready", "status": "False", "reason": "ScalerFailed", "message": "AccessDenied: sqs"}
    scaled["status"]["conditions"] = [said]


def is_hasty(deployment: dict[str, Any]) -> None:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    name = "HARBOR_AWS_POD_LAUNCHES_PER_SECOND"
    others = [each for each in container["env"] if each["name"] != name]
    container["env"] = [*others, {"name": name, "value": "100"}]


def older_workers(stack: Deployed, _: pytest.MonkeyPatch) -> None:
    deployment = stack.cluster.find("Deployment", WORKER_DEPLOYMENT)
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = f"{stack.outputs['WorkerRepositoryUri']}:0.0.9"
    push_image(stack, "0.0.9")


def no_pull_policy(stack: Deployed, _: pytest.MonkeyPatch) -> None:
    iam = stack.client("iam")
    for policy in iam.list_attached_role_policies(RoleName=stack.role)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=stack.role, PolicyArn=policy["PolicyArn"])
