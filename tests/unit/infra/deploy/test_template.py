"""The template: cfn-lint's opinion, and what it must not lose."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.api import lint
from cfnlint.decode import decode_str

from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.parameters import LONGEST_NAME, PARAMETERS
from harbor_aws.infra.deploy.prices import ALARMS, ISOLATION_ENDPOINTS, optional_costs
from harbor_aws.infra.deploy.stacks import TAG
from harbor_aws.infra.deploy.template import LONGEST_BODY, template_body
from harbor_aws.infra.local.services import MAX_RECEIVES, RETENTION_SECONDS
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

ROOT = Path(__file__).parents[4]
KNOW_NO_RESOURCES = {
    "ecr:GetAuthorizationToken", "servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota",
}  # fmt: skip
"""https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_servicequotas.html"""
REGIONS = ["ca-central-1", "eu-central-1", "eu-west-1", "us-east-1", "us-east-2", "us-west-2"]


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return parsed(template_body(has_budget=True))


def parsed(body: str) -> dict[str, Any]:
    document, errors = decode_str(body)
    assert not errors
    return dict(document or {})


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: one for name, one in template["Resources"].items() if one["Type"] == kind}


def statements(node: Any) -> list[dict[str, Any]]:
    """Every statement of every policy, wherever it is."""
    if isinstance(node, dict):
        found = list(node.get("Statement", [])) if isinstance(node.get("Statement"), list) else []
        return found + [each for value in node.values() for each in statements(value)]
    return [each for value in node for each in statements(value)] if isinstance(node, list) else []


def dependencies(resource: dict[str, Any]) -> list[str]:
    """What it names in DependsOn."""
    named = resource.get("DependsOn", [])
    return [named] if isinstance(named, str) else list(named)


def test_cfn_lint_has_nothing_to_say() -> None:
    """No error and no warning."""
    assert [str(match) for match in lint(template_body(has_budget=True), regions=REGIONS)] == []


def test_it_fits_into_a_request() -> None:
    """So that no bucket is needed first, with a tenth of the room (LONGEST_BODY has its source) left for what comes."""
    assert len(template_body(has_budget=True).encode()) <= 0.9 * LONGEST_BODY


def test_what_is_sent_lacks_comments_alone(template: dict[str, Any]) -> None:
    """Every resource, command and text is as in the file."""
    file = files("harbor_aws.infra.deploy").joinpath("template.yaml").read_text()
    assert parsed(file) == template
    assert not re.search(r"^ *#", template_body(has_budget=True), re.MULTILINE)


def test_a_budget_is_left_out_whole(template: dict[str, Any]) -> None:
    """That alone is missing then, and it deploys where there are no budgets."""
    without = template_body(has_budget=False)
    rest = {name: one for name, one in template["Resources"].items() if name != "Budget"}
    assert parsed(without) == {**template, "Resources": rest}
    assert [str(match) for match in lint(without, regions=["eu-north-1"]) if match.rule.id != "W8001"] == []


def test_its_parameters_are_those_of_the_options(template: dict[str, Any]) -> None:
    """None is forgotten on either side."""
    assert set(template["Parameters"]) == set(PARAMETERS)


def test_every_statement_is_named_and_scoped(template: dict[str, Any]) -> None:
    """Each has a Sid; none allows every action; only actions that know no resources have all."""
    found = statements(template)
    assert len(found) > 20
    for statement in found:
        assert re.fullmatch("[A-Za-z0-9]+", statement["Sid"]), statement
        if statement["Effect"] == "Allow" and "Resource" in statement:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not any("*" in action for action in actions), statement
            assert (statement["Resource"] == "*") == (set(actions) <= KNOW_NO_RESOURCES), statement


def test_only_the_workers_service_account_has_the_workers_role(template: dict[str, Any]) -> None:
    """By name and namespace, as the Deployment has it; every key of the condition is the provider's."""
    text, names = template["Resources"]["WorkerRole"]["Properties"]["AssumeRolePolicyDocument"]["Fn::Sub"]
    assert set(names) == {"Issuer"}
    (statement,) = yaml.safe_load(text)["Statement"]
    namespace = template["Outputs"]["WorkersNamespace"]["Value"]
    assert statement["Condition"] == {
        "StringEquals": {
            "${Issuer}:aud": "sts.amazonaws.com",
            "${Issuer}:sub": f"system:serviceaccount:{namespace}:{WORKER_DEPLOYMENT}",
        }
    }


def test_every_namespace_has_a_profile(template: dict[str, Any]) -> None:
    """A pod in a namespace without one would be Pending for ever."""
    selected = {
        selector["Namespace"]
        for profile in of_type(template, "AWS::EKS::FargateProfile").values()
        for selector in profile["Properties"]["Selectors"]
    }
    namespaces = {one["Value"] for name, one in template["Outputs"].items() if name.endswith("Namespace")}
    assert selected == namespaces | {"kube-system"}


def test_profiles_are_made_one_after_the_other(template: dict[str, Any]) -> None:
    """Fargate refuses two at once; CoreDNS has a profile before it is there."""
    profiles = of_type(template, "AWS::EKS::FargateProfile")
    before = {name: set(dependencies(one)) & set(profiles) for name, one in profiles.items()}
    assert sorted(map(len, before.values())) == [0, *[1] * (len(profiles) - 1)]
    assert len(set().union(*before.values())) == len(profiles) - 1
    assert template["Resources"]["CoreDns"]["DependsOn"] in profiles


