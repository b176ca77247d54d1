"""Building images by the embedded Kubernetes, over TLS as it is served."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from tests.unit.infra.fake_runtime import FakeRuntime

from harbor_aws.infra.errors import PermanentError, TransientError, UsageError
from harbor_aws.infra.images import build_image
from harbor_aws.infra.local.kubernetes.api.serve import serving
from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[KubernetesAccess]:
    kubeconfig = tmp_path / "kubeconfig"
    async with serving(FakeRuntime(), kubeconfig=kubeconfig):
        yield KubernetesAccess(kubeconfig=kubeconfig)
    assert not kubeconfig.exists()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub" / "file").write_bytes(b"x" * 9_000_000)
    (directory / "Dockerfile").write_text("FROM debian\nRUN écho\n")
    return directory


async def test_build_streams_its_log(access: KubernetesAccess, context: Path) -> None:
    """A context of any size is sent, and the log comes back piece by piece."""
    log: list[str] = []
    await build_image(access, image="a:1", context=context, on_log=log.append)
    assert "".join(log) == "FROM debian\nRUN écho\n"


async def test_failing_instruction_is_permanent(access: KubernetesAccess, context: Path) -> None:
    """An instruction that fails is named, and nobody tries again."""
    (context / "Dockerfile").write_text("FROM debian\nRUN false\n")
    with pytest.raises(PermanentError, match="RUN false: exit code 1"):
        await build_image(access, image="a:1", context=context)


async def test_failure_of_the_builder_is_transient(access: KubernetesAccess, context: Path) -> None:
    """A builder that breaks without a word leaves the build to be tried again."""
    (context / "Dockerfile").unlink()
    with pytest.raises(TransientError):
        await build_image(access, image="a:1", context=context)


async def test_no_server(access: KubernetesAccess, context: Path, tmp_path: Path) -> None:
    """A server that is not there is transient; a kubeconfig that is not there is the user's."""
    assert access.kubeconfig is not None
    assert stat.S_IMODE(access.kubeconfig.stat().st_mode) == 0o600
    gone = tmp_path / "gone"
    async with serving(FakeRuntime(), kubeconfig=gone):
        kept = tmp_path / "kept"
        kept.write_bytes(gone.read_bytes())
    with pytest.raises(TransientError):
        await build_image(KubernetesAccess(kubeconfig=kept), image="a:1", context=context)
    with pytest.raises(UsageError):
        await build_image(KubernetesAccess(kubeconfig=gone), image="a:1", context=context)
    kept.write_text("a: [b]")
    with pytest.raises(UsageError):
        await build_image(KubernetesAccess(kubeconfig=kept), image="a:1", context=context)
