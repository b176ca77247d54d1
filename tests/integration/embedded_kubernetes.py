"""The embedded Kubernetes as a process of its own, with real pods."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def embedded_kubernetes(directory: Path, *, rootfs: Mapping[str, Path] | None = None) -> Iterator[Path]:
    """Yields the kubeconfig; at the end the server must stop by itself and leave nothing mounted."""
    kubeconfig, log = directory / "kubeconfig", directory / "log"
    images = [argument for image, path in (rootfs or {}).items() for argument in ("--rootfs", f"{image}={path}")]
    command = [sys.executable, "-m", "harbor_aws.infra.local.kubernetes", "--state-dir", str(directory), *images]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as server:
        try:
            deadline = time.monotonic() + 90
            while not kubeconfig.exists():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield kubeconfig
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                code = server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                raise
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text(), log.read_text()
    assert not kubeconfig.exists()
    assert str(directory) not in Path("/proc/mounts").read_text()
