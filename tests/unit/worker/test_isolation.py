"""What an environment claims of networks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from harbor.models.task.config import NetworkMode, NetworkPolicy

from harbor_aws.infra.errors import PermanentError
from harbor_aws.worker.isolation import isolation_for

if TYPE_CHECKING:
    from harbor_aws.worker.attempt import Attempt

NONE = NetworkPolicy(network_mode=NetworkMode.NO_NETWORK)
PUBLIC = NetworkPolicy()


def attempt(isolation: str) -> Attempt:
    """One of which nothing but its stack is looked at."""
    return cast("Attempt", SimpleNamespace(stack=SimpleNamespace(isolation=isolation)))


@pytest.mark.parametrize(
    ("arguments", "claimed"),
    [
        ({}, "none"),
        ({"network_policy": None, "phase_network_policies": None}, "none"),
        ({"network_policy": PUBLIC, "phase_network_policies": [PUBLIC, PUBLIC]}, "none"),
        ({"network_policy": NONE}, "namespace"),
        ({"network_policy": NONE, "phase_network_policies": [NONE]}, "namespace"),
    ],
)
def test_claimed_where_it_is_enforced_and_wanted(arguments: dict[str, Any], claimed: str) -> None:
    """What the stack enforces, for those that want it; nothing on a stack that enforces nothing."""
    assert isolation_for(attempt("namespace"), arguments) == claimed
    assert isolation_for(attempt("none"), arguments) == "none"


def test_a_public_environment_asks_for_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Harbor itself makes one for every trial, and on AWS a stack is a request."""
    monkeypatch.setenv("HARBOR_AWS_STACK", "there-is-none")
    assert isolation_for(None, {"network_policy": PUBLIC}) == "none"


@pytest.mark.parametrize(("policy", "phase"), [(NONE, PUBLIC), (PUBLIC, NONE)])
def test_a_pods_network_does_not_change(policy: NetworkPolicy, phase: NetworkPolicy) -> None:
    """Neither opened for a while nor closed."""
    with pytest.raises(PermanentError, match="cannot be changed while it runs"):
        isolation_for(attempt("namespace"), {"network_policy": policy, "phase_network_policies": [policy, phase]})
