"""A stack whose workers run their own image in a real cluster, from the manifests that ``deploy`` applies.

What a node without AWS lacks is put in its place, and nothing else is changed: see :func:`adapted`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.deploy.apply import apply_objects
from harbor_aws.infra.deploy.manifests import manifests
from harbor_aws.infra.layout import results_prefix
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.infra.secrets.kubernetes import SECRETS
from harbor_aws.infra.stack import WORKER_DEPLOYMENT, stack_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kubernetes.worker_image_relay import Relay

    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

Json = dict[str, Any]

SLOTS = 3
"""Trials of a worker at once: what two processors bear."""

_SETTINGS = {"SLOTS": SLOTS, "VISIBILITY_TIMEOUT_SECONDS": 20, "LEASE_INTERVAL_SECONDS": 5}
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_AUTHORITY = "relay-authority"
_LOOK_SECONDS = 0.5
_PROGRAM = Path(sys.executable).with_name("harbor-aws")


def adapted(plan: ClusterPlan, relay: Relay) -> list[Json]:
    """Deploy's objects on a node of two processors, without the ServiceAccount admission and without kube-proxy.

    - The workers' Secret has settings for short tests, as a user would set them.
    - The Deployment's container requests nothing: a worker asks for a whole processor, and the trials need them.
    - Its pod has the projected token that the admission adds elsewhere, and the API server's address and authority.
    """
    objects = manifests(plan)
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["resources"] = {}
    container["env"] += [
        {"name": "KUBERNETES_SERVICE_HOST", "value": relay.host},
        {"name": "KUBERNETES_SERVICE_PORT", "value": str(relay.port)},
    ]
    container["volumeMounts"].append({"name": "api-access", "mountPath": _SERVICE_ACCOUNT, "readOnly": True})
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": _AUTHORITY, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    pod["volumes"].append({"name": "api-access", "projected": {"sources": sources}})
    authority = _data("ConfigMap", _AUTHORITY, plan, {"ca.crt": relay.certificate})
    settings = {f"HARBOR_AWS_{name}": str(value) for name, value in _SETTINGS.items()}
    data = [authority, _data("Secret", SECRETS, plan, settings, field="stringData")]
    place = objects.index(deployment)
    return [*objects[:place], *data, *objects[place:]]


def _data(kind: str, name: str, plan: ClusterPlan, data: dict[str, str], *, field: str = "data") -> Json:
    metadata = {"name": name, "namespace": plan.workers_namespace}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, field: data}


@dataclass(frozen=True)
class DeployedStack:
    """The stack as its user has it: by the commands, and kubectl."""

    plan: ClusterPlan
    relay: Relay
    home: Path
    """Where this user's state is: ``XDG_STATE_HOME``."""

    def deploy(self, plan: ClusterPlan) -> tuple[str, ...]:
        """Make the cluster's objects what this plan says; the kinds that the cluster does not know."""
        return asyncio.run(self._apply(adapted(plan, self.relay)))

    async def _apply(self, objects: list[Json]) -> tuple[str, ...]:
        async with Cluster.open(self.plan.stack.workers) as cluster:
            return await apply_objects(cluster, objects)

    def remember(self) -> None:
        """So that the commands know the stack without CloudFormation."""
        file = stack_file(self.plan.stack.name, directory=self.home / "harbor-aws")
        file.parent.mkdir(parents=True)
        file.write_text(self.plan.stack.model_dump_json())

    def run(self, *arguments: str, timeout_seconds: float = 110) -> str:
        """One of our commands; what it says."""
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(self.home),
            "HARBOR_AWS_STACK": self.plan.stack.name,
            "COLUMNS": "200",
        }
        done = subprocess.run(
            [str(_PROGRAM), *arguments],
            env=environment, capture_output=True, text=True, timeout=timeout_seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def kubectl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """kubectl in the workers' namespace, which :func:`exec` and its like need."""
        workers = self.plan.stack.workers
        command = ["kubectl", "--kubeconfig", str(workers.kubeconfig), "-n", workers.namespace, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def workers(self) -> list[Json]:
        """The workers' pods, those that are going included."""
        said = self.kubectl("get", "pods", "-l", f"app.kubernetes.io/name={WORKER_DEPLOYMENT}", "-o", "json").stdout
        found: list[Json] = json.loads(said)["items"]
        return found

    def trial_pods(self) -> list[str]:
        return self.kubectl("get", "pods", "-n", self.plan.trials_namespace, "-o", "name").stdout.split()

    def phases(self, job: str) -> dict[str, int]:
        """Trials of the job by where they are."""
        found: dict[str, int] = json.loads(self.run("status", job, "--json"))["phases"]
        return found

    def rewards(self, job: str) -> list[float | None]:
        """Of every committed result."""
        store = ObjectStore.of(self.plan.stack)
        results = [json.loads(store.get(row.key) or b"") for row in store.list(results_prefix(job))]
        return [(each["rewards"] or {}).get("reward") for each in results]

    def messages_left(self) -> tuple[int, int]:
        """In the queue, and among the dead letters."""
        stack = self.plan.stack
        return Queue.trials(stack).counts().total, Queue.dead_letters(stack).counts().total


def until(condition: Callable[[], bool], *, what: str, seconds: float = 240) -> None:
    """Wait for it, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s {what} has not come true"
        time.sleep(_LOOK_SECONDS)
