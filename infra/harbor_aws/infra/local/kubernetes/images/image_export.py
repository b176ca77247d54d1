"""Writes an image as a docker archive: one layer and its configuration.

https://github.com/moby/moby/blob/v27.0.0/image/spec/spec.md
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
import tarfile
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.local.kubernetes.images.build_plan import PLATFORM
from harbor_aws.infra.local.kubernetes.images.store import normalized
from harbor_aws.infra.local.kubernetes.pods.pipes import Pipe
from harbor_aws.infra.local.kubernetes.pods.program import DEFAULT_PATH

if TYPE_CHECKING:
    from pathlib import Path

    from harbor_aws.infra.local.kubernetes.images.store import Image, ImageConfig
    from harbor_aws.infra.local.kubernetes.pods.machine import Machine


async def export_image(machine: Machine, name: str, out: Path) -> None:
    """Write the image ``name`` to ``out``; on the way there is a second file of its size beside it.

    Raises:
        UsageError: it stands on this machine's root file system.
        PermanentError: a file of it cannot be read.
    """
    image = await asyncio.to_thread(machine.images.find, name)
    if image.on_host:
        raise UsageError(f"{name} stands on this machine's root file system and cannot be exported; give it --rootfs.")
    layer = out.with_name(f"{out.name}.layer")
    try:
        digest = await _write_layer(machine, image, layer)
        await asyncio.to_thread(_write_archive, normalized(name), image.config, layer, digest, out)
    finally:
        layer.unlink(missing_ok=True)


async def _write_layer(machine: Machine, image: Image, path: Path) -> str:
    """Write the merged files as a tar; its SHA-256 in hex."""
    container = await machine.namespaces.start(
        root=machine.root(image, hostname="export", bare=True),
        hostname="export",
        program=None,
        output=None,
        cgroup=None,
    )
    reader, writer = os.pipe()
    pipe = Pipe(reader)
    digest = hashlib.sha256()
    try:
        copying = asyncio.create_task(machine.namespaces.read_everything(container, writer))
        await asyncio.sleep(0)
        with path.open("wb") as file:
            copying.add_done_callback(lambda _: os.close(writer))
            while data := await pipe.read():
                digest.update(data)
                file.write(data)
        error = await copying
    finally:
        pipe.close()
        await machine.namespaces.signal(container, signal.SIGKILL)
        await container.wait()
    if error:
        raise PermanentError(f"{image.name} cannot be exported: {error}")
    return digest.hexdigest()


def _write_archive(name: str, config: ImageConfig, layer: Path, digest: str, out: Path) -> None:
    description = json.dumps(_description(config, digest)).encode()
    config_name = f"{hashlib.sha256(description).hexdigest()}.json"
    layer_name = f"{digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]
    partial = out.with_name(f"{out.name}.partial")
    with tarfile.open(partial, "w") as tar:
        tar.add(layer, layer_name)
        for file_name, content in ((config_name, description), ("manifest.json", json.dumps(manifest).encode())):
            member = tarfile.TarInfo(file_name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    partial.replace(out)


def _description(config: ImageConfig, digest: str) -> dict[str, Any]:
    env = {"PATH": DEFAULT_PATH, **config.env}
    return {
        "architecture": PLATFORM.partition("/")[2],
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": [f"{key}={value}" for key, value in env.items()],
            "WorkingDir": config.working_dir,
            "User": config.user,
            "Entrypoint": config.entrypoint or None,
            "Cmd": config.cmd or None,
            "Labels": config.labels or None,
            "StopSignal": config.stop_signal,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "harbor-aws"}],
    }
