"""What a pod has consumed, and what that costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from harbor_aws.infra.capacity_provisioned import parse_capacity
from harbor_aws.producer.cost import cost
from harbor_aws.producer.usage import LONGEST_KNOWN, Consumption, PodUsage, consumption, total

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def pod(
    capacity: str = "1vCPU 3GB",
    *,
    storage_gib: int = 20,
    scheduled: float | None = 40,
    running: float | None = 70,
    ended: float | None = 3600,
) -> PodUsage:
    """A pod as it is recorded; its times are in seconds from its creation."""
    size = parse_capacity(capacity, storage_gib=storage_gib)
    assert size is not None

    def at(seconds: float | None) -> datetime | None:
        return None if seconds is None else START + timedelta(seconds=seconds)

    return PodUsage(
        name="pod",
        role="agent",
        cpu_millis=size.cpu_millis,
        memory_mib=size.memory_mib,
        storage_gib=size.storage_gib,
        is_provisioned=True,
        created_at=START,
        scheduled_at=at(scheduled),
        running_at=at(running),
        ended_at=at(ended),
    )


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        # (vCPU x 0.04048 + GB x 0.004445 + GB beyond 20 x 0.000111) an hour, from AWS's list
        pytest.param(pod(ended=3640), 0.04048 + 3 * 0.004445, id="an hour of 1 vCPU and 3 GB"),
        pytest.param(pod(ended=1840), (0.04048 + 3 * 0.004445) / 2, id="half an hour"),
        pytest.param(pod("0.25vCPU 0.5GB", ended=3640), 0.25 * 0.04048 + 0.5 * 0.004445, id="the smallest"),
        pytest.param(pod("16vCPU 120GB", ended=3640), 16 * 0.04048 + 120 * 0.004445, id="the largest"),
        pytest.param(
            pod(storage_gib=175, ended=3640), 0.04048 + 3 * 0.004445 + 155 * 0.000111, id="with the largest storage"
        ),
        pytest.param(pod(ended=50), (0.04048 + 3 * 0.004445) / 60, id="ten seconds are billed as a minute"),
        pytest.param(pod(ended=101), (0.04048 + 3 * 0.004445) * 61 / 3600, id="then by the second"),
        pytest.param(pod(scheduled=None, ended=670), (0.04048 + 3 * 0.004445) / 6, id="nobody saw it get its node"),
        pytest.param(pod(scheduled=None, running=None, ended=600), 0.0, id="it never had a node"),
        pytest.param(pod(ended=20), (0.04048 + 3 * 0.004445) / 60, id="two clocks that differ"),
    ],
)
def test_the_bill_of_a_pod(usage: PodUsage, usd: float) -> None:
    """From what it was billed at and its times, to the dollar."""
    bill = cost([consumption(usage, now=START + timedelta(days=7))])
    assert bill.usd == pytest.approx(usd, rel=1e-9)
    assert bill.pods == (1 if usd else 0)


@pytest.mark.parametrize(("age_hours", "billed_hours"), [(1, 1.0), (12, 12.0), (500, 12.0)])
def test_a_pod_without_an_end(age_hours: float, billed_hours: float) -> None:
    """It is counted until now, but for no longer than a pod may live."""
    now = START + timedelta(seconds=40, hours=age_hours)
    assert timedelta(hours=12) == LONGEST_KNOWN
    assert consumption(pod(ended=None), now=now).vcpu_hours == pytest.approx(billed_hours)


def test_a_trial_of_several_pods() -> None:
    """Two attempts and a verifier's pod add up, and one trial whose record does not say is named."""
    hour = Consumption(pods=1, vcpu_hours=1, memory_gb_hours=3, storage_gb_hours=10)
    told = cost([total([hour, hour]), hour, None])
    assert (told.pods, told.vcpu_hours, told.memory_gb_hours, told.storage_gb_hours) == (3, 3, 9, 30)
    assert told.usd == pytest.approx(3 * (0.04048 + 3 * 0.004445 + 10 * 0.000111))
    assert told.trials_not_counted == 1


@pytest.mark.parametrize("value", ["-1", "NaN", "Infinity", "1e999"])
def test_no_such_consumption(value: str) -> None:
    """A message may not say what would make every sum senseless."""
    with pytest.raises(ValidationError):
        Consumption.model_validate_json(f'{{"vcpu_hours": {value}}}')
