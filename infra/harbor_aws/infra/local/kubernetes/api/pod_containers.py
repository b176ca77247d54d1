"""Which container of a pod a request means, and how it is. Pure."""

from __future__ import annotations

from typing import Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request


def chosen_container(pod: dict[str, Any], asked: str | None) -> str:
    """The container's name: the one asked for, or the only one.

    Raises:
        ApiError: 400, there is no such container, or several and none was named.
    """
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [one["name"] for one in spec["containers"]]
    if asked:
        if asked not in names + [one["name"] for one in spec.get("initContainers") or ()]:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")
    first: str = names[0]
    return first


def container_state(pod: dict[str, Any], container: str) -> dict[str, Any]:
    """``{"running": …}``, ``{"waiting": …}``, ``{"terminated": …}``, or nothing if it is not known yet."""
    status = pod["status"]
    for one in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if one["name"] == container:
            return one.get("state") or {}
    return {}
