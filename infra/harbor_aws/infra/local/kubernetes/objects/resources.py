"""The kinds of object that the API has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object and where it is served."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_name: str = ""
    in_all: bool = False
    """Whether ``kubectl get all`` shows it."""
    subresources: tuple[Subresource, ...] = ()
    selectable: tuple[str, ...] = ("metadata.name", "metadata.namespace")
    """The fields that a field selector may name."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()


@dataclass(frozen=True, slots=True)
class Subresource:
    """What is served below one object's own path."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    api_version: str = ""
    """Only where it differs from the resource's."""


NAMESPACES = Resource(
    "namespaces",
    "Namespace",
    namespaced=False,
    short_name="ns",
    subresources=(Subresource("status", "Namespace", ("get", "patch", "update")),),
    selectable=("metadata.name", "status.phase"),
)
PODS = Resource(
    "pods",
    "Pod",
    short_name="po",
    in_all=True,
    subresources=(
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("log", "Pod", ("get",)),
        Subresource("status", "Pod", ("get", "patch", "update")),
    ),
    selectable=(
        "metadata.name",
        "metadata.namespace",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
    ),
)
EVENTS = Resource(
    "events",
    "Event",
    short_name="ev",
    selectable=(
        "metadata.name",
        "metadata.namespace",
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
)
_SCALED = (
    Subresource("scale", "Scale", ("get", "patch", "update"), "autoscaling/v1"),
    Subresource("status", "", ("get", "patch", "update")),
)
DEPLOYMENTS = Resource(
    "deployments", "Deployment", group="apps", short_name="deploy", in_all=True, subresources=_SCALED
)
REPLICA_SETS = Resource("replicasets", "ReplicaSet", group="apps", short_name="rs", in_all=True, subresources=_SCALED)
LEASES = Resource("leases", "Lease", group="coordination.k8s.io")

RESOURCES = (NAMESPACES, PODS, EVENTS, DEPLOYMENTS, REPLICA_SETS, LEASES)


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """The resource that a path names, if there is one."""
    return _BY_PATH.get((group, version, plural))


_BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
