"""Network interfaces that outlive their pods, on moto's EC2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.moto_account import moto_account, use_account
from tests.integration.moto_stack import REGION
from tests.unit.infra.deploy.watching import Memory

from harbor_aws.infra.aws import Account, ec2_client
from harbor_aws.infra.deploy import interfaces
from harbor_aws.infra.deploy.interfaces import Interfaces, in_group, in_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_ec2 import EC2Client

ACCOUNT = Account(REGION)


class Network:
    """A VPC with a subnet and a security group."""

    def __init__(self, client: EC2Client) -> None:
        self.client = client
        self.vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self._subnet = client.create_subnet(VpcId=self.vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        self.group = client.create_security_group(GroupName="trials", Description="Pods", VpcId=self.vpc)["GroupId"]

    def interface(self) -> str:
        """One that nothing is attached to."""
        made = self.client.create_network_interface(SubnetId=self._subnet, Groups=[self.group])
        return made["NetworkInterface"]["NetworkInterfaceId"]

    def attached(self) -> tuple[str, str]:
        """One that a machine has, and the id of its attachment. The machine's own is in no group of this one's."""
        interface = self.interface()
        machine = self.client.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]
        attachment = self.client.attach_network_interface(
            NetworkInterfaceId=interface, InstanceId=machine["InstanceId"], DeviceIndex=1
        )
        return interface, attachment["AttachmentId"]

    def has(self, interface: str) -> bool:
        found = self.client.describe_network_interfaces()["NetworkInterfaces"]
        return interface in {row["NetworkInterfaceId"] for row in found}


class Hasty(Memory):
    """Does something at the second look."""

    def __init__(self, then: Callable[[], Any]) -> None:
        super().__init__()
        self._then = then

    def waits(self, what: str) -> None:
        super().waits(what)
        if len(self.waited) == 2:
            self._then()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.setattr(interfaces, "LOOK_SECONDS", 0.01)
    with moto_account() as url:
        use_account(monkeypatch, url)
        yield Network(ec2_client(ACCOUNT))


def test_those_that_are_used_are_waited_for(network: Network) -> None:
    """Nothing is done to one while a machine has it, and it is named; once it is let go of, it goes."""
    interface, attachment = network.attached()
    watcher = Hasty(lambda: network.client.detach_network_interface(AttachmentId=attachment))
    assert Interfaces.of(ACCOUNT).wait_until_gone(in_group(network.group), watcher=watcher)
    assert not network.has(interface)
    assert watcher.waited[1] == f"1 network interfaces of the trials' pods are not gone: {interface}"


def test_those_that_nobody_uses_are_deleted(network: Network) -> None:
    """An orphan goes, and what is in other networks stays."""
    orphan, kept = network.interface(), Network(network.client).interface()
    assert Interfaces.of(ACCOUNT).wait_until_gone(in_network(network.vpc), watcher=Memory())
    assert (network.has(orphan), network.has(kept)) == (False, True)


def test_patience_ends(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not go is not waited for for ever, and is not taken from who has it."""
    monkeypatch.setattr(interfaces, "PATIENCE_SECONDS", 0.2)
    interface, _ = network.attached()
    assert not Interfaces.of(ACCOUNT).wait_until_gone(in_network(network.vpc), watcher=Memory())
    assert network.has(interface)
