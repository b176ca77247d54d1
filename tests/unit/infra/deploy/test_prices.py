"""The bill before."""

from __future__ import annotations

import pytest

from harbor_aws.infra.deploy.prices import (
    costs_per_thousand_trial_hours,
    idle_costs,
    total,
)


def test_an_idle_month() -> None:
    """By hand: 73.00 + 32.85 + 3.65 + 18.02 + 21.26 + 0.30 + 3.00."""
    assert total(idle_costs()) == pytest.approx(152.18, abs=0.01)


def test_a_thousand_trial_hours() -> None:
    """By hand: 1 vCPU and 3 GB are 0.053815 an hour; a worker of the same size has 32 trials."""
    trials, workers = costs_per_thousand_trial_hours()
    assert [trials.usd, workers.usd] == pytest.approx([53.815, 53.815 / 32])
