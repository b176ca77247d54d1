"""How the workers' containers end.

Two watches: one says which containers are a worker's, the other is of containerd itself. A kubelet may remove a
container before it has told its exit code, so a pod that was deleted does not always have it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.integration.real_images import CONTAINERD

from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.infra.stack import KubernetesAccess


@dataclass(frozen=True, slots=True)
class Departures:
    """What the watches wrote so far, each to a file."""

    pods: Path
    events: Path

    def exit_codes(self) -> dict[str, int]:
        """Of every worker whose container ended, by its pod's name."""
        ended = dict(_exits(self.events.read_text()))
        return {
            pod["metadata"]["name"]: ended[container]
            for pod in _documents(self.pods.read_text())
            for container in _containers(pod)
            if container in ended
        }


@contextlib.contextmanager
def watched_departures(access: KubernetesAccess, directory: Path) -> Iterator[Departures]:
    """Watch for the length of a ``with``."""
    departures = Departures(directory / "pods.json", directory / "events.txt")
    kubectl = ["kubectl", "--kubeconfig", str(access.kubeconfig), "-n", access.namespace, "get", "pods"]
    selected = ["-l", f"app.kubernetes.io/name={WORKER_DEPLOYMENT}"]
    ctr = ["ctr", "--address", str(CONTAINERD), "-n", "k8s.io", "events"]
    with _writing(departures.events, ctr), _writing(departures.pods, [*kubectl, *selected, "--watch", "-o", "json"]):
        yield departures


@contextlib.contextmanager
def _writing(file: Path, command: list[str]) -> Iterator[None]:
    with file.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _exits(text: str) -> Iterator[tuple[str, int]]:
    """Containers with their exit codes, of which 0 is not said; what was executed in one is left out."""
    for line in text.splitlines(keepends=True):
        _, is_exit, event = line.partition("/tasks/exit ")
        if is_exit and line.endswith("\n"):
            said = json.loads(event)
            if said["id"] == said["container_id"]:
                yield said["id"], said.get("exit_status", 0)


def _containers(pod: dict[str, Any]) -> Iterator[str]:
    for status in pod["status"].get("containerStatuses", []):
        yield status.get("containerID", "").removeprefix("containerd://")


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """The JSON documents one after another, without one that is not whole yet."""
    decoder = json.JSONDecoder()
    with contextlib.suppress(json.JSONDecodeError):
        while text := text.lstrip():
            document, end = decoder.raw_decode(text)
            yield document
            text = text[end:]
