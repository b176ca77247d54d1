"""What bounds a run, by default that of a new stack in a new account. Pure.

Whoever knows better says so: ``Limits(account_vcpus=1000, max_vcpus=900)``; ``math.inf`` is no limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from harbor_aws.infra.capacity.assumption import assumed
from harbor_aws.infra.deploy.manifests import autoscaling
from harbor_aws.infra.deploy.parameters import DEFAULT_MAX_VCPUS
from harbor_aws.infra.deploy.prices import DNS_PODS, KEDA_PODS, WORKER
from harbor_aws.infra.fargate import LAUNCH_BURST, LAUNCHES_PER_SECOND

_AUTOSCALING = "infra/deploy/manifests/autoscaling.py"
_TEMPLATE = "infra/deploy/template.yaml"
_MEASURED = "measured: 3.4, by tests/benchmarks/capacity/measured.py"
_GUESS = "guessed"
_ECR = "https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html"
_S3 = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"
_FLOW = "https://kubernetes.io/docs/concepts/cluster-administration/flow-control/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Each field says its unit and where its default is from; ``assumptions(Limits)`` lists them."""

    account_vcpus: float = assumed(
        6.0,
        meaning="Fargate's vCPUs of the account and region, L-3032A538, for trials, workers and the cluster's own",
        unit="vCPU",
        source="https://docs.aws.amazon.com/general/latest/gr/ecs-service.html",
    )
    max_vcpus: float = assumed(
        float(DEFAULT_MAX_VCPUS),
        meaning="vCPUs of the stack's trials: the namespace's ResourceQuota, `deploy --max-vcpus`",
        unit="vCPU",
        source="infra/deploy/parameters.py",
    )
    system_vcpus: float = assumed(
        autoscaling.SYSTEM_VCPUS, meaning="of the account's, for CoreDNS and KEDA", unit="vCPU", source=_AUTOSCALING
    )
    system_pods: int = assumed(DNS_PODS + KEDA_PODS, meaning="their pods", unit="pods", source="infra/deploy/prices.py")
    worker_vcpus: float = assumed(
        WORKER.cpu_millis / 1000, meaning="of the account's, for a worker", unit="vCPU", source="infra/deploy/prices.py"
    )
    min_workers: int = assumed(
        0, meaning="workers that are there when the run begins", unit="workers", source=_AUTOSCALING
    )
    max_workers: int | None = assumed(
        None,
        meaning="workers at most; none said: what `deploy` takes for these vCPUs",
        unit="workers",
        source=_AUTOSCALING,
    )
    slots_per_worker: int = assumed(
        autoscaling.SLOTS,
        meaning="trials at once in a worker, `HARBOR_AWS_SLOTS`",
        unit="trials",
        source="infra/settings.py",
    )
    autoscaler_poll_seconds: float = assumed(
        float(autoscaling.POLLING_SECONDS),
        meaning="how often KEDA looks into the queue, and Kubernetes asks KEDA",
        unit="s",
        source=_AUTOSCALING,
    )
    workers_per_minute: float | None = assumed(
        None,
        meaning="workers that are added in a minute; none said: what `deploy` takes for this launch rate, 36 for 20",
        unit="workers/min",
        source=_AUTOSCALING,
    )
    worker_start_seconds: float = assumed(
        60.0,
        meaning="from when a worker is wanted until it receives: a node (45 s), its image of 137 MB, its imports",
        unit="s",
        source=_GUESS,
    )
    messages_in_flight: float = assumed(
        120_000.0,
        meaning="messages of a queue that are received and not deleted",
        unit="messages",
        source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html",
    )
    slot_overhead_seconds: float = assumed(
        2.0,
        meaning="how long a trial keeps its slot without a pod: bundle, Harbor, archive, commit",
        unit="s",
        source=_GUESS,
    )
    launches_per_second: float = assumed(
        float(LAUNCHES_PER_SECOND),
        meaning="pods that Fargate launches for an account, and that workers keep to",
        unit="pods/s",
        source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html",
    )
    launch_burst: float = assumed(
        float(LAUNCH_BURST),
        meaning="pods launched at once after a pause",
        unit="pods",
        source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html",
    )
    api_seats: float = assumed(
        490.0,
        meaning="requests in flight for service accounts: 100 of 245 shares of 600, of each of two API servers",
        unit="requests",
        source=_FLOW,
    )
    api_seconds_per_request: float = assumed(
        0.1, meaning="how long a request keeps its seat, a write to etcd included", unit="s", source=_GUESS
    )
    api_requests_per_trial: float = assumed(
        5.0,
        meaning="requests of a trial that are no stream (POST, DELETE, LIST); exec and watch keep no seat",
        unit="requests",
        source=_MEASURED,
    )
    s3_writes_per_second: float = assumed(3_500.0, meaning="PUT requests for a prefix", unit="requests/s", source=_S3)
    s3_writes_per_trial: float = assumed(
        7.0,
        meaning="requests of a trial to S3, all of them taken for writes",
        unit="requests",
        source="counted: docs/operations.md, Cost",
    )
    cluster_nodes: float = assumed(
        float(autoscaling.CLUSTER_NODES),
        meaning="nodes that Kubernetes is made for; on Fargate each pod is one",
        unit="pods",
        source="https://kubernetes.io/docs/setup/best-practices/cluster-large/",
    )
    addresses: float = assumed(
        2 * (2**14 - 5.0),
        meaning="of two private subnets /18, of each of which AWS keeps five",
        unit="pods",
        source=_TEMPLATE,
    )
    node_seconds_least: float = assumed(30.0, meaning="until a pod's node is there, at least", unit="s", source=_GUESS)
    node_seconds_most: float = assumed(60.0, meaning="and at most; evenly between", unit="s", source=_GUESS)
    pull_mib_per_second: float = assumed(
        25.0,
        meaning="an image that one pod pulls and unpacks, compressed; from 413 MB that took 53 to 62 s with their node",
        unit="MiB/s",
        source="https://elasticscale.com/blog/reduce-aws-fargate-pull-times-with-soci",
    )
    ecr_layer_urls_per_second: float = assumed(
        3_000.0, meaning="GetDownloadUrlForLayer for an account", unit="requests/s", source=_ECR
    )
    layers_per_image: float = assumed(12.0, meaning="layers of an image", unit="layers", source=_GUESS)
    hub_pulls_in_six_hours: float = assumed(
        inf,
        meaning="images straight from Docker Hub, 100 without a login, 200 with a free one; no limit: all are ECR's",
        unit="pulls",
        source="https://docs.docker.com/docker-hub/usage/",
    )
    nat_mib_per_second: float = assumed(
        inf,
        meaning="of the NAT gateway, for images that come through it (100 Gbit/s is 11,921); ECR's layers come past it",
        unit="MiB/s",
        source="https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html",
    )
    builds_at_once: float = assumed(
        1.0,
        meaning="images that CodeBuild builds at once, L-2DC20C30: a new account's, later up to hundreds",
        unit="builds",
        source="https://docs.aws.amazon.com/codebuild/latest/userguide/limits.html",
    )

    @property
    def workers(self) -> int:
        """Workers at most."""
        if self.max_workers is not None:
            return self.max_workers
        bound = min(self.max_vcpus, self.account_vcpus)
        if bound == inf:
            raise ValueError("Without a bound on vCPUs max_workers must be said.")
        account = None if self.account_vcpus == inf else self.account_vcpus
        return autoscaling.most_workers(int(bound if self.max_vcpus == inf else self.max_vcpus), account_vcpus=account)

    @property
    def workers_a_minute(self) -> float:
        """Workers that are added in a minute, one at least."""
        if self.workers_per_minute is not None:
            return max(1.0, self.workers_per_minute)
        if self.launches_per_second == inf:
            return inf
        return autoscaling.workers_per_minute(int(self.launches_per_second))
