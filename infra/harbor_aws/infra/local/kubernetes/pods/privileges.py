"""Whether this machine lets us run pods."""

from __future__ import annotations

import os
import sys

from harbor_aws.infra.errors import UsageError


def check_privileges() -> None:
    """Do nothing for root on Linux.

    A user namespace would not do: the kernel does not let one merge a view of ``/`` while it cannot take away what is
    mounted below it, and it has one user only, which breaks most images.

    Raises:
        UsageError: the message says what is missing.
    """
    if not sys.platform.startswith("linux"):
        raise UsageError("The embedded Kubernetes runs pods in Linux namespaces, and this is not Linux.")
    if os.geteuid() != 0:
        raise UsageError(
            "The embedded Kubernetes mounts file systems and makes namespaces for its pods: run it as root."
        )
