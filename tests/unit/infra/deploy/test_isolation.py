"""``deploy --isolation``: what a pod without a network can reach, by the template and by the manifests."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.infra.deploy.test_manifests import MORE
from tests.unit.infra.deploy.test_parameters import ZONES, parameters
from tests.unit.infra.deploy.test_template import of_type, parsed

from harbor_aws.infra.deploy.manifests.limits import limits
from harbor_aws.infra.deploy.manifests.plan import plan_from_outputs
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.parameters import StackOptions
from harbor_aws.infra.deploy.prices import idle_costs, total
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.local.kubernetes.objects.selectors import match_labels
from harbor_aws.worker.pod_spec import PodOwner, PodRequest, pod_manifest

ISOLATING = {**MORE, "IsolatedSecurityGroupId": "sg-2"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return parsed(template_body(has_budget=True))


def pod(*, has_network: bool) -> dict[str, Any]:
    owner = PodOwner(job="j", trial="t", attempt_id="01-a", worker="w", session="t__env", stack="team")
    size = FargateSize(250, 512)
    return pod_manifest(PodRequest(owner=owner, image="i", size=size, deadline_seconds=9, has_network=has_network))


def policies(outputs: dict[str, str]) -> list[dict[str, Any]]:
    plan = plan_from_outputs(stack_from_outputs("team", region="eu-west-1", outputs=outputs), outputs)
    return [each["spec"] for each in limits(plan) if each["kind"] == "SecurityGroupPolicy"]


def groups_of(labels: dict[str, str], outputs: dict[str, str]) -> list[str]:
    """The security groups that a pod with these labels is put into."""
    return [
        group
        for policy in policies(outputs)
        if match_labels(policy["podSelector"])(labels)
        for group in policy["securityGroups"]["groupIds"]
    ]


@pytest.mark.parametrize(
    ("labels", "group"),
    [
        (pod(has_network=False)["metadata"]["labels"], "sg-2"),
        (pod(has_network=True)["metadata"]["labels"], "sg-1"),
        ({}, "sg-1"),
        ({"harbor-aws/network": "else"}, "sg-1"),
    ],
)
def test_every_pod_is_in_one_group(labels: dict[str, str], group: str) -> None:
    """With two it could reach what either allows; in none it would be in the cluster's own."""
    assert groups_of(labels, ISOLATING) == [group]
    assert groups_of(labels, MORE) == ["sg-1"]


def test_the_stack_says_what_it_enforces() -> None:
    """By its outputs, so that neither enqueue nor a worker claims more."""
    said = [stack_from_outputs("team", region="eu-west-1", outputs=each).isolation for each in (MORE, ISOLATING)]
    assert said == ["none", "security-group"]


def test_a_pod_without_a_network_takes_the_isolated_subnets(template: dict[str, Any]) -> None:
    """It names their profile and has the label by which that selects; other pods are not selected by it."""
    profile = template["Resources"]["IsolatedProfile"]["Properties"]
    isolated, other = (pod(has_network=each)["metadata"]["labels"] for each in (False, True))
    assert isolated["eks.amazonaws.com/fargate-profile"] == profile["FargateProfileName"]
    (selector,) = profile["Selectors"]
    wanted = {each["Key"]: each["Value"] for each in selector["Labels"]}
    assert wanted.items() <= isolated.items()
    assert not wanted.items() & other.items()
    assert "eks.amazonaws.com/fargate-profile" not in other


def test_no_name_server(template: dict[str, Any]) -> None:
    """Such a pod asks nobody, and its group would not let it ask CoreDNS."""
    spec = pod(has_network=False)["spec"]
    assert (spec["dnsPolicy"], spec["dnsConfig"]["nameservers"]) == ("None", ["127.0.0.1"])
    assert "dnsPolicy" not in pod(has_network=True)["spec"]


