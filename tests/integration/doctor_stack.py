"""A stack in which nothing is wrong: on moto what the template makes, and a cluster with what ``deploy`` applies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from tests.integration.doctor_kubernetes import ago, running_pod
from tests.integration.moto_stack import REGION

from harbor_aws.infra.deploy.manifests import manifests
from harbor_aws.infra.deploy.manifests.plan import plan_from_outputs
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.stacks import TAG
from harbor_aws.infra.labels import WORKER_LABEL
from harbor_aws.infra.stack import WORKER_DEPLOYMENT
from harbor_aws.infra.worker_image.context import worker_context

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from tests.integration.doctor_aws import Cloud
    from tests.integration.doctor_kubernetes import FakeCluster

FOURTEEN_DAYS = str(14 * 86400)
MAX_VCPUS = 256
SYSTEM, KEDA, WORKERS, TRIALS = "kube-system", "keda", "harbor-aws", "harbor-aws-trials"
ACCOUNT_ID = "123456789012"

_SESSION = boto3.Session(aws_access_key_id="moto", aws_secret_access_key="moto", region_name=REGION)


@dataclass(frozen=True, slots=True)
class Deployed:
    """The stack, and how to get at it past the cloud that may be told to misbehave."""

    name: str
    cloud: Cloud
    cluster: FakeCluster
    moto_url: str
    outputs: dict[str, str]
    directory: Path
    """Empty, for what a test has to write."""

    def client(self, service: str) -> Any:
        return _client(service, self.moto_url)

    @property
    def queue(self) -> str:
        return self.outputs["QueueUrl"]

    @property
    def dead_letter_queue(self) -> str:
        return self.outputs["DeadLetterQueueUrl"]

    @property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    @property
    def role(self) -> str:
        """Of Fargate, for pulling images."""
        return f"{self.name}-pods"

    def tell(self, **outputs: str) -> None:
        """Let CloudFormation say something else."""
        self.outputs.update(outputs)
        self.client("cloudformation").update_stack(StackName=self.name, TemplateBody=_template(self.outputs))


@cache
def _client(service: str, moto_url: str) -> Any:
    """Of a session of its own, which no test changes."""
    return _SESSION.client(service, endpoint_url=moto_url)  # type: ignore[call-overload]  # any of them


def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with a proxy, names are the proxy's matter."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def deploy_healthy(cloud: Cloud, cluster: FakeCluster, moto_url: str, directory: Path) -> Deployed:
    """A stack of its own on moto; whatever was in the cluster is replaced."""
    made = Deployed(f"d{uuid4().hex[:8]}", cloud, cluster, moto_url, {}, directory)
    _make_queues(made)
    _make_bucket(made)
    _make_cluster(made)
    _make_image(made)
    _make_alarms(made)
    made.outputs.update(
        EnvironmentsRepositoryUri="environments",
        TrialsNamespace=TRIALS,
        WorkersNamespace=WORKERS,
        SystemNamespace=KEDA,
        PodsLogGroupName="/harbor-aws/pods",
        TrialsSecurityGroupId="sg-1",
        MaxVcpus=str(MAX_VCPUS),
        ClusterName=made.name,
        ClusterEndpoint=cluster.endpoint,
        ClusterCertificateAuthority=cluster.certificate_authority,
        WorkerRoleArn=f"arn:aws:iam::{ACCOUNT_ID}:role/worker",
        WorkerBuilderProject="builder",
    )
    made.client("cloudformation").create_stack(
        StackName=made.name, TemplateBody=_template(made.outputs), Tags=[{"Key": TAG, "Value": made.name}]
    )
    _fill_cluster(made)
    return made


def _template(outputs: dict[str, str]) -> str:
    """Outputs and, since there must be something, a topic."""
    return json.dumps(
        {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
    )


def tls_only(action: str, resource: str) -> str:
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": resource, "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _make_queues(made: Deployed) -> None:
    sqs, arn = made.client("sqs"), f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{made.name}"
    kept = {"MessageRetentionPeriod": FOURTEEN_DAYS, "SqsManagedSseEnabled": "true"}
    dead = sqs.create_queue(
        QueueName=f"{made.name}-dead-letters",
        Attributes={**kept, "Policy": tls_only("sqs:*", f"{arn}-dead-letters")},
    )["QueueUrl"]
    trials = sqs.create_queue(
        QueueName=f"{made.name}-trials",
        Attributes={
            **kept,
            "VisibilityTimeout": "120",
            "Policy": tls_only("sqs:*", f"{arn}-trials"),
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{arn}-dead-letters", "maxReceiveCount": 20}),
        },
    )["QueueUrl"]
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [f"{arn}-trials"]}
    made.cloud.redrive_allow[dead] = json.dumps(allow)
    made.outputs.update(QueueUrl=trials, DeadLetterQueueUrl=dead)


def _make_bucket(made: Deployed) -> None:
    s3, name = made.client("s3"), f"{made.name}-results"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    blocks = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
    s3.put_bucket_policy(Bucket=name, Policy=tls_only("s3:*", f"arn:aws:s3:::{name}/*"))
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": life_cycle()})
    made.outputs["BucketName"] = name


def life_cycle() -> list[dict[str, Any]]:
    return [
        {
            "ID": "expiring",
            "Status": "Enabled",
            "Filter": {"Tag": {"Key": "harbor-aws", "Value": "expires"}},
            "Expiration": {"Days": 30},
        },
        {
            "ID": "broken-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
    ]


def _make_cluster(made: Deployed) -> None:
    eks, iam = made.client("eks"), made.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName=made.role, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    policy = iam.create_policy(
        PolicyName="AmazonEKSFargatePodExecutionRolePolicy",
        Path=f"/{made.name}/",
        PolicyDocument=tls_only("ecr:*", "*"),
    )["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=made.role, PolicyArn=policy)
    eks.create_cluster(name=made.name, version="1.33", roleArn=role, resourcesVpcConfig={"subnetIds": []})
    for name, namespaces in (("system", (SYSTEM, KEDA)), ("workers", (WORKERS,)), ("trials", (TRIALS,))):
        eks.create_fargate_profile(
            clusterName=made.name,
            fargateProfileName=name,
            podExecutionRoleArn=role,
            selectors=[{"namespace": each} for each in namespaces],
        )


def _make_image(made: Deployed) -> None:
    ecr, repository = made.client("ecr"), f"{made.name}/worker"
    made.outputs["WorkerRepositoryUri"] = f"{ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com/{repository}"
    ecr.create_repository(repositoryName=repository)
    push_image(made, worker_context().tag)


def push_image(made: Deployed, tag: str) -> None:
    """An image that is no other's."""
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "layers": [], "annotations": {"tag": tag}}
    made.client("ecr").put_image(repositoryName=f"{made.name}/worker", imageManifest=json.dumps(manifest), imageTag=tag)


