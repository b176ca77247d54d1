"""The whole local stack as its users start it, on the embedded Kubernetes and, where there is one, on a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration import real_images

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL_KUBECONFIG = os.environ.get("HARBOR_AWS_TEST_KUBECONFIG")
WORKERS = 2
SLOTS = 16


@dataclass(frozen=True)
class RunningStack:
    """A local stack with two workers, and how to use its commands."""

    home: Path
    """Where its state is: ``XDG_STATE_HOME``."""
    cluster: str
    """``embedded`` or ``real``: where the trials' pods are."""
    has_built_images: bool
    """Whether tasks that have only a Dockerfile can run."""

    @property
    def environment(self) -> dict[str, str]:
        settings = {"SLOTS": SLOTS, "VISIBILITY_TIMEOUT_SECONDS": 20, "LEASE_INTERVAL_SECONDS": 5}
        return {
            **os.environ,
            **{f"HARBOR_AWS_{name}": str(value) for name, value in settings.items()},
            "XDG_STATE_HOME": str(self.home),
            "COLUMNS": "200",
        }

    def run(
        self, *arguments: str, program: str = "harbor-aws", timeout: float = 110, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run one of our commands, or one of Harbor's, against this stack."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, (
                f"{program} {arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def json(self, *arguments: str) -> Any:
        """What a command with ``--json`` says."""
        return json.loads(self.run(*arguments, "--json").stdout)

    @property
    def kubeconfig(self) -> Path:
        """Of the cluster that the trials' pods are in."""
        return Path(self.json("local", "status")["stack"]["trials"]["kubeconfig"])

    def kubectl(self, *arguments: str) -> str:
        """kubectl on the cluster that the trials' pods are in."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout


@pytest.fixture(
    scope="session",
    params=["embedded", pytest.param("real", marks=[pytest.mark.kubernetes])],
)
def stack(request: pytest.FixtureRequest) -> Iterator[RunningStack]:
    """A running local stack, taken down after the session."""
    if os.geteuid() != 0:
        pytest.skip("pods as processes need root")
    arguments: list[str] = []
    if request.param == "real":
        if not REAL_KUBECONFIG:
            pytest.skip("HARBOR_AWS_TEST_KUBECONFIG names no real cluster")
        arguments = ["--kubeconfig", REAL_KUBECONFIG]
        if real_images.can_import():
            real_images.import_example_images()
    with tempfile.TemporaryDirectory(prefix="harbor-aws-e2e-") as home:
        running = RunningStack(
            home=Path(home),
            cluster=request.param,
            has_built_images=request.param == "embedded" or real_images.can_import(),
        )
        try:
            running.run("local", "up", "--detach", "--workers", str(WORKERS), *arguments)
            yield running
        finally:
            running.run("local", "down", check=False)
