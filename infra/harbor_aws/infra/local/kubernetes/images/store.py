"""What an image's name stands for on this machine: a root file system, layers above it, and its configuration."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.local.kubernetes.pods.host_mounts import HOST_ROOT, host_mounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.local.kubernetes.pods.host_mounts import BaseMount
    from harbor_aws.infra.local.kubernetes.pods.mounts import OverlaySpec


class ImageMissingError(PermanentError):
    """No image of that name is here."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How an image's containers start unless their specification says otherwise."""

    env: dict[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """A base, and the directories of the layers above it, the topmost first."""

    name: str
    base: str
    """A directory; ``/`` is this machine's root."""
    layers: tuple[Path, ...] = ()
    config: ImageConfig = ImageConfig()

    @property
    def on_host(self) -> bool:
        return self.base == HOST_ROOT

    def overlays(
        self, mounts: tuple[BaseMount, ...], *, upper: Path | None = None, work: Path | None = None
    ) -> list[OverlaySpec]:
        """The file systems of a container of this image.

        Args:
            mounts: the file systems of this machine that a container on its root sees.
            upper: directory of a new layer that shall keep what is written; ``None`` is memory.
            work: a directory for overlayfs on the same file system.
        """
        return [
            {
                "path": mount.path,
                "base": mount.path if self.on_host else self.base,
                "hidden": list(mount.hidden) if self.on_host else [],
                "layers": [str(one) for layer in self.layers if (one := layer_part(layer, mount.path)).is_dir()],
                "upper": str(layer_part(upper, mount.path)) if upper else None,
                "work": str(layer_part(work, mount.path)) if work else None,
            }
            for mount in (mounts if self.on_host else mounts[:1])
        ]


def layer_part(layer: Path, mount_point: str) -> Path:
    """The directory of a layer that lies above one file system of the base."""
    return layer / quote(mount_point, safe="")


def normalized(name: str) -> str:
    """An image's name with the registry, the namespace and the tag that Docker takes for granted."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    return f"{first}/{rest}" if "@" in rest or ":" in rest.rpartition("/")[2] else f"{first}/{rest}:latest"


class ImageStore:
    """Built images below ``directory``, root file systems that the user named, and this machine's own."""

    def __init__(self, directory: Path, rootfs: Mapping[str, Path]) -> None:
        self.directory = directory
        self._rootfs = {normalized(name): path for name, path in rootfs.items()}
        for name, path in rootfs.items():
            if not path.exists():
                raise UsageError(f"--rootfs {name}={path}: there is no such directory or archive.")
        (directory / "built").mkdir(parents=True, exist_ok=True)
        (directory / "unpacked").mkdir(exist_ok=True)
        for partial in (directory / "unpacked").glob("*.partial"):
            shutil.rmtree(partial)
        self._unpacking = threading.Lock()

    def find(self, name: str, *, never_pull: bool = False) -> Image:
        """The image called ``name``; a name that nobody gave a meaning is this machine's root file system.

        Blocking: an archive is unpacked at its first use.

        Raises:
            ImageMissingError: the name has no meaning, others have, and ``never_pull`` asks for an image that is here.
            PermanentError: an archive cannot be unpacked.
        """
        built = self.find_built(name)
        if built is not None:
            return built
        path = self._rootfs.get(normalized(name))
        if path is not None:
            with self._unpacking:
                return Image(name, str(path.resolve() if path.is_dir() else self._unpacked(path)))
        if never_pull and (self._rootfs or any((self.directory / "built").iterdir())):
            raise ImageMissingError(f'Container image "{name}" is not present with pull policy of Never')
        return Image(name, HOST_ROOT)

    def find_built(self, name: str) -> Image | None:
        directory = self.built_directory(name)
        try:
            data = json.loads((directory / "image.json").read_text())
        except FileNotFoundError:
            return None
        layers = tuple(self.directory / "built" / layer for layer in data["layers"])
        return Image(name, data["base"], layers, ImageConfig(**data["config"]))

    def built_directory(self, name: str) -> Path:
        return self.directory / "built" / hashlib.sha256(normalized(name).encode()).hexdigest()[:32]

    def keep(self, image: Image, directory: Path) -> None:
        """Make a built image known, atomically: ``directory`` holds its new layers and becomes its own."""
        final, root = self.built_directory(image.name), self.directory / "built"
        for layer in directory.iterdir():
            if layer not in image.layers:  # of a stage that was only copied from
                shutil.rmtree(layer)
        layers = [final / layer.name if layer.parent == directory else layer for layer in image.layers]
        description = {
            "name": image.name,
            "base": image.base,
            "layers": [str(layer.relative_to(root)) for layer in layers],
            "config": asdict(image.config),
        }
        (directory / "image.json").write_text(json.dumps(description))
        directory.rename(final)

    def empty(self) -> str:
        """A base with nothing in it, ``FROM scratch``."""
        directory = self.directory / "unpacked" / "empty"
        directory.mkdir(exist_ok=True)
        return str(directory)

    def _unpacked(self, archive: Path) -> Path:
        status = archive.stat()
        key = hashlib.sha256(f"{archive.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:32]
        directory = self.directory / "unpacked" / key
        if directory.is_dir():
            return directory
        partial = directory.with_suffix(".partial")
        partial.mkdir(mode=0o755)
        options = ["--numeric-owner", "--exclude=./dev/*", "--exclude=dev/*"]
        done = subprocess.run(["tar", "-xpf", archive, *options, "-C", partial], capture_output=True, check=False)
        if done.returncode:
            shutil.rmtree(partial, ignore_errors=True)
            raise PermanentError(f"{archive} cannot be unpacked: {done.stderr.decode(errors='replace').strip()}")
        partial.chmod(0o755)
        partial.rename(directory)
        return directory


def host_base_mounts(state_directory: Path) -> tuple[BaseMount, ...]:
    """The file systems of this machine that containers on its root see; ``state_directory`` they do not."""
    return host_mounts(Path("/proc/self/mountinfo").read_text(), Path("/proc/filesystems").read_text(), state_directory)
