"""The log of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from harbor_aws.infra.local.kubernetes.api.list_options import flag
from harbor_aws.infra.local.kubernetes.api.pod_containers import chosen_container, container_state
from harbor_aws.infra.local.kubernetes.objects.api_errors import FieldError, bad_request, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.local.kubernetes.api.request_path import Target
    from harbor_aws.infra.local.kubernetes.control.cluster import Cluster

_REFUSED = ("timestamps", "sinceSeconds", "sinceTime")
"""The log is kept as the process wrote it, without times."""


async def read_log(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    """Raises: ApiError: 400, 404 or 422, as Kubernetes."""
    pod = cluster.store.get(target.resource, target.namespace, target.name or "").item
    container = chosen_container(pod, request.query.get("container"))
    for name in _REFUSED:
        if flag(request.query, name):
            raise bad_request(f"{name} is not supported: this server keeps logs without times")
    if flag(request.query, "previous"):
        message = f'previous terminated container "{container}" in pod "{target.name}" not found'
        raise bad_request(message)
    state = container_state(pod, container)
    if "running" not in state and "terminated" not in state:
        reason = (state.get("waiting") or {}).get("reason") or "ContainerCreating"
        raise bad_request(f'container "{container}" in pod "{target.name}" is waiting to start: {reason}')
    chunks = cluster.runtime.logs(
        pod["metadata"]["uid"],
        container,
        follow=flag(request.query, "follow"),
        tail_lines=_amount(request.query, "tailLines", least=0),
        limit_bytes=_amount(request.query, "limitBytes", least=1),
    )
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    async for chunk in chunks:
        await response.write(chunk)
    return response


def _amount(query: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not text.lstrip("-").isdecimal():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a number')
    if int(text) < least:
        error = FieldError.wrong(name, int(text), f"must be greater than or equal to {least}")
        raise invalid("PodLogOptions", "", [error])
    return int(text)