def _make_alarms(made: Deployed) -> None:
    made.client("cloudwatch").put_metric_alarm(
        AlarmName=f"{made.name}-DeadLettersAlarm-X",
        AlarmDescription="Trials came to nothing",
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Statistic="Maximum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )


def _fill_cluster(made: Deployed) -> None:
    cluster = made.cluster
    cluster.reset()
    plan = plan_from_outputs(stack_from_outputs(made.name, region=REGION, outputs=made.outputs), made.outputs)
    for manifest in manifests(plan):
        cluster.put(json.loads(json.dumps(manifest)))
    deployment = cluster.find("Deployment", WORKER_DEPLOYMENT)
    deployment["spec"]["replicas"], deployment["status"] = 1, {"readyReplicas": 1}
    cluster.put(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "coredns", "namespace": SYSTEM},
            "spec": {"replicas": 2},
            "status": {"readyReplicas": 2},
        }
    )
    cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "harbor-aws-worker-secrets", "namespace": WORKERS},
            "data": {"ANTHROPIC_API_KEY": "c2VjcmV0"},
        }
    )
    cluster.put(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": WORKER_DEPLOYMENT, "namespace": WORKERS},
            "spec": {"scaleTargetRef": {"name": WORKER_DEPLOYMENT}, "maxReplicaCount": 50},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Paused", "status": "False"}]},
        }
    )
    cluster.put(running_pod("worker-1", WORKERS, deployment["spec"]["selector"]["matchLabels"]))
    cluster.put(running_pod("trial-1", TRIALS, {WORKER_LABEL: "w"}))


def pending_pod(name: str, *, minutes: float, message: str) -> dict[str, Any]:
    """A trial's that waits."""
    pod = running_pod(name, TRIALS, {WORKER_LABEL: "w"})
    pod["metadata"]["creationTimestamp"] = ago(minutes=minutes)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod["status"] = {"phase": "Pending", "conditions": [condition]}
    return pod