def test_isolated_subnets_have_no_way_out(template: dict[str, Any]) -> None:
    """Their routes are the VPC's own, and an endpoint's, through which only ECR's layers come."""
    resources = template["Resources"]
    for subnet in resources["IsolatedProfile"]["Properties"]["Subnets"]:
        (routes,) = [
            one["Properties"]["RouteTableId"]["Ref"]
            for one in of_type(template, "AWS::EC2::SubnetRouteTableAssociation").values()
            if one["Properties"]["SubnetId"] == subnet
        ]
        tables = [one["Properties"]["RouteTableId"]["Ref"] for one in of_type(template, "AWS::EC2::Route").values()]
        assert routes not in tables
        (endpoint,) = [
            one["Properties"]
            for one in of_type(template, "AWS::EC2::VPCEndpoint").values()
            if {"Ref": routes} in one["Properties"].get("RouteTableIds", [])
        ]
        (statement,) = endpoint["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Allow", "s3:GetObject")
        assert statement["Resource"]["Fn::Sub"].endswith(":s3:::prod-${AWS::Region}-starport-layer-bucket/*")


def test_the_isolated_group(template: dict[str, Any]) -> None:
    """Out: the API, the endpoints of ECR and S3's layers, by TLS alone, and no range of addresses. In: exec."""
    properties = template["Resources"]["IsolatedSecurityGroup"]["Properties"]
    egress = properties["SecurityGroupEgress"]
    assert {(each["IpProtocol"], each["FromPort"], each["ToPort"]) for each in egress} == {("tcp", 443, 443)}
    to = [next(value for key, value in each.items() if key.startswith(("Destination", "Cidr"))) for each in egress]
    assert to == [
        {"Fn::GetAtt": ["Cluster", "ClusterSecurityGroupId"]},
        {"Fn::GetAtt": ["EcrSecurityGroup", "GroupId"]},
        {"Ref": "S3PrefixList"},
    ]
    assert "SecurityGroupIngress" not in properties
    (ingress,) = [
        one["Properties"]
        for one in of_type(template, "AWS::EC2::SecurityGroupIngress").values()
        if one["Properties"]["GroupId"] == {"Ref": "IsolatedSecurityGroup"}
    ]
    assert (ingress["FromPort"], ingress["ToPort"]) == (10250, 10250)


def test_ecrs_endpoints_serve_this_account_alone(template: dict[str, Any]) -> None:
    """With another account's credentials nothing passes, and with this one's nothing is pushed."""
    for name in ("EcrApiEndpoint", "EcrDkrEndpoint"):
        for statement in template["Resources"][name]["Properties"]["PolicyDocument"]["Statement"]:
            own = {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}
            assert (statement["Effect"], statement["Condition"]) == ("Allow", own)
            assert not {"ecr:PutImage", "ecr:InitiateLayerUpload"} & set(statement["Action"])


def test_without_isolation_nothing_of_it_is_made(template: dict[str, Any]) -> None:
    """All that is there for it is under its condition, and the condition is false on an emulator."""
    names = {name for name in template["Resources"] if "Isolated" in name or name.startswith("Ecr")}
    assert len(names) >= 12
    assert {template["Resources"][name]["Condition"] for name in names} == {"Isolated"}
    assert template["Parameters"]["Isolation"]["Default"] == "false"
    assert {"Condition": "OnAws"} in template["Conditions"]["Isolated"]["Fn::And"]


def test_the_prefix_list_is_asked_for_once() -> None:
    """Only for a stack that isolates, has none yet and is on AWS; it stays when isolation is given up."""
    asked = StackOptions(allow_cidrs=("0.0.0.0/0",), isolation=True)
    values = parameters(asked, previous={})
    assert (values["Isolation"], values["S3PrefixList"]) == ("true", "pl-5")
    kept = parameters(StackOptions(max_vcpus=9), previous={**values, "S3PrefixList": "pl-7"})
    assert (kept["Isolation"], kept["S3PrefixList"]) == ("true", "pl-7")
    assert parameters(StackOptions(isolation=False), previous=values)["Isolation"] == "false"
    assert "S3PrefixList" not in parameters(asked, previous={}, is_emulated=True)
    assert "S3PrefixList" not in parameters(StackOptions(), previous={"PublicAccessCidrs": "0.0.0.0/0", **ZONES})


def test_what_it_costs() -> None:
    """By hand: two endpoints in one zone, 730 hours at $0.01."""
    assert total(idle_costs(is_isolating=True)) - total(idle_costs()) == pytest.approx(14.6)
