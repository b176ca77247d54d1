"""What a run's numbers depend on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from tests.benchmarks.results import Results
    from tests.benchmarks.target import Target

_LIBRARIES = ("aiohttp", "kubernetes", "harbor")


async def surroundings(target: Target) -> Results:
    """Machine, versions and date; no name or path of the machine."""
    async with Cluster.open(KubernetesAccess(kubeconfig=target.kubeconfig)) as cluster:
        server = await cluster.request("GET", "/version")
    kubectl = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=True).stdout
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return {
        "made_on": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()}",
        "versions": f"Python {platform.python_version()}, {libraries}, kubectl {_client_version(kubectl)}",
        "kubernetes": server["gitVersion"],
    }


def _client_version(text: str) -> str:
    """From ``Client Version: v1.32.4…`` in what kubectl prints."""
    return text.split("Client Version:", 1)[-1].split()[0].split("-")[0]
