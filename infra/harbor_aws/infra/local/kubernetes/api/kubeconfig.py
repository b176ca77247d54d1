"""The kubeconfig of the embedded Kubernetes. Its appearance says that the server is ready."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "harbor-aws-local"


def write_kubeconfig(path: Path, *, server: str, token: str, certificate: bytes, namespace: str) -> None:
    """Write the file at once and for its owner's eyes only.

    Args:
        server: URL of the API.
        certificate: PEM of the certificate to trust.
        namespace: the context's own.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [
            {
                "name": _NAME,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": base64.b64encode(certificate).decode(),
                },
            }
        ],
        "users": [{"name": _NAME, "user": {"token": token}}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME, "namespace": namespace}}],
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - for the mode
        json.dump(content, file, indent=2)
    partial.replace(path)
