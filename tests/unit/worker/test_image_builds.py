"""Asking for images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.stack import KubernetesAccess
from harbor_aws.worker.image_builds import ImageBuilds

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_kubeconfig_that_is_away_may_be_back(tmp_path: Path) -> None:
    """Once the cluster was opened by a kubeconfig, that it cannot be read is a failure that may pass."""
    (tmp_path / "Dockerfile").touch()
    with pytest.raises(TransientError, match="kubeconfig"):
        await ImageBuilds().ensure(KubernetesAccess(kubeconfig=tmp_path / "none"), image="i", context=tmp_path)
