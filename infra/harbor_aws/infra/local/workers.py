"""The workers' Deployment on the local stack. Pure: values in, manifest out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCRATCH = "/var/tmp/harbor-aws"  # noqa: S108 - in the pod, and the pod's alone
"""Where a worker keeps what it is working on; gone with its pod."""

_OWN = {"TMPDIR": SCRATCH, "MALLOC_ARENA_MAX": "2"}
"""Variables that a worker has whatever the user's are. Two of glibc's arenas instead of eight a core keep what a
hundred threads free from being scattered: 184 MiB resident instead of 223 after 160 trials on 16 slots."""

GRACE_MARGIN_SECONDS = 30
"""Between a worker's own end of draining and the kill that Kubernetes sends."""


def worker_deployment(
    *,
    namespace: str,
    replicas: int,
    environment: Mapping[str, str],
    directory: Path,
    shared: Sequence[Path],
    drain_seconds: float,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The Deployment of the local stack's workers: this very Python, seeing this machine's files.

    Args:
        environment: variables of the workers, but for secrets: whoever may read the Deployment sees them.
        directory: working directory of the workers, so that relative import paths mean what they mean to the user.
        shared: directories of this machine that the workers see as they are, besides their copy of the rest.
        drain_seconds: how long a worker that is told to end may go on with its trials.
        annotations: of the pods; other ones than before mean other pods.
    """
    labels = {"app.kubernetes.io/name": WORKER_DEPLOYMENT}
    container = {
        "name": "worker",
        "image": "harbor-aws/worker",
        "command": [sys.executable, "-m", "harbor_aws.worker"],
        "workingDir": str(directory),
        "volumeMounts": [
            {"name": "scratch", "mountPath": SCRATCH},
            *({"name": f"shared-{n}", "mountPath": str(path)} for n, path in enumerate(shared)),
        ],
        "env": [{"name": name, "value": value} for name, value in sorted({**environment, **_OWN}.items())],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": WORKER_DEPLOYMENT, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": dict(annotations or {})},
                "spec": {
                    "containers": [container],
                    "volumes": [
                        {"name": "scratch", "emptyDir": {}},
                        *({"name": f"shared-{n}", "hostPath": {"path": str(path)}} for n, path in enumerate(shared)),
                    ],
                    "terminationGracePeriodSeconds": int(drain_seconds) + GRACE_MARGIN_SECONDS,
                },
            },
        },
    }
