"""kubectl against the embedded Kubernetes, with real pods."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.embedded_kubernetes import embedded_kubernetes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl"),
]

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "box"},
    "spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "debian:bookworm", "command": ["sh", "-c", "echo hello; sleep 1000"]}],
    },
}


def deployment(**fields: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "debian", "command": ["sleep", "1000"], **fields}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


class Kubectl:
    """kubectl as a subprocess."""

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(kubeconfig)}

    def __call__(self, *arguments: str, stdin: bytes = b"", code: int = 0) -> str:
        """Its output, both streams; it must end with ``code``."""
        done = subprocess.run(
            ["kubectl", *arguments], input=stdin, env=self.environment, capture_output=True, timeout=60, check=False
        )
        output = (done.stdout + done.stderr).decode()
        assert done.returncode == code, output
        return output

    def apply(self, *objects: dict[str, Any]) -> str:
        return self("apply", "-f", "-", stdin="\n".join(map(json.dumps, objects)).encode())


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    with embedded_kubernetes(tmp_path_factory.mktemp("kubernetes")) as kubeconfig:
        yield Kubectl(kubeconfig, tmp_path_factory.mktemp("home"))


@pytest.fixture
def box(kubectl: Kubectl) -> Iterator[Kubectl]:
    """kubectl, and a running pod called box."""
    kubectl.apply(POD)
    kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=30s")
    yield kubectl
    kubectl("delete", "pod", "box")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_get(box: Kubectl) -> None:
    """get shows tables, wide ones, names, JSON and selections."""
    header, row = box("get", "pods").splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["box", "1/1", "Running", "0"]
    assert "local" in box("get", "pods", "-A", "-o", "wide", "--chunk-size=1")
    assert box("get", "pods", "--field-selector=status.phase=Running", "-o", "name") == "pod/box\n"
    assert "No resources found" in box("get", "pods", "-l", "x=y")
    assert json.loads(box("get", "pod", "box", "-o", "json"))["spec"]["restartPolicy"] == "Never"
    assert "NotFound" in box("get", "pod", "nope", code=1)
    assert "harbor-aws" in box("get", "namespaces")
    assert "Started container main" in box("get", "events")
    assert "pod/box" in box("get", "all")


def test_describe(box: Kubectl) -> None:
    """describe shows the container's state and the pod's events."""
    text = box("describe", "pod", "box")
    assert "Ready:          True" in text
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert reason in text


def test_logs(box: Kubectl) -> None:
    """logs shows what the first process printed, whole or in part."""
    until(lambda: box("logs", "box") == "hello\n")
    assert box("logs", "box", "--limit-bytes=2") == "he"
    assert "not valid for pod" in box("logs", "box", "-c", "nope", code=1)


def test_exec(box: Kubectl) -> None:
    """exec passes on both outputs, stdin and the exit code, and says what cannot be executed."""
    assert box("exec", "box", "--", "sh", "-c", "echo out; echo err >&2") == "out\nerr\n"
    assert "exit code 7" in box("exec", "box", "--", "sh", "-c", "exit 7", code=7)
    data = os.urandom(300_000).hex().encode()
    assert box("exec", "-i", "box", "--", "cat", stdin=data) == data.decode()
    assert "executable file not found" in box("exec", "box", "--", "no-such-program", code=1)


def test_cp(box: Kubectl, tmp_path: Path) -> None:
    """cp takes a directory there and back, byte for byte."""
    (tmp_path / "there" / "sub").mkdir(parents=True)
    content = os.urandom(5_000_000)
    (tmp_path / "there" / "sub" / "file").write_bytes(content)
    box("cp", str(tmp_path / "there"), "box:/tmp/there")
    box("cp", "box:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back" / "sub" / "file").read_bytes() == content


def test_watch(box: Kubectl, tmp_path: Path) -> None:
    """get -w shows a pod from its creation to its end; wait waits for its phase and for its deletion."""
    shown = tmp_path / "shown"
    watch = ["kubectl", "get", "pods", "-w", "--no-headers"]
    with shown.open("w") as out, subprocess.Popen(watch, env=box.environment, stdout=out) as watching:
        try:
            until(lambda: "box" in shown.read_text())
            containers = [{"name": "main", "image": "debian", "command": ["true"]}]
            spec = {**POD["spec"], "containers": containers}
            box.apply({**POD, "metadata": {"name": "short"}, "spec": spec})
            box("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/short", "--timeout=30s")
            box("delete", "pod", "short", "--wait=false")
            box("wait", "--for=delete", "pod/short", "--timeout=30s")
            until(lambda: "Completed" in shown.read_text())
        finally:
            watching.terminate()
    states = [line.split()[2] for line in shown.read_text().splitlines() if line.startswith("short")]
    assert states[0] in {"Pending", "ContainerCreating"}


def test_deployment(kubectl: Kubectl) -> None:
    """apply, rollout, scale, wait, describe and delete of a Deployment do what they do on any cluster."""
    assert "created" in kubectl.apply(deployment())
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert "unchanged" in kubectl.apply(deployment())
    assert "configured" in kubectl.apply(deployment(env=[{"name": "A", "value": "2"}]))
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    until(lambda: len(kubectl("get", "pods", "-l", "app=web", "-o", "name").split()) == 2)
    assert kubectl("exec", "deployment/web", "--", "printenv", "A") == "2\n"
    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/web", "--timeout=30s")
    assert kubectl("get", "deployment", "web", "--no-headers").split()[1] == "3/3"
    assert "Scaled up replica set" in kubectl("describe", "deployment", "web")
    kubectl("rollout", "undo", "deployment/web")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert kubectl("exec", "deployment/web", "--", "sh", "-c", "echo [$A]") == "[]\n"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(deployment()).encode())
    kubectl("delete", "deployment", "web")
    until(lambda: "No resources found" in kubectl("get", "pods", "-l", "app=web"))


def test_namespace(kubectl: Kubectl) -> None:
    """A namespace made by apply is deleted with what is in it."""
    pod = {**POD, "metadata": {"name": "box", "namespace": "other"}}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}, pod)
    kubectl("wait", "-n", "other", "--for=condition=Ready", "pod/box", "--timeout=30s")
    kubectl("delete", "namespace", "other")
    assert "other" not in kubectl("get", "namespaces")


def test_request_counts(kubectl: Kubectl) -> None:
    """The requests are counted by verb, as the metrics of a real API server are."""
    assert 'resource="pods",subresource="",verb="POST"' in kubectl("get", "--raw", "/metrics")
