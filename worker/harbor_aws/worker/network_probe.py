"""Confirms, in a pod that is to have no network, that it has none, before anything of the task's runs there.

The image's own programs are asked, so an image that is made to lie is believed: the probe finds an isolation that is
missing or broken, not a hostile image, whose way out is barred from outside of the pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.errors import PermanentError, PodStartError
from harbor_aws.worker.network_report import described, objections, parse_report
from harbor_aws.worker.network_script import TRY_SECONDS, network_script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from harbor_aws.worker.network_targets import NetworkTargets

PROBE_SECONDS = 60
"""Within which the probe must end. It takes some six seconds, or none where there is no interface to try."""

PROBES = 2
"""How often it is tried in a pod while it is not clear what came of it: one may be slow to start its first programs."""


class NetworkNotIsolatedError(PermanentError):
    """A pod that is to have no network has one, or its image has nothing to confirm by that it has none."""


class NetworkUnclearError(PodStartError):
    """It is not confirmed that a pod has no network, though nothing answered: it was too slow to try. Another may."""

    def __init__(self, message: str, *, pod: str) -> None:
        super().__init__(message, pod=pod, reason="NetworkUnclear")


async def confirm_no_network(
    run: Callable[[str], Awaitable[str]], *, pod: str, targets: NetworkTargets, try_seconds: int = TRY_SECONDS
) -> None:
    """Try to get out of a pod, and to resolve a name.

    Args:
        run: runs a script by a shell in the pod, within :data:`PROBE_SECONDS`; what it printed to stdout.

    Raises:
        NetworkNotIsolatedError: something answered, or nobody can try; the text says which.
        NetworkUnclearError: it is not confirmed that nothing gets out, nor seen that anything does.
    """
    script = network_script(targets.places, name=targets.name, try_seconds=try_seconds)
    reasons: list[str] = []
    for _ in range(PROBES):
        report = parse_report(await run(script))
        reasons = objections(report, targets)
        if not reasons:
            return
        if report.is_final:
            raise NetworkNotIsolatedError(_refusal(pod, reasons))
    raise NetworkUnclearError(_refusal(pod, reasons), pod=pod)


def _refusal(pod: str, reasons: Sequence[str]) -> str:
    return (
        f"The task asks for no network, and it is not confirmed that pod {pod} has none: {described(reasons)}. "
        "Nothing of the task was run. See docs/operations.md, Tasks without a network."
    )
