"""Options to parameters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harbor_aws.infra.deploy.parameters import StackOptions, check_name
from harbor_aws.infra.deploy.parameters import parameters as parameters_of
from harbor_aws.infra.deploy.zones import first_two
from harbor_aws.infra.errors import UsageError

ZONES = {"ZoneA": "eu-west-1a", "ZoneB": "eu-west-1c"}


def parameters(
    options: StackOptions,
    *,
    previous: dict[str, str],
    is_emulated: bool = False,
    caller: str = "arn:aws:iam::1:user/me",
) -> dict[str, str]:
    return parameters_of(
        options,
        previous=previous,
        zones=lambda: ("new-a", "new-b"),
        caller=lambda: caller,
        s3_prefix_list=lambda: "pl-5",
        is_emulated=is_emulated,
    )


def test_what_is_not_said_stays() -> None:
    """Of what the stack has; but a parameter that the template no longer has goes."""
    previous = {"PublicAccessCidrs": "10.0.0.0/8", "MaxVcpus": "64", "AlertEmail": "a@b.c", "Old": "1"}
    values = parameters(StackOptions(max_vcpus=128, launches_per_second=50), previous={**previous, **ZONES})
    assert values == {
        "PublicAccessCidrs": "10.0.0.0/8", "MaxVcpus": "128", "LaunchesPerSecond": "50", "AlertEmail": "a@b.c",
        "Emulated": "false", **ZONES,
    }  # fmt: skip


def test_a_new_stack_gets_zones() -> None:
    """Two that were chosen for it."""
    values = parameters(StackOptions(allow_cidrs=("0.0.0.0/0",)), previous={})
    assert (values["ZoneA"], values["ZoneB"]) == ("new-a", "new-b")


def test_what_is_emptied_is_empty() -> None:
    """No budget, no address and no cache any more."""
    previous = {
        "PublicAccessCidrs": "x",
        "AlertEmail": "a@b.c",
        "BudgetUsdPerMonth": "100.00",
        "DockerHubSecretArn": "x",
    }
    options = StackOptions(alert_email="", budget_usd_per_month=0, docker_hub_secret_arn="")
    values = parameters(options, previous=previous, is_emulated=True)
    assert (values["AlertEmail"], values["BudgetUsdPerMonth"], values["DockerHubSecretArn"]) == ("", "", "")
    assert values["Emulated"] == "true"


def test_another_administrator() -> None:
    """One that is said, and none any more."""
    asked = "arn:aws:iam::123456789012:role/path/team"
    options = StackOptions(allow_cidrs=("0.0.0.0/0",), admin_arn=asked)
    values = parameters(options, previous={})
    assert values["AdminArn"] == asked
    assert parameters(StackOptions(admin_arn=""), previous=values)["AdminArn"] == ""


@pytest.mark.parametrize(
    ("admin", "caller", "is_same"),
    [
        ("user/me", "arn:aws:iam::123456789012:user/me", True),
        ("user/me", "arn:aws:iam::123456789012:user/you", False),
        ("role/path/team", "arn:aws:sts::123456789012:assumed-role/team/my-session", True),
        ("role/team", "arn:aws:sts::123456789012:assumed-role/team-b/team", False),
        ("role/team", "arn:aws:sts::999999999999:assumed-role/team/my-session", False),
        ("user/team", "arn:aws:sts::123456789012:assumed-role/team/my-session", False),
    ],
)
def test_who_deploys_is_no_other_administrator(admin: str, caller: str, *, is_same: bool) -> None:
    """EKS refuses a second entry for them, when all else has been made; later it is just what it was."""
    arn = f"arn:aws:iam::123456789012:{admin}"
    options = StackOptions(allow_cidrs=("0.0.0.0/0",), admin_arn=arn)
    assert parameters(options, previous={"Emulated": "false", **ZONES}, caller=caller)["AdminArn"] == arn
    if not is_same:
        assert parameters(options, previous={}, caller=caller)["AdminArn"] == arn
        return
    with pytest.raises(UsageError, match="--admin is for somebody else"):
        parameters(options, previous={}, caller=caller)


def test_cidrs_are_normal() -> None:
    """As many as are said, one parameter."""
    options = StackOptions(allow_cidrs=("203.0.113.7", "10.0.0.0/8"))
    assert parameters(options, previous={})["PublicAccessCidrs"] == "203.0.113.7/32,10.0.0.0/8"


@pytest.mark.parametrize(
    ("options", "previous", "words"),
    [
        (StackOptions(), {}, "Say who may reach the cluster's API"),
        (StackOptions(allow_cidrs=("me",)), {}, "not 'me'"),
        (StackOptions(allow_cidrs=("10.1.2.3/8",)), {}, "has host bits set"),
        (StackOptions(allow_cidrs=("::/0",)), {}, "IPv4"),
        (StackOptions(allow_cidrs=("0.0.0.0/0",), budget_usd_per_month=5), {}, "--alert-email"),
        (StackOptions(admin_arn="arn:aws:sts::123456789012:assumed-role/team/me"), {}, "take the role's own"),
        (StackOptions(alert_email=""), {"PublicAccessCidrs": "x", "BudgetUsdPerMonth": "5.00"}, "--alert-email"),
    ],
)
def test_what_makes_no_sense(options: StackOptions, previous: dict[str, str], words: str) -> None:
    """Each is an error that says what to say instead."""
    with pytest.raises(UsageError, match=words.replace("'", ".")):
        parameters(options, previous=previous)


@pytest.mark.parametrize("name", ["harbor-aws", "a", "team2", "a" * 24])
def test_names(name: str) -> None:
    """What queues, clusters, repositories and policies all take."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "local", "Team", "2team", "a--b", "a-", "a_b", "a" * 25, "a/b"])
def test_refused_names(name: str) -> None:
    """What one of them would not take, and names that mean something else."""
    with pytest.raises(UsageError):
        check_name(name)


def zones_at(*ids: str) -> Any:
    """EC2 in a region with zones of these ids, whose names are in the other order."""
    zones = [{"ZoneName": f"zone-{9 - number}", "ZoneId": each} for number, each in enumerate(ids)]
    return SimpleNamespace(describe_availability_zones=lambda **_: {"AvailabilityZones": zones})


def test_zones_that_eks_is_in() -> None:
    """The first two by name, but for those without EKS, whatever they are called in this account."""
    assert first_two(zones_at("use1-az1", "use1-az2", "use1-az4", "use1-az3"), region="x") == ("zone-7", "zone-8")
    with pytest.raises(UsageError, match="take another --region"):
        first_two(zones_at("usw1-az1", "usw1-az2"), region="us-west-1")
