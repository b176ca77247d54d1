"""Which handler serves a request, and the verb that Kubernetes has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.api import changes, reads
from harbor_aws.infra.local.kubernetes.api.list_options import flag
from harbor_aws.infra.local.kubernetes.api.pod_exec import exec_in_pod
from harbor_aws.infra.local.kubernetes.api.pod_log import read_log
from harbor_aws.infra.local.kubernetes.objects.api_errors import method_not_allowed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from harbor_aws.infra.local.kubernetes.api.request_path import Target
    from harbor_aws.infra.local.kubernetes.control.cluster import Cluster

    Handler = Callable[[web.Request, Cluster, Target], Awaitable[web.StreamResponse]]

_COLLECTION: dict[str, tuple[str, Handler]] = {
    "GET": ("LIST", reads.list_objects),
    "POST": ("POST", changes.create),
    "DELETE": ("DELETECOLLECTION", changes.delete_collection),
}
_OBJECT: dict[str, tuple[str, Handler]] = {
    "GET": ("GET", reads.get_object),
    "PUT": ("PUT", changes.update),
    "PATCH": ("PATCH", changes.patch),
    "DELETE": ("DELETE", changes.delete),
}
_SUBRESOURCES: dict[str, dict[str, tuple[str, Handler]]] = {
    "status": {key: _OBJECT[key] for key in ("GET", "PUT", "PATCH")},
    "log": {"GET": ("GET", read_log)},
    "exec": {"GET": ("CONNECT", exec_in_pod), "POST": ("CONNECT", exec_in_pod)},
    "scale": {
        "GET": ("GET", changes.get_scale),
        "PUT": ("PUT", changes.update_scale),
        "PATCH": ("PATCH", changes.patch_scale),
    },
}


def find_handler(request: web.Request, target: Target) -> tuple[str, Handler]:
    """The verb and the handler.

    Raises:
        ApiError: 405.
    """
    if target.name is None:
        if request.method == "GET" and flag(request.query, "watch"):
            return "WATCH", reads.watch_objects
        handlers = _COLLECTION
        if not target.resource.namespaced and request.method == "DELETE":
            raise method_not_allowed()
    else:
        handlers = _SUBRESOURCES[target.subresource] if target.subresource else _OBJECT
    if request.method not in handlers:
        raise method_not_allowed()
    return handlers[request.method]
