"""What KEDA is told: in words that KEDA knows, and with numbers that fit the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from cfnlint.decode import decode_str
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication

from harbor_aws.infra.deploy.keda_manifest import KEDA_ACCOUNT, KEDA_NAMESPACE
from harbor_aws.infra.deploy.manifests.autoscaling import (
    COOLDOWN_SECONDS,
    SLOTS,
    autoscaling,
    most_workers,
    with_bounds_of,
)
from harbor_aws.infra.deploy.manifests.plan import ClusterPlan
from harbor_aws.infra.deploy.manifests.workers import workers
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.fargate import LAUNCHES_PER_SECOND
from harbor_aws.infra.scaled_object import MAX_WORKERS, MIN_WORKERS, PAUSED, PAUSED_AT, Autoscaling
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import KubernetesAccess, Stack

PLAN = ClusterPlan(
    stack=Stack(
        name="team",
        region="eu-west-1",
        queue_url="https://sqs.eu-west-1.amazonaws.com/1/team-trials",
        dead_letter_queue_url="d",
        bucket="b",
        workers=KubernetesAccess(namespace="w"),
    ),
    worker_image="i",
    worker_role_arn="r",
    trials_security_group="sg-1",
    log_group="l",
    max_vcpus=256,
    keda_role_arn="k",
)


def scaled_object(plan: ClusterPlan = PLAN) -> dict[str, Any]:
    return autoscaling(plan)[1]


def test_keda_knows_every_field() -> None:
    """By KEDA's own schema, from whose reading nothing is missing."""
    authentication, scaled = autoscaling(PLAN)
    for model, manifest in ((TriggerAuthentication, authentication), (ScaledObject, scaled)):
        assert model.model_validate(manifest).model_dump(by_alias=True, exclude_none=True) == manifest


def test_it_scales_the_workers_by_their_queue() -> None:
    """The Deployment by its name, in its namespace; a worker for so many trials, waiting or running, as it takes."""
    scaled = scaled_object()
    deployment = workers(PLAN)[-1]
    assert scaled["spec"]["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"], "kind": deployment["kind"], "name": deployment["metadata"]["name"],
    }  # fmt: skip
    assert scaled["metadata"]["namespace"] == deployment["metadata"]["namespace"] == "w"
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["queueURL"] == PLAN.stack.queue_url
    assert int(trigger["metadata"]["queueLength"]) == Settings().slots == SLOTS
    assert {trigger["metadata"][name] for name in ("scaleOnInFlight", "scaleOnDelayed")} == {"true"}
    assert trigger["authenticationRef"]["name"] == autoscaling(PLAN)[0]["metadata"]["name"]