def test_profiles_outlive_no_way_of_their_images(template: dict[str, Any]) -> None:
    """The routes and endpoints of a profile's subnets are there before its pods, and deleted after them."""
    resources = template["Resources"]
    assert {"PrivateDefaultRoute", "PrivateRoutesOfA", "PrivateRoutesOfB", "S3Endpoint"} <= set(
        dependencies(resources["SystemProfile"])
    )
    isolated = {name for name, one in resources.items() if one.get("Condition") == "Isolated"}
    ways = {
        name for name in isolated
        if resources[name]["Type"] in {"AWS::EC2::VPCEndpoint", "AWS::EC2::SubnetRouteTableAssociation"}
    }  # fmt: skip
    assert len(ways) == 5
    assert ways <= set(dependencies(resources["IsolatedProfile"]))


def test_what_options_cost_hangs_on_their_resources(template: dict[str, Any]) -> None:
    """An update that adds or removes one of them is one that takes or gives up the option."""
    conditions = {name: template["Resources"][name]["Condition"] for name in optional_costs()}
    assert conditions == {"IsolatedProfile": "Isolated", "KedaRole": "HasKeda"}


def test_queues_are_as_the_workers_expect(template: dict[str, Any]) -> None:
    """The same redrive, retention and visibility as on the local stack; each names the other."""
    trials = template["Resources"]["TrialsQueue"]["Properties"]
    dead = template["Resources"]["DeadLetterQueue"]["Properties"]
    assert trials["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVES
    assert trials["VisibilityTimeout"] == Settings().visibility_timeout_seconds
    assert trials["MessageRetentionPeriod"] == dead["MessageRetentionPeriod"] == RETENTION_SECONDS
    (source,) = dead["RedriveAllowPolicy"]["sourceQueueArns"]
    assert source["Fn::Sub"].endswith(f":{trials['QueueName']['Fn::Sub']}")


def test_queues_and_bucket_are_closed(template: dict[str, Any]) -> None:
    """Encrypted, TLS only, nothing public; what was given up expires; the bucket outlives the stack."""
    for queue in of_type(template, "AWS::SQS::Queue").values():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
    guarded = {
        policy["Properties"].get("Bucket", {}).get("Ref") or policy["Properties"]["Queues"][0]["Ref"]
        for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy")
        for policy in of_type(template, kind).values()
        if policy["Properties"]["PolicyDocument"]["Statement"][0]["Condition"]
        == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert guarded == {"TrialsQueue", "DeadLetterQueue", "ResultsBucket"}
    bucket = template["Resources"]["ResultsBucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    rules = {rule["Id"]: rule for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]}
    assert rules["expiring"]["TagFilters"] == [{"Key": "harbor-aws", "Value": "expires"}]
    assert {"Key": TAG, "Value": {"Ref": "AWS::StackName"}} in bucket["Properties"]["Tags"]


def test_ec2_takes_the_descriptions(template: dict[str, Any]) -> None:
    """It refuses apostrophes, which neither cfn-lint nor moto does.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
    """
    taken = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}")
    groups = of_type(template, "AWS::EC2::SecurityGroup").values()
    rules = list(of_type(template, "AWS::EC2::SecurityGroupIngress").values())
    said = [group["Properties"]["GroupDescription"] for group in groups]
    said += [
        rule["Description"]
        for group in groups
        for way in ("SecurityGroupEgress", "SecurityGroupIngress")
        for rule in group["Properties"].get(way, [])
    ]
    said += [rule["Properties"]["Description"] for rule in rules]
    assert len(said) >= 6
    assert [each for each in said if not taken.fullmatch(each)] == []


def test_names_that_are_swept(template: dict[str, Any]) -> None:
    """What destroy looks for is what the template calls it, and the longest name still fits a cache's prefix."""
    prefix = template["Resources"]["DockerHubCache"]["Properties"]["EcrRepositoryPrefix"]["Fn::Sub"]
    assert prefix == "${AWS::StackName}-hub"
    assert LONGEST_NAME + len("-hub") <= 30
    groups = {one["Properties"]["LogGroupName"]["Fn::Sub"] for one in of_type(template, "AWS::Logs::LogGroup").values()}
    assert all(group.startswith("/harbor-aws/${AWS::StackName}/") for group in groups)


def test_nothing_that_costs_is_not_in_the_bill(template: dict[str, Any]) -> None:
    """One NAT gateway, one address, so many alarms, one dashboard, one cluster; no interface endpoint."""
    counts = {
        "AWS::CloudWatch::Alarm": ALARMS, "AWS::EC2::NatGateway": 1, "AWS::EC2::EIP": 1, "AWS::EKS::Cluster": 1,
        "AWS::CloudWatch::Dashboard": 1, "AWS::EC2::VPCEndpoint": 4,
    }  # fmt: skip
    assert {kind: len(of_type(template, kind)) for kind in counts} == counts
    endpoints = of_type(template, "AWS::EC2::VPCEndpoint").values()
    that_cost = [one for one in endpoints if one["Properties"]["VpcEndpointType"] != "Gateway"]
    assert len(that_cost) == ISOLATION_ENDPOINTS
    assert all(one["Condition"] == "Isolated" and len(one["Properties"]["SubnetIds"]) == 1 for one in that_cost)


def test_its_outputs_make_a_stack(template: dict[str, Any]) -> None:
    """All that is needed of them, and all are there on AWS."""
    outputs = {name: name for name in template["Outputs"]}
    stack = stack_from_outputs("team", region="eu-west-1", outputs=outputs)
    assert (stack.queue_url, stack.cluster_name, stack.endpoint_url) == ("QueueUrl", "ClusterName", None)
    assert stack.trials.namespace != stack.workers.namespace


@pytest.mark.slow
def test_the_wheel_brings_it_along(tmp_path: Path) -> None:
    """An installed package deploys too."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    assert "harbor_aws/infra/deploy/template.yaml" in zipfile.ZipFile(wheel).namelist()
