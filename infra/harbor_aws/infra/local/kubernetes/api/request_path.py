"""What the path of a request names, as Kubernetes' own RequestInfo reads it."""

from __future__ import annotations

from dataclasses import dataclass

from harbor_aws.infra.local.kubernetes.objects.api_errors import unknown_path
from harbor_aws.infra.local.kubernetes.objects.resources import NAMESPACES, Resource, find_resource


@dataclass(frozen=True, slots=True)
class Target:
    """The object or the collection that a request is about."""

    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str = ""


def parse_path(path: str) -> Target:
    """Read ``/api/v1/namespaces/NS/pods/NAME/exec`` and the like.

    Raises:
        ApiError: 404, nothing is served there.
    """
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise unknown_path()
    namespace = None
    if len(rest) >= 3 and rest[0] == "namespaces" and find_resource(group, version, rest[2]):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        raise unknown_path()
    resource = find_resource(group, version, rest[0])
    if resource is None or (namespace is not None and not resource.namespaced):
        raise unknown_path()
    name = rest[1] if len(rest) > 1 else None
    subresource = rest[2] if len(rest) > 2 else ""
    if name is not None and resource.namespaced and namespace is None:
        raise unknown_path()
    if subresource and subresource not in {one.name for one in resource.subresources}:
        raise unknown_path()
    return Target(resource, None if resource is NAMESPACES else namespace, name, subresource)
