"""What the model takes for granted."""

from __future__ import annotations

import re
import time
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from tests.unit.infra.capacity.boundless import lasting

from harbor_aws.infra.capacity import Limits, simulate
from harbor_aws.infra.capacity.assumption import assumptions

if TYPE_CHECKING:
    from harbor_aws.infra.capacity.assumption import Assumption

ROOT = Path(__file__).parents[4]


def test_every_number_has_a_meaning_a_unit_and_a_source() -> None:
    """Each says what it is, and names an address and a day, a file of ours that is there, or that nobody says it."""
    for each in assumptions(Limits):
        assert each.meaning, each
        assert each.unit, each
        assert _is_source(each), each


def _is_source(each: Assumption) -> bool:
    if each.source.startswith("https://"):
        return bool(re.fullmatch(r"20\d\d-\d\d-\d\d", each.read_on or ""))
    return (
        each.source.startswith(("guessed", "measured", "counted")) or (ROOT / "infra/harbor_aws" / each.source).exists()
    )


def test_addresses_are_those_of_the_template() -> None:
    """The private subnets' sizes, without the five addresses of each that are AWS's."""
    template = (ROOT / "infra/harbor_aws/infra/deploy/template.yaml").read_text()
    subnets = re.findall(r"PrivateSubnet[AB]:\n    Type: AWS::EC2::Subnet\n(?:.*\n){2,3}? +CidrBlock: (\S+)", template)
    assert len(subnets) == 2
    assert sum(ip_network(block).num_addresses - 5 for block in subnets) == Limits().addresses


def test_a_new_account_runs_four_default_trials() -> None:
    """Of six vCPUs the cluster's own pods and a worker take two."""
    assert simulate(lasting(*[600] * 40), Limits()).peak_pods == 4


def test_it_is_quick() -> None:
    """10,000 trials are simulated within a command's patience."""
    began = time.monotonic()
    simulate(lasting(*[600] * 10_000), Limits(account_vcpus=1000, max_vcpus=1000))
    assert time.monotonic() - began < 10
