"""What is to be known of a place's address before it is tried, and to judge what came of it. Pure."""

from __future__ import annotations

from ipaddress import ip_address


def is_address(host: str) -> bool:
    """Whether it is an address, and no name that is to be resolved."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_near(host: str) -> bool:
    """Whether an address is the link's or the host's own."""
    address = ip_address(host)
    return address.is_link_local or address.is_loopback


def needs_ipv6_route(host: str) -> bool:
    """Whether only a pod from which IPv6 leads somewhere can send anything there."""
    return ":" in host and not is_near(host)
