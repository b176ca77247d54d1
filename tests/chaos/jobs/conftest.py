"""A ground for jobs: the embedded cluster, and a real one where there is one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.chaos.jobs.ground import embedded_ground, real_ground

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.jobs.ground import Ground


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """moto's server and the embedded Kubernetes."""
    if os.geteuid() != 0:
        pytest.skip("pods as processes need root")
    with embedded_ground(tmp_path_factory.mktemp("ground")) as ground:
        yield ground


@pytest.fixture
def real() -> Iterator[Ground]:
    """moto's server and a real cluster."""
    kubeconfig = os.environ.get("HARBOR_AWS_TEST_KUBECONFIG")
    if not kubeconfig:
        pytest.skip("HARBOR_AWS_TEST_KUBECONFIG names no cluster")
    with real_ground(Path(kubeconfig)) as ground:
        yield ground
