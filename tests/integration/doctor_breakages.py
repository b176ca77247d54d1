"""What can be wrong with a stack, one thing at a time, and what a doctor is to find of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.integration.doctor_aws import Answer
from tests.integration.doctor_damages import (
    answered,
    cluster_is,
    crashes,
    gone,
    has_no_machine,
    in_moto,
    is_hasty,
    is_refused_the_queue,
    no_credentials,
    no_pull_policy,
    nobody_works,
    object_of,
    older_workers,
    profile_is,
    queue_attribute,
    reads_another_queue,
    refuses_credentials,
    session_that_ends,
    set_on,
    silent,
    stack_without,
    two_harbors,
    two_receives,
    variables,
    waits,
)
from tests.integration.doctor_stack import TRIALS, life_cycle, pending_pod

from harbor_aws.infra.doctor.catalogue import CHECKS
from harbor_aws.infra.doctor.check import Kind
from harbor_aws.infra.doctor.finding import Verdict
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from tests.integration.doctor_damages import Damage

ON_AWS = [check for check in CHECKS if Kind.AWS in check.applies_to]


def resting_on(check: str) -> set[str]:
    """All checks that cannot be looked at without this one."""
    resting = {check}
    for each in ON_AWS:  # which come after what they need
        if resting & set(each.needs):
            resting.add(each.id)
    return resting - {check}


@dataclass(frozen=True, slots=True)
class Breakage:
    """One thing that is wrong, and what is to be found of it."""

    check: str
    what: str
    damage: Damage
    evidence: str
    """A pattern of it."""
    fix: str = ""
    verdict: Verdict = Verdict.FAILED
    is_blocking: bool | None = None
    """``None``: as its verdict says."""
    concurrency: int | None = None
    seconds: float | None = None
    """How long its check is waited for; ``None``: until it has looked."""
    also_skipped: frozenset[str] = frozenset()
    """Checks that have nothing to look at then, though they do not rest on it."""

    @property
    def skipped(self) -> set[str]:
        blocking = self.verdict is Verdict.FAILED if self.is_blocking is None else self.is_blocking
        return {*self.also_skipped, *(resting_on(self.check) if blocking else ())}


BREAKAGES = (
    Breakage(
        "aws-configuration", "a profile that is not there", variables(AWS_PROFILE="no-such"), "no-such", "aws configure"
    ),
    Breakage(
        "dns-aws",
        "a name without an address",
        variables(AWS_ENDPOINT_URL="http://aws.invalid:4566"),
        "no address for aws.invalid",
        "resolv.conf",
    ),
    Breakage(
        "clock", "ten minutes behind", set_on("cloud", clock_is_ahead=timedelta(minutes=10)), "60. s behind", "ntp"
    ),
    Breakage("clock", "ten minutes before", set_on("cloud", clock_is_ahead=timedelta(minutes=-10)), "60. s before"),
    Breakage(
        "clock",
        "two minutes behind",
        set_on("cloud", clock_is_ahead=timedelta(minutes=2)),
        "12. s behind",
        "ntp",
        verdict=Verdict.WARNING,
    ),
    Breakage(
        "clock", "AWS closed to this machine", variables(AWS_ENDPOINT_URL="http://127.0.0.1:9"), "cannot be reached"
    ),
    Breakage(
        "credentials",
        "a token that has expired",
        answered("sts:GetCallerIdentity", refuses_credentials),
        "ExpiredToken",
        "aws sso login",
    ),
    Breakage(
        "credentials",
        "none",
        no_credentials,
        "there are none",
        "AWS_PROFILE",
    ),
    Breakage(
        "credentials",
        "a session that says itself that it is over",
        session_that_ends(timedelta(hours=-1)),
        "expired",
        "aws sso login",
    ),
    Breakage(
        "credentials",
        "a session that ends soon",
        session_that_ends(timedelta(minutes=40)),
        r"expire at .* \(in [34][0-9] min",
        "Log in again",
        verdict=Verdict.WARNING,
    ),
    Breakage(
        "stack", "deleted", in_moto("cloudformation", "delete_stack", StackName="{name}"), "none of this name", "deploy"
    ),
    Breakage("stack", "of an older version", stack_without(("DeadLetterQueueUrl",)), "no output 'DeadLetterQueueUrl'"),
    Breakage("queue", "deleted", lambda stack, _: stack.client("sqs").delete_queue(QueueUrl=stack.queue), "-trials"),
    Breakage(
        "queue",
        "never answers",
        silent(lambda call, stack: stack.queue.encode() in call.body),
        "no answer within 2 s",
        seconds=2,
    ),
    Breakage(
        "dead-letter-queue",
        "deleted",
        lambda stack, _: stack.client("sqs").delete_queue(QueueUrl=stack.dead_letter_queue),
        "-dead-letters",
        "drift",
    ),
    Breakage("queue-redrive", "none", queue_attribute("RedrivePolicy", ""), "to nowhere", "drift"),
    Breakage(
        "queue-redrive",
        "too soon",
        two_receives,
        "maxReceiveCount is 2",
    ),
    Breakage(
        "queue-redrive-allow",
        "for others alone",
        lambda stack, _: stack.cloud.redrive_allow.update(
            {stack.dead_letter_queue: json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:other"]})}
        ),
        "does not name .*-trials",
        "drift",
    ),
    Breakage(
        "queue-redrive-allow",
        "for everybody",
        lambda stack, _: stack.cloud.redrive_allow.clear(),
        "every queue",
        verdict=Verdict.WARNING,
    ),
    Breakage("queue-visibility", "shorter than a lease", queue_attribute("VisibilityTimeout", "30"), "30 s", "drift"),
    Breakage(
        "queue-visibility", "another", queue_attribute("VisibilityTimeout", "300"), "300 s", verdict=Verdict.WARNING
    ),
    Breakage("queue-retention", "an hour", queue_attribute("MessageRetentionPeriod", "3600"), "trials 0.04"),
    Breakage(
        "queue-retention",
        "a week for dead letters",
        queue_attribute("MessageRetentionPeriod", "604800", dead=True),
        "dead letters 7 days",
        verdict=Verdict.WARNING,
    ),
    Breakage("queue-tls", "no policy", queue_attribute("Policy", ""), "policy of trials lets in", "template.yaml"),
    Breakage(
        "queue-encryption",
        "none for dead letters",
        queue_attribute("SqsManagedSseEnabled", "false", dead=True),
        "messages of dead letters",
    ),
    Breakage(
        "dead-letters",
        "there are some",
        lambda stack, _: stack.client("sqs").send_message(QueueUrl=stack.dead_letter_queue, MessageBody="x"),
        "1 trials",
        "harbor-aws dlq list --stack d",
        verdict=Verdict.WARNING,
    ),
    Breakage("bucket", "deleted", in_moto("s3", "delete_bucket", Bucket="{bucket}"), "no bucket", "deploy"),
    Breakage(
        "bucket",
        "never answers",
        silent(lambda call, _: call.operation == "ListObjectsV2"),
        "no answer within 2 s",
        seconds=2,
    ),
    Breakage(
        "bucket-region",
        "elsewhere",
        answered(
            "s3:GetBucketLocation",
            lambda _: Answer(200, b"<LocationConstraint>eu-west-1</LocationConstraint>", "text/xml"),
        ),
        "is in eu-west-1, the stack in us-east-1",
    ),
    Breakage(
        "bucket-public-access",
        "not blocked",
        in_moto("s3", "delete_public_access_block", Bucket="{bucket}"),
        "BlockPublicAcls",
        "put-public-access-block",
    ),
    Breakage(
        "bucket-encryption", "none", in_moto("s3", "delete_bucket_encryption", Bucket="{bucket}"), "no default", "drift"
    ),
    Breakage("bucket-tls", "no policy", in_moto("s3", "delete_bucket_policy", Bucket="{bucket}"), "not encrypted"),
    Breakage(
        "bucket-life-cycle",
        "none",
        in_moto("s3", "delete_bucket_lifecycle", Bucket="{bucket}"),
        "broken uploads stay",
        verdict=Verdict.WARNING,
    ),
    Breakage(
        "bucket-life-cycle",
        "one that takes results",
        in_moto(
            "s3",
            "put_bucket_lifecycle_configuration",
            Bucket="{bucket}",
            LifecycleConfiguration={
                "Rules": [
                    *life_cycle(),
                    {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": "jobs/"}, "Expiration": {"Days": 7}},
                ]
            },
        ),
        "tidy expires results",
    ),
    Breakage("cluster", "broken", cluster_is("FAILED"), "is FAILED", "describe-cluster"),
    Breakage("cluster", "being changed", cluster_is("UPDATING"), "is UPDATING", "Wait", verdict=Verdict.WARNING),
    Breakage("fargate-profiles", "one is not active", profile_is("CREATE_FAILED"), "trials is CREATE_FAILED", "deploy"),
    Breakage(
        "fargate-profiles",
        "one is gone",
        in_moto("eks", "delete_fargate_profile", clusterName="{name}", fargateProfileName="workers"),
        "no profile takes pods of harbor-aws:",
    ),
    Breakage(
        "pull-rights",
        "no policy",
        no_pull_policy,
        "no policy to pull",
        "attach-role-policy --role-name d",
    ),
    Breakage(
        "dns-cluster",
        "a name that nobody knows",
        lambda stack, _: stack.tell(ClusterEndpoint="https://cluster.invalid"),
        "cluster.invalid",
        "deploy",
    ),
    Breakage(
        "cluster-api",
        "closed to this machine",
        lambda stack, _: stack.tell(ClusterEndpoint="https://localhost:9"),
        "cannot be reached",
        "--allow-cidr",
    ),
    Breakage(
        "cluster-api",
        "never answers",
        set_on("cluster", silent={"/version"}),
        "no answer within 2 s",
        seconds=2,
    ),
    Breakage(
        "kubernetes-version",
        "too old",
        set_on("cluster", version="v1.18.9"),
        "v1.18.9, older than 1.20",
        "update-cluster-version",
    ),
    Breakage(
        "cluster-access",
        "nobody is known",
        set_on("cluster", knows_nobody=True),
        "401.*create-access-entry --cluster-name d",
        verdict=Verdict.SKIPPED,
        is_blocking=True,
    ),
    Breakage("namespaces", "one is gone", gone("Namespace", TRIALS), f"{TRIALS} does not exist", "deploy"),
    Breakage(
        "namespaces",
        "one is going",
        object_of("Namespace", TRIALS, lambda it: it.update(status={"phase": "Terminating"})),
        f"{TRIALS} is Terminating",
    ),
    Breakage("coredns", "not there", gone("Deployment", "coredns"), "no CoreDNS"),
    Breakage(
        "coredns",
        "does not run",
        object_of("Deployment", "coredns", lambda it: it.update(status={})),
        "0 of 2",
        "computeType",
    ),
    Breakage(
        "coredns",
        "half of it",
        object_of("Deployment", "coredns", lambda it: it.update(status={"readyReplicas": 1})),
        "1 of 2",
        verdict=Verdict.WARNING,
    ),
    Breakage("worker-deployment", "gone", gone("Deployment", WORKER_DEPLOYMENT), "no Deployment harbor-aws-worker"),
    Breakage(
        "workers",
        "an image that cannot be pulled",
        object_of("Pod", "worker-1", lambda it: it.update(status=waits("ImagePullBackOff", "manifest unknown"))),
        "worker-1: ImagePullBackOff: manifest unknown",
        "describe pod",
    ),
    Breakage("workers", "a crash loop", object_of("Pod", "worker-1", crashes), "ended 7 times, last with 1"),
    Breakage(
        "workers",
        "no machine for it",
        object_of("Pod", "worker-1", has_no_machine),
        "Pending for 20 min: Unschedulable: 0/3 nodes",
    ),
    Breakage(
        "workers",
        "none wanted, and nobody scales",
        nobody_works,
        "0 of 0 ready",
        "harbor-aws scale 1 --stack d",
        verdict=Verdict.WARNING,
        also_skipped=frozenset({"autoscaling"}),
    ),
    Breakage(
        "worker-configuration",
        "of another queue",
        object_of("ConfigMap", "harbor-aws-stack", reads_another_queue),
        "another queue_url .*elsewhere",
    ),
    Breakage("worker-configuration", "gone", gone("ConfigMap", "harbor-aws-stack"), "no ConfigMap"),
    Breakage(
        "autoscaling",
        "it cannot ask the queue",
        object_of("ScaledObject", WORKER_DEPLOYMENT, is_refused_the_queue),
        "AccessDenied",
        "describe scaledobject",
    ),
    Breakage(
        "autoscaling",
        "too few workers for what is asked",
        object_of("ScaledObject", WORKER_DEPLOYMENT, lambda it: it["spec"].update(maxReplicaCount=2)),
        "2 workers at most",
        "scale --max 8",
        verdict=Verdict.WARNING,
        concurrency=256,
    ),
    Breakage(
        "worker-rights",
        "no exec",
        set_on("cluster", denied={"create pods/exec", "get pods/exec"}),
        "may not create pods/exec, get pods/exec",
        "deploy",
    ),
    Breakage(
        "worker-identity",
        "another role",
        object_of("ServiceAccount", WORKER_DEPLOYMENT, lambda it: it["metadata"].update(annotations={})),
        "has the role None, not arn:aws:iam",
    ),
    Breakage(
        "agent-keys",
        "no Secret",
        gone("Secret", "harbor-aws-worker-secrets"),
        "no Secret harbor-aws-worker-secrets",
        "harbor-aws secrets set",
        verdict=Verdict.WARNING,
    ),
    Breakage(
        "versions",
        "another Harbor",
        two_harbors,
        "harbor 99.0, but .* has harbor",
        "pip install",
        verdict=Verdict.WARNING,
    ),
    Breakage(
        "worker-image",
        "not in ECR",
        lambda stack, _: stack.client("ecr").delete_repository(repositoryName=f"{stack.name}/worker", force=True),
        "ECR has no .*/worker:",
        "deploy",
    ),
    Breakage(
        "worker-version",
        "older workers",
        older_workers,
        "worker:0.0.9, which is not built from",
        "deploy",
        verdict=Verdict.WARNING,
    ),
    Breakage(
        "fargate-vcpus",
        "a new account",
        set_on("cloud", fargate_vcpus=None),
        "quota is 6 vCPUs",
        "request-service-quota-increase .*--desired-value 265",
    ),
    Breakage(
        "fargate-vcpus", "more asked for", set_on("cloud", fargate_vcpus=100.0), "200 trials at once", concurrency=200
    ),
    Breakage("trials-vcpus", "no quota", gone("ResourceQuota", TRIALS), "nothing bounds", "deploy"),
    Breakage("trials-vcpus", "less than asked for", lambda *_: None, "300 trials", "--max-vcpus 300", concurrency=300),
    Breakage(
        "launch-rate",
        "workers that are too quick",
        object_of("Deployment", WORKER_DEPLOYMENT, is_hasty),
        "launch 100 pods a second",
        "--launches-per-second 20",
        verdict=Verdict.WARNING,
    ),
    Breakage(
        "pending-pods",
        "one waits for a machine",
        lambda stack, _: stack.cluster.put(pending_pod("late", minutes=9, message="no capacity")),
        "late waits for 9 min: Unschedulable: no capacity",
        "describe pod late",
    ),
    Breakage(
        "pending-pods",
        "one is slow",
        lambda stack, _: stack.cluster.put(pending_pod("slow", minutes=3, message="soon")),
        "slow waits for 3 min",
        verdict=Verdict.WARNING,
    ),
    Breakage("exec", "streams are cut", set_on("cluster", cut_in={"trial-1"}), "without a status", "10250"),
    Breakage(
        "probe",
        "no pod starts",
        set_on("cluster", new_pod_status=waits("ErrImagePull", "timeout")),
        "not start: ErrImagePull: timeout",
        "fargate-profiles",
    ),
    Breakage(
        "alarms",
        "one is raised",
        in_moto(
            "cloudwatch",
            "set_alarm_state",
            AlarmName="{name}-DeadLettersAlarm-X",
            StateValue="ALARM",
            StateReason="test",
        ),
        "Trials came to nothing",
        "describe-alarms",
        verdict=Verdict.WARNING,
    ),
)
