"""What a trial's pod may do to its node, and what of the node and the cluster it sees. Pure.

Every pod is one that Pod Security's *baseline* admits, with *restricted*'s seccomp profile besides; one that is not
root's is one that *restricted* admits. https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from typing import Any

ROOT = 0

RESTRICTED_USER = 1000
"""Whom a restricted pod runs as where its Dockerfile names no other number: the first ordinary user of most images."""

_SECCOMP = {"type": "RuntimeDefault"}

_WRITABLE = {
    "logs": "/logs",
    "tests": "/tests",
    "solution": "/solution",
    "installed-agent": "/installed-agent",
}
"""Where Harbor puts files whatever the image, and where only root could make a directory."""


def pod_security(user: int) -> dict[str, Any]:
    """The parts of a pod's ``spec`` that hold for all of it."""
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": _SECCOMP},
    }
    if user != ROOT:
        spec["securityContext"] |= {"runAsNonRoot": True, "fsGroup": user}
        spec["volumes"] = [{"name": name, "emptyDir": {}} for name in _WRITABLE]
    return spec


def container_security(user: int) -> dict[str, Any]:
    """The parts of its container.

    Root's has the runtime's default capabilities, since images install packages, and its users may become others, since
    tasks switch users and call sudo.
    """
    if user == ROOT:
        # Harbor makes directories and installs agents as root whatever the image's USER is; commands that are not
        # root's switch to their user inside.
        return {"securityContext": {"runAsUser": ROOT, "runAsGroup": ROOT}}
    context = {
        "runAsUser": user,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = [{"name": name, "mountPath": path} for name, path in _WRITABLE.items()]
    return {"securityContext": context, "volumeMounts": mounts}


def restricted_user(image_user: str | None) -> int:
    """Whom a restricted pod runs as, ``image_user`` being what its Dockerfile says."""
    if image_user is not None and image_user.isdecimal() and int(image_user) != ROOT:
        return int(image_user)
    return RESTRICTED_USER


def user_within(user: str | int | None, *, pod_user: int) -> str | int | None:
    """Whom a command in a pod runs as that was meant for ``user``; ``None``: as the pod's user.

    In a restricted pod nobody can become another: what Harbor does as root is done as its user.
    """
    if pod_user == ROOT or user is None:
        return user
    return None if str(user) in {"root", str(ROOT), str(pod_user)} else user
