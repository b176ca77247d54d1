"""What every pod and every build of one runtime uses, and how a container's root file system is described."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.images.store import host_base_mounts

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.images.store import Image, ImageStore
    from harbor_aws.infra.local.kubernetes.pods.cgroup import MemoryCgroups
    from harbor_aws.infra.local.kubernetes.pods.mounts import BindSpec, RootSpec
    from harbor_aws.infra.local.kubernetes.pods.namespaces import Namespaces


@dataclass(frozen=True, slots=True)
class Machine:
    """The parts that one runtime has once."""

    directory: Path
    """The runtime's state."""
    namespaces: Namespaces
    images: ImageStore
    cgroups: MemoryCgroups

    @property
    def stage(self) -> Path:
        """An empty directory: every container mounts on it, in a namespace of its own."""
        return self.directory / "stage"

    def root(
        self,
        image: Image,
        *,
        hostname: str,
        binds: list[BindSpec] | None = None,
        memory: list[str] | None = None,
        upper: Path | None = None,
        work: Path | None = None,
        size_bytes: int | None = None,
        cgroup: Path | None = None,
        bare: bool = False,
    ) -> RootSpec:
        """The root file system of a container.

        Args:
            memory: directories that are empty and not kept.
            upper: directory of a layer that keeps what is written, with ``work`` for overlayfs.
            size_bytes: the most that may be written.
            cgroup: the container's own control group.
            bare: only the image's own files, without what the kernel and the runtime add to them.
        """
        return {
            "stage": str(self.stage),
            "overlays": image.overlays(host_base_mounts(self.directory), upper=upper, work=work),
            "files": {
                "/etc/hostname": f"{hostname}\n",
                "/etc/hosts": f"{_read('/etc/hosts').rstrip()}\n127.0.0.1\t{hostname}\n",
                "/etc/resolv.conf": _read("/etc/resolv.conf"),
            },
            "binds": binds or [],
            "memory": memory or [],
            "cgroup": str(cgroup) if cgroup else None,
            "bare": bare,
            "size_bytes": size_bytes,
        }


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""
