"""What a job has cost so far, from what its trials' records say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.fargate_prices import usd
from harbor_aws.producer.usage import total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harbor_aws.producer.usage import Consumption


class Cost(BaseModel):
    """What pods have cost at list prices, and what they have consumed; see :mod:`~harbor_aws.infra.fargate_prices`."""

    model_config = ConfigDict(frozen=True)

    usd: float
    vcpu_hours: float
    memory_gb_hours: float
    storage_gb_hours: float
    """Of storage beyond what every pod has for nothing."""
    pods: int
    trials_not_counted: int
    """Trials whose records do not say what they have consumed: an older version wrote them."""


def cost(trials: Iterable[Consumption | None]) -> Cost:
    """The cost of trials, each given as what it has consumed; ``None`` where that is not known."""
    told = list(trials)
    known = [consumption for consumption in told if consumption is not None]
    whole = total(known)
    return Cost(
        usd=usd(
            vcpu_hours=whole.vcpu_hours,
            memory_gb_hours=whole.memory_gb_hours,
            storage_gb_hours=whole.storage_gb_hours,
        ),
        **whole.model_dump(),
        trials_not_counted=len(told) - len(known),
    )
