"""What Fargate says that it provisioned for a pod, and bills. Pure.

It says so in an annotation, ``CapacityProvisioned: 0.25vCPU 0.5GB``, some time after the pod was made.
https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-configuration.html (read on 2026-11-23)
"""

from __future__ import annotations

import re

from harbor_aws.infra.fargate import DEFAULT_STORAGE_GIB, FargateSize

ANNOTATION = "CapacityProvisioned"

_NUMBER = r"((?:[0-9]{1,4})?\.?[0-9]{1,4})"
_CAPACITY = re.compile(rf"{_NUMBER}vCPU {_NUMBER}GB")


def parse_capacity(text: str, *, storage_gib: int = DEFAULT_STORAGE_GIB) -> FargateSize | None:
    """The size that an annotation's text names, or ``None`` if it names none; of storage it says nothing."""
    found = _CAPACITY.fullmatch(text)
    if found is None:
        return None
    cpu_millis, memory_mib = round(float(found[1]) * 1000), round(float(found[2]) * 1024)
    return FargateSize(cpu_millis, memory_mib, storage_gib) if cpu_millis and memory_mib else None
