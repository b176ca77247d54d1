"""How much of an account a run may have, and who says so."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
from tests.integration.moto_account import use_account
from tests.integration.moto_stack import REGION
from tests.integration.test_account import DEFAULT, OWN, REFUSED, UNKNOWN, quotas
from tests.unit.producer.estimate.estimate_fakes import planned

from harbor_aws.infra.capacity import Limit, TrialDemand, simulate
from harbor_aws.infra.deploy.stacks import StackDescription
from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.estimate.bill import bill
from harbor_aws.producer.estimate.room import room_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harbor_aws.infra.aws import Account

HAS_4000 = {OWN: (200, {"Quota": {"Value": 4000.0}})}
LOCAL = Stack(name="local", region=REGION, queue_url="", dead_letter_queue_url="", bucket="")
DEPLOYED = LOCAL.model_copy(update={"name": "team", "cluster_name": "team"})


class Deployed:
    """CloudFormation, with one stack whose outputs are these."""

    def __init__(self, outputs: Mapping[str, str] | None) -> None:
        self._outputs = outputs

    def of(self, account: Account) -> Deployed:
        return self

    def describe(self, name: str) -> StackDescription:
        if self._outputs is None:
            raise PermanentError("AccessDenied")
        return StackDescription(
            id="",
            name=name,
            status="CREATE_COMPLETE",
            status_reason=None,
            parameters={},
            outputs=self._outputs,
            tags={},
        )


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "HARBOR_AWS_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")


def test_an_account_is_asked_before_there_is_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the region of AWS's own configuration."""
    with quotas(HAS_4000) as (url, _):
        use_account(monkeypatch, url)
        room = room_of(None, max_vcpus=None, concurrency=None)
    assert (room.limits.account_vcpus, room.vcpus) == (4000, 256)
    assert room.source == f"the account's quota, 4000 vCPUs in {REGION}"


@pytest.mark.parametrize(("outputs", "vcpus"), [({"MaxVcpus": "900"}, 900), ({}, 256), (None, 256)])
def test_a_stack_lets_less(monkeypatch: pytest.MonkeyPatch, outputs: Mapping[str, str] | None, vcpus: float) -> None:
    """What it was deployed with; if that cannot be learnt, what one is deployed with by default."""
    monkeypatch.setattr("harbor_aws.producer.estimate.room.Stacks", Deployed(outputs))
    with quotas(HAS_4000) as (url, _):
        use_account(monkeypatch, url)
        assert room_of(DEPLOYED, max_vcpus=None, concurrency=None).vcpus == vcpus


@pytest.mark.parametrize("stack", [LOCAL, None])
def test_where_nobody_can_be_asked_it_is_a_new_account(monkeypatch: pytest.MonkeyPatch, stack: Stack | None) -> None:
    """A local stack is no account's; whoever may not ask knows of none. It is said, and what to do."""
    with quotas({OWN: REFUSED, DEFAULT: UNKNOWN}) as (url, asked):
        use_account(monkeypatch, url)
        room = room_of(stack, max_vcpus=None, concurrency=None)
    assert room.vcpus == 6
    assert "what AWS gives a new account" in room.source
    assert "--max-vcpus" in room.source
    assert bool(asked) == (stack is None)


def test_what_the_user_says_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """vCPUs of trials alone, and slots for as many trials as are to run at once."""
    with quotas({}) as (url, asked):
        use_account(monkeypatch, url)
        room = room_of(None, max_vcpus=500, concurrency=100)
    assert (room.limits.account_vcpus, room.limits.max_vcpus, asked) == (inf, 500, [])
    assert (room.limits.workers, room.limits.slots_per_worker) == (4, 25)


def test_as_many_at_once_as_were_said() -> None:
    """Workers that all have the same slots have one more together."""
    limits = room_of(None, max_vcpus=500, concurrency=33).limits
    run = simulate([TrialDemand(cpu_millis=1000, seconds=600)] * 200, limits)
    assert (limits.workers, run.peak_pods) == (2, 33)
    trials = [planned(f"t{number}") for number in range(200)]
    assert bill(trials, None, limits=limits).limited_by is Limit.SLOTS


def test_without_credentials_it_is_a_new_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As with a profile that does not exist: neither is needed to know a price."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_REGION", REGION)
    assert room_of(DEPLOYED, max_vcpus=None, concurrency=None).is_assumed
    assert room_of(None, max_vcpus=None, concurrency=None).is_assumed
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert room_of(None, max_vcpus=None, concurrency=None).is_assumed
