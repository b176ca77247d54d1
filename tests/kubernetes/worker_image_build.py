"""The workers' image, built by buildah and given to the cluster's containerd: without a registry, Docker or network."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.integration.real_images import CONTAINERD, DEBIAN
from tests.kubernetes.worker_image_base import make_base

from harbor_aws.infra.worker_image.context import worker_context

REPOSITORY = "localhost/harbor-aws-worker"

_BASE = "localhost/python-base"
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_PIP_CONFIGURATION = "[install]\nno-index = true\nfind-links = /wheels\n"
"""Of pip in the build, which has the wheels by a mount; this machine's own pip brings them."""


def why_not() -> str | None:
    """What is missing to build the image here and to run it, if anything."""
    if not (DEBIAN and CONTAINERD and os.environ.get("HARBOR_AWS_TEST_KUBECONFIG")):
        return "HARBOR_AWS_TEST_KUBECONFIG, _DEBIAN and _CONTAINERD name no cluster that takes images"
    if not shutil.which("buildah"):
        return "there is no buildah on this machine (Debian's package buildah)"
    return "building needs root" if os.geteuid() else None


def built_image() -> str:
    """The name of the image in the cluster's containerd; it is built where it is not there yet. Minutes."""
    image = f"{REPOSITORY}:{worker_context().tag}"
    there = _ctr("images", "list", "-q").split()
    if image not in there:
        for older in (each for each in there if each.startswith(REPOSITORY)):
            _ctr("images", "remove", older)
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="harbor-aws-worker-image-") as directory:
            _ctr("images", "import", str(_build(Path(directory), image)))
    return image


def another_name(image: str) -> str:
    """The same image by another tag, as a newer version would have."""
    _ctr("images", "tag", "--force", image, f"{image}-next")
    return f"{image}-next"


def configuration(image: str) -> dict[str, Any]:
    """What the image says of how it is run: Docker's ``Config``."""
    (digest,) = (line.split()[2] for line in _ctr("images", "list", f"name=={image}").splitlines()[1:])
    manifest = json.loads(_ctr("content", "get", digest))
    found: dict[str, Any] = json.loads(_ctr("content", "get", manifest["config"]["digest"]))["config"]
    return found


def _build(directory: Path, image: str) -> Path:
    """An archive with the image."""
    for name in ("base", "context", "wheels"):
        (directory / name).mkdir()
    make_base(directory / "base", debian=Path(DEBIAN or ""))
    with tarfile.open(fileobj=io.BytesIO(worker_context().archive)) as context:
        context.extractall(directory / "context", filter="data")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    _run([*pip, "-d", str(directory / "wheels"), "-r", str(directory / "context" / "requirements.txt")])
    (directory / "pip.conf").write_text(_PIP_CONFIGURATION)
    _commit_base(directory)
    _buildah(
        directory,
        "build", "--isolation", "chroot", "--format", "docker", "--pull-never", "--tag", image,
        "--build-arg", f"PYTHON_IMAGE={_BASE}",
        "--secret", f"id=pip,src={directory}/pip.conf",
        "--volume", f"{directory}/wheels:/wheels:ro",
        f"{directory}/context",
    )  # fmt: skip
    archive = directory / "image.tar"
    _buildah(directory, "push", "--quiet", image, f"docker-archive:{archive}:{image}")
    return archive


def _commit_base(directory: Path) -> None:
    container = _buildah(directory, "from", "scratch").strip()
    _buildah(directory, "add", "--quiet", container, f"{directory}/base", "/")
    _buildah(directory, "config", "--env", f"PATH={_PATH}", container)
    _buildah(directory, "commit", "--quiet", "--rm", container, _BASE)


def _buildah(directory: Path, *arguments: str) -> str:
    """With storage of its own, and a driver that works on every file system; it is installing that takes the time."""
    store = ["--root", f"{directory}/store", "--runroot", f"{directory}/run", "--storage-driver", "vfs"]
    return _run(["buildah", *store, *arguments], TMPDIR=str(directory))


def _ctr(*arguments: str) -> str:
    return _run(["ctr", "--address", str(CONTAINERD), "-n", "k8s.io", *arguments])


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
