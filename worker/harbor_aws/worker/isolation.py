"""What an environment may say of networks: whether its stack enforces ``no-network``, and what it cannot change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor.models.task.config import NetworkMode, NetworkPolicy

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import load_stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.stack import Isolation
    from harbor_aws.worker.attempt import Attempt


def isolation_for(attempt: Attempt | None, arguments: Mapping[str, Any]) -> Isolation:
    """What enforces that an environment has no network. One that is public needs nothing, and asks for no stack.

    Args:
        arguments: what Harbor makes the environment with.

    Raises:
        PermanentError: not all of what it is used for wants the same network.
        UsageError: there is no stack.
    """
    policy = arguments.get("network_policy") or NetworkPolicy()
    phases = [phase for phase in arguments.get("phase_network_policies") or () if phase != policy]
    if phases:
        raise PermanentError(
            f"The environment is to be {policy.network_mode.value} and, for a while, {phases[0].network_mode.value}: "
            "a pod's network cannot be changed while it runs."
        )
    if policy.network_mode == NetworkMode.PUBLIC:
        return "none"
    return (attempt.stack if attempt else load_stack(Settings().stack)).isolation
