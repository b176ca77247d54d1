"""Running ``true`` in a pod, by exec's own protocol: whether commands get there and their ends come back.

The worker's way of running commands is above this package; this needs neither output nor a second try.
https://kubernetes.io/docs/reference/using-api/api-concepts/#websockets
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from harbor_aws.infra.cluster import AccessRefusedError, ObjectNotFoundError
from harbor_aws.infra.doctor.asking import KUBERNETES_PATIENCE_SECONDS, MayNotAskError, get
from harbor_aws.infra.doctor.check import Check
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.doctor.pod_state import is_running
from harbor_aws.infra.errors import ExecError
from harbor_aws.infra.labels import WORKER_LABEL
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.doctor.subject import Subject

Json = dict[str, Any]

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_ERROR_CHANNEL = 3
_COMMAND = "true"


async def run_true(cluster: Cluster, pod: Json) -> float:
    """How many seconds ``true`` took in the pod's first container, from the request to its status.

    Raises:
        MayNotAskError: whoever asks may not run commands there.
        ExecError: no status came, or another than success.
        InfrastructureError: the cluster does not answer, or refuses.
    """
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/exec"
    query = [("container", pod["spec"]["containers"][0]["name"]), ("stdout", "true"), ("command", _COMMAND)]
    begun = time.monotonic()
    try:
        websocket = await cluster.open_websocket(
            path,
            query=query,
            protocols=_PROTOCOLS,
            heartbeat_seconds=None,
            patience_seconds=KUBERNETES_PATIENCE_SECONDS,
        )
    except AccessRefusedError as error:
        raise MayNotAskError(f"create and get pods/exec in {pod['metadata']['namespace']}") from error
    try:
        status = await _last_word(websocket)
    finally:
        cluster.close_websocket(websocket)
    if status.get("status") != "Success":
        raise ExecError(f"`{_COMMAND}` failed in {pod['metadata']['name']}: {status.get('message', status)}")
    return time.monotonic() - begun


async def _last_word(websocket: aiohttp.ClientWebSocketResponse) -> Json:
    """The ``Status`` by which the server ends the stream."""
    while True:
        message = await websocket.receive()
        if message.type == aiohttp.WSMsgType.BINARY:
            if message.data[:1] == bytes([_ERROR_CHANNEL]) and len(message.data) > 1:
                return json.loads(message.data[1:])  # type: ignore[no-any-return]  # a Status
        elif message.type != aiohttp.WSMsgType.TEXT:
            raise ExecError("The stream of an exec ended without a status: something between here and the pod cuts it.")


async def _exec(subject: Subject) -> Outcome:
    for cluster, selector in (
        (await subject.trials(), WORKER_LABEL),
        (await subject.workers(), f"app.kubernetes.io/name={WORKER_DEPLOYMENT}"),
    ):
        pods = (await get(cluster, cluster.pods_path, query={"labelSelector": selector}))["items"]
        for pod in filter(is_running, pods):
            name = pod["metadata"]["name"]
            try:
                seconds = await run_true(cluster, pod)
            except ObjectNotFoundError:
                continue  # it ended meanwhile
            return Outcome.ok(f"`{_COMMAND}` took {seconds:.2f} s in {name}")
    return Outcome.skipped("no pod runs to try it in; say --probe, which makes one")


CHECKS = (
    Check(
        id="exec",
        title="Commands run in pods",
        look=_exec,
        fix="Streams are WebSockets on the API's own port: look at proxies on the way. On EKS the cluster's security "
        "group must reach the pods' port 10250.",
        needs=("namespaces",),
    ),
)
