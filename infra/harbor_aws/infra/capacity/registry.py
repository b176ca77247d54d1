"""How a pod's image comes: what registries and links let through. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.capacity.gates import Link, Rate, Window
from harbor_aws.infra.capacity.limit import Limit

if TYPE_CHECKING:
    from harbor_aws.infra.capacity.limits import Limits

HUB_WINDOW_SECONDS = 6 * 3600.0
"""Of Docker Hub's limits. https://docs.docker.com/docker-hub/usage/ (read on 2026-11-23)"""


class Registry:
    """The images of all pods, in the order in which their nodes begin to start."""

    def __init__(self, limits: Limits) -> None:
        self._each_mib_per_second = limits.pull_mib_per_second
        self._ecr = Rate(limits.ecr_layer_urls_per_second / limits.layers_per_image)
        self._hub = Window(limits.hub_pulls_in_six_hours, seconds=HUB_WINDOW_SECONDS)
        self._nat = Link(limits.nat_mib_per_second)

    def pulled(self, at: float, image_mib: float) -> tuple[float, list[tuple[Limit, float, float]]]:
        """When an image that is wanted at this time is there, and what made it later, from when until when."""
        asked = self._ecr.passed(at)
        let = self._hub.passed(asked)
        alone = let + image_mib / self._each_mib_per_second
        there = max(alone, self._nat.carried(let, image_mib))
        delays = [(Limit.ECR, at, asked), (Limit.DOCKER_HUB, asked, let), (Limit.NAT, alone, there)]
        return there, [delay for delay in delays if delay[2] > delay[1]]
