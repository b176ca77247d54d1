"""KEDA's release manifest, as a stack applies it. Pure.

The release's *core* file, which is KEDA without admission webhooks: its kinds, its operator, and the server of metrics
that Kubernetes' HorizontalPodAutoscaler asks. https://keda.sh/docs/2.20/deploy/#yaml
"""

from __future__ import annotations

import copy
import hashlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import yaml

from harbor_aws.infra.deploy.prices import KEDA_POD
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.fargate import KUBELET_PORT
from harbor_aws.infra.labels import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = dict[str, Any]

KEDA_VERSION = "2.20.2"
"""The one that is deployed. It asks for Kubernetes 1.30 or newer; EKS's newest is."""

KEDA_URL = f"https://github.com/kedacore/keda/releases/download/v{KEDA_VERSION}/keda-{KEDA_VERSION}-core.yaml"

KEDA_NAMESPACE = "keda"
"""Where the manifest puts it. The system's Fargate profile and the trust of KEDA's role name it too."""

KEDA_ACCOUNT = "keda-operator"
"""Its service account, of which the trust speaks as well."""

WHOLE = f"{PREFIX}keda"
"""An annotation of the namespace: which manifest has been applied to its end."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C where there is one: the file is large, and Python's takes seconds."""

_NEEDED = {
    ("CustomResourceDefinition", "scaledobjects.keda.sh"),
    ("CustomResourceDefinition", "triggerauthentications.keda.sh"),
    ("Namespace", KEDA_NAMESPACE),
    ("ServiceAccount", KEDA_ACCOUNT),
    ("Deployment", "keda-operator"),
    ("APIService", "v1beta1.external.metrics.k8s.io"),
}


class KedaManifestError(UsageError):
    """KEDA's release manifest cannot be had, or what was had is not one."""


def parse(text: str, *, source: str) -> list[Json]:
    """The objects of a release's file, in its order.

    Raises:
        KedaManifestError: it is not YAML, or does not hold what KEDA needs, or what Fargate cannot run.
    """
    try:
        objects = [each for each in yaml.load_all(text, _LOADER) if each is not None]
    except yaml.YAMLError as error:
        raise KedaManifestError(f"{source} is not YAML: {error}") from error
    found = {(each.get("kind"), _name(each)) for each in objects if isinstance(each, dict)}
    if missing := sorted(f"{kind} {name}" for kind, name in _NEEDED - found):
        raise KedaManifestError(
            f"{source} is not a release manifest of KEDA: it lacks {', '.join(missing)}. Say the file "
            f"keda-{KEDA_VERSION}-core.yaml of {KEDA_URL.rsplit('/', 1)[0]}, or a copy of it."
        )
    for each in objects:
        if not isinstance(each, dict) or not each.get("apiVersion") or not each.get("kind") or not _name(each):
            raise KedaManifestError(f"{source} holds something that is no object of Kubernetes: {str(each)[:100]!r}")
        if str(KUBELET_PORT) in _ports(each):
            raise KedaManifestError(
                f"{source}: the Deployment {_name(each)} listens on port {KUBELET_PORT}, which is the kubelet's own on "
                f"Fargate. Say the manifest of another version of KEDA; {KEDA_VERSION} is known to do without."
            )
    return objects


def for_fargate(objects: Sequence[Json], *, labels: Mapping[str, str], role_arn: str) -> list[Json]:
    """The objects with the stack's labels, the operator's IAM role, and pods of a size that Fargate has."""
    return [_patched(each, labels=labels, role_arn=role_arn) for each in objects]


def fingerprint(role_arn: str) -> str:
    """What :data:`WHOLE` says once this harbor-aws has applied it all: another one of another version, role or size."""
    digest = hashlib.sha256(f"{version('harbor-aws')} {role_arn} {KEDA_POD}".encode()).hexdigest()[:12]
    return f"{KEDA_VERSION}-{digest}"


def namespace_of(objects: Sequence[Json]) -> Json:
    """KEDA's namespace, among its objects."""
    return next(each for each in objects if (each["kind"], _name(each)) == ("Namespace", KEDA_NAMESPACE))


def _patched(manifest: Json, *, labels: Mapping[str, str], role_arn: str) -> Json:
    patched = copy.deepcopy(manifest)
    metadata = patched["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    if (patched["kind"], metadata["name"]) == ("ServiceAccount", KEDA_ACCOUNT):
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            "eks.amazonaws.com/role-arn": role_arn,
            "eks.amazonaws.com/sts-regional-endpoints": "true",
        }
    if patched["kind"] == "Deployment":
        # Fargate runs pods as guaranteed ones, whose requests are their limits:
        # https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-configuration.html
        template = patched["spec"]["template"]
        template["metadata"]["annotations"] = {
            **(template["metadata"].get("annotations") or {}),
            f"{PREFIX}role": role_arn,  # a pod has the role that its account had when it began
        }
        size = {"cpu": f"{KEDA_POD.cpu_millis}m", "memory": f"{KEDA_POD.container_memory_mib}Mi"}
        for container in template["spec"]["containers"]:
            container["resources"] = {"requests": dict(size), "limits": dict(size)}
    return patched


def _name(manifest: Json) -> str | None:
    metadata = manifest.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def _ports(manifest: Json) -> set[str]:
    """What the containers of a Deployment say they listen on, by their ports and by their arguments."""
    if manifest["kind"] != "Deployment":
        return set()
    containers = manifest["spec"]["template"]["spec"]["containers"]
    ports = {str(port["containerPort"]) for each in containers for port in each.get("ports", [])}
    arguments = [str(word) for each in containers for word in (*each.get("command", []), *each.get("args", []))]
    return ports | {word.rsplit("=", 1)[-1].rsplit(":", 1)[-1] for word in arguments}
