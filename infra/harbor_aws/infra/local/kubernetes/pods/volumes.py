"""A pod's volumes: directories that its containers share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.pods.container_spec import ContainerConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harbor_aws.infra.local.kubernetes.pods.container_spec import VolumeMount
    from harbor_aws.infra.local.kubernetes.pods.mounts import BindSpec


def bind_volumes(
    volumes: Iterable[Mapping[str, Any]], mounts: Iterable[VolumeMount], directory: Path
) -> list[BindSpec]:
    """What is shared where in a container; ``emptyDir`` volumes are made below ``directory`` when first asked for.

    Raises:
        ContainerConfigError: a volume is missing, or of a kind that this runtime does not have.
    """
    known = {volume["name"]: volume for volume in volumes}
    binds: list[BindSpec] = []
    for mount in mounts:
        if mount.volume not in known:
            raise ContainerConfigError(f"volumeMount {mount.path}: there is no volume {mount.volume!r}")
        source = _source(known[mount.volume], directory) / mount.sub_path
        if not source.resolve().exists():
            source.mkdir(parents=True)
        binds.append({"source": str(source), "target": mount.path, "read_only": mount.read_only})
    return binds


def _source(volume: Mapping[str, Any], directory: Path) -> Path:
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    if "emptyDir" not in volume:
        kind = next((key for key in volume if key != "name"), "without a kind")
        raise ContainerConfigError(f"volume {volume['name']!r}: {kind} is not supported by the embedded Kubernetes")
    path = directory / str(volume["name"])
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o777)
    return path
