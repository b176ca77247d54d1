"""The labels of what a stack has in its cluster. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "harbor-aws"

PREFIX = "harbor-aws/"
STACK_LABEL = f"{PREFIX}stack"
WORKER_LABEL = f"{PREFIX}worker"

NETWORK_LABEL = f"{PREFIX}network"
"""Whoever enforces a pod's network goes by it: the embedded Kubernetes, and the SecurityGroupPolicies of a deployed
stack. A pod without it has the network that all have."""
NO_NETWORK = "none"
"""The label's value of a pod that is to have no network."""

FARGATE_PROFILE_LABEL = "eks.amazonaws.com/fargate-profile"
"""Which one a pod takes that more than one select.
https://docs.aws.amazon.com/eks/latest/userguide/fargate-profile.html"""
ISOLATED_PROFILE = "isolated"
"""The template's profile of pods without a network, whose subnets have no way out."""

LEFT_OUT = 100
"""Processes that a selector leaves out at most; more would make too long a request line (up to 66 bytes each)."""

NAME_LIMIT = 63
"""Characters of a label's value, and of a pod's name that is its host name too (RFC 1123)."""


def label_value(text: str) -> str:
    """``text`` as a label's value: itself where that is allowed, otherwise cut and told apart by a digest."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")
    return limited(safe, text, always=safe != text)


def dns_label(text: str, identity: str) -> str:
    """A name for an object that reads like ``text``, the same for the same ``identity`` and different for another."""
    return limited(re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x", identity, always=True)


def stack_labels(stack: str) -> dict[str, str]:
    """What everything carries that a stack's own processes make in its cluster."""
    return {MANAGED_BY_LABEL: MANAGED_BY, STACK_LABEL: label_value(stack)}


def stack_selector(stack: str) -> str:
    """Selects by :func:`stack_labels`."""
    return ",".join(f"{key}={value}" for key, value in stack_labels(stack).items())


def pods_selector(stack: str, *, but_of: Sequence[str] = ()) -> str:
    """Selects a stack's trials' pods but for those of some processes, or of the first of them if they are many."""
    terms = [stack_selector(stack), WORKER_LABEL]
    if but_of:
        terms.append(f"{WORKER_LABEL} notin ({','.join(but_of[:LEFT_OUT])})")
    return ",".join(terms)


def limited(text: str, identity: str, *, always: bool) -> str:
    """``text`` if it is short enough, otherwise (or ``always``) cut and with a digest of ``identity``."""
    if not always and len(text) <= NAME_LIMIT:
        return text
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    return f"{text[: NAME_LIMIT - len(digest) - 1].rstrip('._-')}-{digest}".lstrip("-")
