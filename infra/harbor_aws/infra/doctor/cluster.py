"""The cluster's API, and what every pod in it needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harbor_aws.infra.cluster import AccessRefusedError, ObjectNotFoundError
from harbor_aws.infra.doctor.asking import get
from harbor_aws.infra.doctor.check import ON_AWS, Check, Kind
from harbor_aws.infra.doctor.eks import SYSTEM_NAMESPACE
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.doctor.way import resolve

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.doctor.subject import Subject

OLDEST_KUBERNETES = (1, 20)
"""The oldest that the tests ran on; Leases, server-side apply and exec over WebSocket are older."""

_GIT_VERSION = re.compile(r"v(?P<major>[1-9]\d*)\.(?P<minor>\d+)")
"""The fields ``major`` and ``minor`` beside it are empty in builds that were not released, which are also v0.0.0."""


async def _name(subject: Subject) -> Outcome:
    eks = subject.stack.workers.eks
    return await resolve([eks.endpoint] if eks else [], fix=_NAME_FIX)


async def _api(subject: Subject) -> Outcome:
    seen = {name: await get(cluster, "/version") for name, cluster in (await _clusters(subject)).items()}
    return Outcome.ok(", ".join(f"{name}: {each['gitVersion']}" for name, each in seen.items()))


async def _version(subject: Subject) -> Outcome:
    numbers = []
    for name, cluster in (await _clusters(subject)).items():
        said = str((await get(cluster, "/version"))["gitVersion"])
        match = _GIT_VERSION.match(said)
        if match is None:
            return Outcome.skipped(f"{name} does not say which it is: {said}")
        numbers.append(match[0])
        if (int(match["major"]), int(match["minor"])) < OLDEST_KUBERNETES:
            return Outcome.failed(
                f"{name}: {said}, older than {_dotted(OLDEST_KUBERNETES)}",
                "aws eks update-cluster-version, one minor version at a time, to one that AWS still supports",
            )
    return Outcome.ok(f"{', '.join(numbers)}; {_dotted(OLDEST_KUBERNETES)} or newer is needed")


async def _access(subject: Subject) -> Outcome:
    clusters = await _clusters(subject)
    for cluster in clusters.values():
        try:
            await get(cluster, "/apis")
        except AccessRefusedError as error:
            if subject.kind is Kind.LOCAL:
                raise
            return Outcome.blocked(
                f"may not ask (the cluster knows nobody by these credentials: {error.status}). Whoever deployed can "
                f"make an access entry: aws eks create-access-entry --cluster-name {subject.stack.cluster_name}"
            )
    return Outcome.ok(f"taken by {' and '.join(clusters)}")


async def _namespaces(subject: Subject) -> Outcome:
    wanted = [(await subject.workers(), subject.stack.workers), (await subject.trials(), subject.stack.trials)]
    missing = []
    for cluster, access in wanted:
        try:
            found = await get(cluster, f"/api/v1/namespaces/{access.namespace}")
        except ObjectNotFoundError:
            missing.append(f"{access.namespace} does not exist")
            continue
        if (phase := found.get("status", {}).get("phase", "Active")) != "Active":
            missing.append(f"{access.namespace} is {phase}")
    if missing:
        again = "harbor-aws local up" if subject.kind is Kind.LOCAL else f"harbor-aws deploy{subject.option}"
        return Outcome.failed("; ".join(missing), again)
    return Outcome.ok(" and ".join(sorted({access.namespace for _, access in wanted})) + ", Active")


async def _coredns(subject: Subject) -> Outcome:
    cluster = await subject.workers()
    try:
        found = await get(cluster, f"/apis/apps/v1/namespaces/{SYSTEM_NAMESPACE}/deployments/coredns")
    except ObjectNotFoundError:
        return Outcome.failed("there is no CoreDNS: no pod resolves a name", f"harbor-aws deploy{subject.option}")
    wanted, ready = found["spec"]["replicas"], found.get("status", {}).get("readyReplicas", 0)
    if not ready:
        return Outcome.failed(
            f"0 of {wanted} pods ready: no pod resolves a name",
            f"aws eks describe-addon --cluster-name {subject.stack.cluster_name} --addon-name coredns; look at the "
            "profile `system`, and at the add-on's computeType (Fargate).",
        )
    if ready < wanted:
        return Outcome.warning(f"{ready} of {wanted} pods ready", "Wait a few minutes, then run doctor again.")
    return Outcome.ok(f"{ready} of {wanted} pods ready")


async def _clusters(subject: Subject) -> dict[str, Cluster]:
    """The one cluster, or the two of a local stack whose trials are elsewhere."""
    workers, trials = subject.stack.workers, subject.stack.trials
    if workers.model_copy(update={"namespace": ""}) == trials.model_copy(update={"namespace": ""}):
        return {"the cluster": await subject.workers()}
    return {"the workers' cluster": await subject.workers(), "the trials' cluster": await subject.trials()}


def _dotted(number: tuple[int, int]) -> str:
    return ".".join(map(str, number))


_NAME_FIX = (
    "A new cluster's name takes minutes to be known; else the stack's outputs are of a cluster that is gone: "
    "run `harbor-aws deploy` again."
)
_REACH = "Let this machine reach it by HTTPS: `harbor-aws deploy --allow-cidr` says from where it may be reached."
_AGAIN = "The cluster's API must answer; run doctor again."

CHECKS = (
    Check(
        id="dns-cluster",
        title="The name of the cluster's API resolves",
        look=_name,
        fix=_NAME_FIX,
        needs=("cluster",),
        applies_to=ON_AWS,
    ),
    Check(id="cluster-api", title="The cluster's API answers", look=_api, fix=_REACH, needs=("stack", "dns-cluster")),
    Check(
        id="kubernetes-version",
        title="Its Kubernetes is new enough",
        look=_version,
        fix=_REACH,
        needs=("cluster-api",),
    ),
    Check(id="cluster-access", title="It takes these credentials", look=_access, fix=_REACH, needs=("cluster-api",)),
    Check(id="namespaces", title="Its namespaces are there", look=_namespaces, fix=_AGAIN, needs=("cluster-access",)),
    Check(
        id="coredns",
        title="Pods can resolve names",
        look=_coredns,
        fix=_AGAIN,
        needs=("cluster-access",),
        applies_to=ON_AWS,
    ),
)
