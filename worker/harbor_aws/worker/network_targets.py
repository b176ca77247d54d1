"""What a pod without a network must not reach. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Isolation

PUBLIC = (("1.1.1.1", 443), ("8.8.8.8", 53), ("9.9.9.9", 443), ("2606:4700:4700::1111", 443))
"""Resolvers of Cloudflare, Google and Quad9, which answer at both ports, from near everywhere, for years.
https://developers.cloudflare.com/1.1.1.1/ip-addresses/
https://developers.google.com/speed/public-dns/docs/using
https://quad9.net/service/service-addresses-and-features/"""

METADATA = ("169.254.169.254", 80)
"""Of every cloud's machines: who reaches it may have the node's credentials."""

PUBLIC_NAME = "example.com"
"""Reserved, and always there. https://www.iana.org/help/example-domains"""


@dataclass(frozen=True, slots=True)
class NetworkTargets:
    """Where to try to get."""

    places: tuple[tuple[str, int], ...]
    """Addresses or names, and TCP ports."""
    name: str
    """What must not be resolved."""


def network_targets(isolation: Isolation, *, api: str) -> NetworkTargets:
    """What must not be reached from a pod that is isolated so.

    Args:
        api: URL of the cluster's API server. On Fargate a pod's interface is its kubelet's too, which must reach it.
    """
    places = [*PUBLIC, METADATA]
    if isolation != "security-group":
        parts = urlsplit(api)
        places.append((parts.hostname or "localhost", parts.port or (80 if parts.scheme == "http" else 443)))
    return NetworkTargets(places=tuple(places), name=PUBLIC_NAME)
