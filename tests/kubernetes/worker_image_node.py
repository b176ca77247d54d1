"""This machine as pods see it, and its API server."""

from __future__ import annotations

import socket
import subprocess
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

if TYPE_CHECKING:
    from pathlib import Path

_START_SECONDS = 60
_ANY_PORT = 9


def node_address(kubeconfig: Path) -> str:
    """Where pods reach this machine: their bridge's address, which there is once there has been a pod."""
    pod = f"where-{uuid.uuid4().hex[:8]}"
    kubectl = ["kubectl", "--kubeconfig", str(kubeconfig)]
    run = [
        "run",
        pod,
        "--image",
        "busybox:latest",
        "--image-pull-policy",
        "IfNotPresent",
        "--restart",
        "Never",
        "--command",
        "--",
        "sleep",
        "600",
    ]
    subprocess.run([*kubectl, *run], check=True, capture_output=True)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (address := _said([*kubectl, "get", "pod", pod, "-o", "jsonpath={.status.podIP}"])):
            assert time.monotonic() < deadline, "no pod starts"
            time.sleep(0.5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _ANY_PORT))  # sends nothing; says by which address it would
            found: str = probe.getsockname()[0]
            return found
    finally:
        subprocess.run([*kubectl, "delete", "pod", pod, "--now", "--wait=false"], check=True, capture_output=True)


def server_of(kubeconfig: Path) -> tuple[str, int]:
    """The API server's host and port."""
    url = urlsplit(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])
    assert url.hostname
    assert url.port
    return url.hostname, url.port


def _said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
