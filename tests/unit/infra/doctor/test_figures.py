"""What checks make of figures, policies and pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from harbor_aws.infra.doctor.finding import Verdict
from harbor_aws.infra.doctor.pod_state import age_seconds, is_running, trouble, waits_for
from harbor_aws.infra.doctor.probe import PROBE_LABEL, manifest
from harbor_aws.infra.doctor.queues import demands_tls
from harbor_aws.infra.doctor.quotas import vcpus, wanted_vcpus
from harbor_aws.infra.doctor.way import resolve
from harbor_aws.infra.labels import WORKER_LABEL


@pytest.mark.parametrize(
    ("concurrency", "needed", "what"),
    [
        (None, 256 + 8 + 1, "the stack's 256 vCPUs of trials with 8 workers"),
        (1, 1 + 1 + 1, "1 trials at once with 1 workers"),
        (33, 33 + 2 + 1, "33 trials at once with 2 workers"),
    ],
)
def test_vcpus_that_are_wanted(concurrency: int | None, needed: float, what: str) -> None:
    """Those of trials, of workers of 32 slots, of names and of KEDA."""
    assert wanted_vcpus(concurrency=concurrency, slots=32, stack_vcpus=256) == (needed, what)


@pytest.mark.parametrize(("quantity", "number"), [("2", 2), ("500m", 0.5), ("1k", 1000), ("0", 0), ("1.5", 1.5)])
def test_amounts_of_cpu(quantity: str, number: float) -> None:
    """As Kubernetes writes them."""
    assert vcpus(quantity) == number


def statement(**changed: object) -> dict[str, Any]:
    denied = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    return {**denied, "Condition": {"Bool": {"aws:SecureTransport": "false"}}, **changed}


@pytest.mark.parametrize(
    ("statements", "demands"),
    [
        ([statement()], True),
        ([statement(Principal={"AWS": "*"})], True),
        ([statement(Condition={"Bool": {"aws:SecureTransport": False}})], True),
        ([statement(Effect="Allow")], False),
        ([statement(Principal={"AWS": "arn:aws:iam::1:root"})], False),
        ([statement(Condition={"Bool": {"aws:SecureTransport": "true"}})], False),
        ([statement(Condition={})], False),
        ([], False),
    ],
)
def test_policies_that_demand_tls(statements: list[dict[str, Any]], demands: bool) -> None:
    """They deny everybody what is not encrypted, and nothing else will do."""
    assert demands_tls({"Statement": statements}) is demands


def pod(phase: str, *states: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": "2026-11-22T10:00:00Z"},
        "status": {"phase": phase, "containerStatuses": [{"state": state} for state in states], **status},
    }


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


UNPLACED = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]


@pytest.mark.parametrize(
    ("seen", "why", "waits"),
    [
        (
            pod("Pending", waiting("ImagePullBackOff", "no such")),
            "ImagePullBackOff: no such",
            "ImagePullBackOff: no such",
        ),
        (pod("Pending", waiting("ContainerCreating")), None, "ContainerCreating"),
        (pod("Pending", conditions=UNPLACED), None, "Unschedulable: 0/3"),
        (pod("Pending"), None, "no reason given"),
        (pod("Running", {"running": {}}), None, "no reason given"),
    ],
)
def test_why_a_pod_does_not_run(seen: dict[str, Any], why: str | None, waits: str) -> None:
    """What somebody must mend is told from what passes by itself."""
    assert (trouble(seen), waits_for(seen)) == (why, waits)


def test_which_pods_run() -> None:
    """Those of which every container does, and that are not told to go."""
    running = pod("Running", {"running": {}})
    going = {**running, "metadata": {"deletionTimestamp": "now"}}
    assert [is_running(each) for each in (running, pod("Running", {"terminated": {}}), pod("Pending"), going)] == [
        True,
        False,
        False,
        False,
    ]


def test_a_pods_age() -> None:
    """From when the cluster took it."""
    assert age_seconds(pod("Pending"), datetime(2026, 11, 22, 10, 5, tzinfo=UTC)) == 300


@pytest.mark.parametrize(
    ("variables", "verdict"),
    [
        ({}, Verdict.FAILED),
        ({"HTTPS_PROXY": "http://proxy:3128"}, Verdict.SKIPPED),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "other.invalid"}, Verdict.SKIPPED),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".invalid"}, Verdict.FAILED),
    ],
)
async def test_names_behind_a_proxy(
    variables: dict[str, str], verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are the proxy's matter, unless it is passed by; then this machine must know them."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = await resolve(["https://sqs.invalid:4566/"], fix="mend")
    assert outcome.verdict is verdict
    assert "sqs.invalid" in outcome.evidence


def test_the_probes_pod_is_nobodys() -> None:
    """It has an end of its own, nothing of the cluster's, and no worker's label, which reapers go by."""
    made = manifest("probe", stack="team", image="busybox")
    assert made["spec"]["activeDeadlineSeconds"] <= 600
    assert made["spec"]["automountServiceAccountToken"] is False
    assert made["metadata"]["labels"][PROBE_LABEL] == "true"
    assert WORKER_LABEL not in made["metadata"]["labels"]