@pytest.mark.parametrize(("max_vcpus", "workers"), [(1, 1), (32, 1), (33, 2), (256, 8), (1000, 32), (100_000, 151)])
def test_as_many_workers_as_the_vcpus_have_trials_for(max_vcpus: int, workers: int) -> None:
    """From none to enough, of which each pod is a node of the cluster; there is always one that may be."""
    spec = scaled_object(replace(PLAN, max_vcpus=max_vcpus))["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, workers)
    assert most_workers(max_vcpus) == workers


@pytest.mark.parametrize(
    ("account_vcpus", "workers"), [(6, 1), (34, 1), (35, 2), (67, 2), (68, 3), (10_000, 8), (None, 8)]
)
def test_workers_leave_their_trials_the_accounts_vcpus(account_vcpus: float | None, workers: int) -> None:
    """Beside CoreDNS and KEDA each worker needs one, and one for each of its 32 trials; the last may lack some."""
    spec = scaled_object(replace(PLAN, max_vcpus=256, account_vcpus=account_vcpus))["spec"]
    assert spec["maxReplicaCount"] == workers


@pytest.mark.parametrize("rate", [1, LAUNCHES_PER_SECOND, 100])
def test_new_workers_and_their_trials_stay_within_the_launch_rate(rate: int) -> None:
    """A minute's workers, each with all its slots; one more would be too many."""
    behavior = scaled_object(replace(PLAN, launches_per_second=rate))["spec"]["advanced"][
        "horizontalPodAutoscalerConfig"
    ]["behavior"]
    (up,) = behavior["scaleUp"]["policies"]
    assert (up["periodSeconds"], up["type"]) == (60, "Pods")
    assert up["value"] * (SLOTS + 1) <= 60 * rate < (up["value"] + 1) * (SLOTS + 1)


def test_workers_go_late_and_singly() -> None:
    """Not before what was wanted in the time of a drain is less, and to none not before SQS's counts are certain."""
    spec = scaled_object()["spec"]
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= PLAN.drain_seconds
    assert [policy["value"] for policy in down["policies"]] == [1]
    assert spec["cooldownPeriod"] == COOLDOWN_SECONDS > 60
    assert "fallback" not in spec  # without an answer of SQS all stays


@pytest.mark.parametrize(
    ("said", "bounds"),
    [
        (None, (0, 8)),
        ({}, (0, 8)),
        ({MIN_WORKERS: "2"}, (2, 8)),
        ({MAX_WORKERS: "20"}, (0, 20)),
        ({MIN_WORKERS: "2", MAX_WORKERS: "3"}, (2, 3)),
        ({MIN_WORKERS: "12"}, (12, 12)),
    ],
)
def test_deploying_keeps_what_scale_said(said: dict[str, str] | None, bounds: tuple[int, int]) -> None:
    """And nothing else: a default of an earlier --max-vcpus does not stay."""
    found = None if said is None else {"metadata": {"annotations": said}, "spec": {"maxReplicaCount": 77}}
    spec = with_bounds_of(found, scaled_object())["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == bounds


@pytest.mark.parametrize(
    ("annotations", "is_paused"),
    [({}, False), ({PAUSED_AT: "0"}, True), ({PAUSED: "true"}, True), ({PAUSED: "false"}, False)],
)
def test_what_a_scaled_object_says(annotations: dict[str, str], is_paused: bool) -> None:
    """Also one that was paused by hand, and one that KEDA has said nothing of yet."""
    found = {"metadata": {"annotations": annotations}, "spec": {"maxReplicaCount": 5}}
    assert Autoscaling.of(found) == Autoscaling(minimum=0, maximum=5, is_paused=is_paused, trouble=None)


def test_keda_says_why_it_cannot() -> None:
    """Its condition's own words; of one that is well, none."""
    conditions = [{"type": "Active", "status": "False"}, {"type": "Ready", "status": "False", "message": "no queue"}]
    found: dict[str, Any] = {"metadata": {}, "spec": {}, "status": {"conditions": conditions}}
    assert Autoscaling.of(found).trouble == "no queue"
    conditions[1]["status"] = "True"
    assert Autoscaling.of(found).trouble is None


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    document, errors = decode_str(template_body(has_budget=True))
    assert not errors
    return dict(document or {})


def test_only_kedas_service_account_has_the_role(template: dict[str, Any]) -> None:
    """By name and namespace, as the release manifest has them; there is a Fargate profile for it."""
    text, _ = template["Resources"]["KedaRole"]["Properties"]["AssumeRolePolicyDocument"]["Fn::Sub"]
    (statement,) = yaml.safe_load(text)["Statement"]
    subject = statement["Condition"]["StringEquals"]["${Issuer}:sub"]
    assert subject == f"system:serviceaccount:{KEDA_NAMESPACE}:{KEDA_ACCOUNT}"
    selectors = template["Resources"]["SystemProfile"]["Properties"]["Selectors"]
    assert {"Namespace": KEDA_NAMESPACE} in selectors


def test_without_autoscaling_there_is_no_role(template: dict[str, Any]) -> None:
    """By whose output the rest is told."""
    assert (
        template["Resources"]["KedaRole"]["Condition"] == template["Outputs"]["KedaRoleArn"]["Condition"] == "HasKeda"
    )
