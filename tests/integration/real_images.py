"""The example tasks' own images, built here and imported into the real cluster's containerd."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harbor.environments.definition import environment_content_hash
from harbor.models.task.task import Task

from harbor_aws.infra.local.kubernetes.pods.containers import ContainerRuntime
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.examples import tasks_directory
from harbor_aws.producer.support import task_environments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEBIAN = os.environ.get("HARBOR_AWS_TEST_DEBIAN")
"""A tar of the root file system that the cluster has as ``debian:bookworm``."""

CONTAINERD = os.environ.get("HARBOR_AWS_TEST_CONTAINERD")
"""The socket of the cluster's containerd."""


def can_import() -> bool:
    return bool(DEBIAN and CONTAINERD)


def import_example_images() -> None:
    """Build every example's Dockerfile on that Debian, and give the cluster the images under their own names."""
    contexts = {
        environment_content_hash(environment.directory): environment.directory
        for task in sorted(tasks_directory().iterdir())
        for environment in task_environments(Task(task), verify=True)
        if environment.is_built
    }
    asyncio.run(_import(contexts))


async def _import(contexts: dict[str, Path]) -> None:
    assert DEBIAN
    repository = Stack.model_fields["image_repository"].default
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        runtime = ContainerRuntime(Path(directory), {"debian:bookworm": Path(DEBIAN)})
        try:
            for content_hash, context in contexts.items():
                image = f"{repository}:{content_hash}"
                async for _ in await runtime.build(image, _tar(context)):
                    pass
                archive = Path(directory) / "image.tar"
                await runtime.export_image(image, archive)
                await asyncio.to_thread(_load, archive)
        finally:
            await runtime.close()


async def _tar(context: Path) -> AsyncIterator[bytes]:
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(context, ".")
        file.seek(0)
        yield file.read()


def _load(archive: Path) -> None:
    command = ["ctr", "--address", str(CONTAINERD), "-n", "k8s.io", "images", "import", str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
