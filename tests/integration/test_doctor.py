"""The doctor at a stack in which nothing is wrong, and at one for everything that can be: it finds exactly that."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.doctor_aws import cloud_before
from tests.integration.doctor_breakages import BREAKAGES, ON_AWS, Breakage
from tests.integration.doctor_kubernetes import fake_cluster
from tests.integration.doctor_stack import Deployed, deploy_healthy, without_proxy
from tests.integration.moto_account import use_account
from tests.integration.moto_stack import REGION, moto_server

from harbor_aws.infra import aws
from harbor_aws.infra.aws import Account
from harbor_aws.infra.doctor.catalogue import CHECKS
from harbor_aws.infra.doctor.check import Kind
from harbor_aws.infra.doctor.finding import Finding, Verdict
from harbor_aws.infra.doctor.run import examine
from harbor_aws.infra.doctor.subject import Question, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.integration.doctor_aws import Call, Cloud
    from tests.integration.doctor_kubernetes import FakeCluster

    from harbor_aws.infra.doctor.check import Check

pytestmark = pytest.mark.slow

GENEROUS_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all tests share: one account, with a cloud before it, and one cluster."""

    moto_url: str
    cloud_url: str
    cloud: Cloud
    cluster: FakeCluster


@pytest.fixture(scope="module")
def surroundings() -> Iterator[Surroundings]:
    aws._session.cache_clear()  # another test's may have other credentials
    with moto_server() as moto_url, cloud_before(moto_url) as (cloud, cloud_url), fake_cluster() as cluster:
        yield Surroundings(moto_url, cloud_url, cloud, cluster)


@pytest.fixture
def stack(surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployed:
    """A stack of the test's own, which is whole."""
    use_account(monkeypatch, surroundings.cloud_url)
    without_proxy(monkeypatch)
    surroundings.cloud.reset()
    return deploy_healthy(surroundings.cloud, surroundings.cluster, surroundings.moto_url, tmp_path)


def question_of(stack: Deployed, concurrency: int | None = None) -> Question:
    return Question(stack=stack.name, kind=Kind.AWS, account=Account(REGION), concurrency=concurrency, probe=True)


async def findings_of(
    stack: Deployed, *, concurrency: int | None = None, checks: Sequence[Check] = CHECKS
) -> dict[str, Finding]:
    question = question_of(stack, concurrency)
    async with Subject.open(question) as subject:
        found = await examine(checks, subject, patience_seconds=GENEROUS_SECONDS)
    return {each.id: each for each in found}


def breakage_id(breakage: Breakage) -> str:
    return f"{breakage.check}: {breakage.what}"


async def test_nothing_is_wrong(stack: Deployed) -> None:
    """At a whole stack every check that is for stacks on AWS is content, and the probe's pod is gone."""
    found = await findings_of(stack, concurrency=200)
    assert {each.id: each.outcome for each in found.values() if each.verdict is not Verdict.OK} == {
        check.id: found[check.id].outcome for check in CHECKS if check not in ON_AWS
    }
    assert not [path for path in stack.cluster.objects if "harbor-aws-probe" in path]
    assert {pod.startswith("harbor-aws-probe") for pod, _ in stack.cluster.executed} == {True, False}


@pytest.mark.parametrize("breakage", BREAKAGES, ids=breakage_id)
async def test_it_finds_exactly_that(stack: Deployed, monkeypatch: pytest.MonkeyPatch, breakage: Breakage) -> None:
    """What is wrong is found, with what was seen and what to do; what rests on it is skipped; all else is well."""
    breakage.damage(stack, monkeypatch)
    checks = [
        replace(each, seconds=breakage.seconds or each.seconds) if each.id == breakage.check else each
        for each in CHECKS
    ]
    found = await findings_of(stack, concurrency=breakage.concurrency, checks=checks)
    seen = {check.id: found[check.id].verdict for check in ON_AWS}
    wanted = {check.id: Verdict.SKIPPED if check.id in breakage.skipped else Verdict.OK for check in ON_AWS}
    assert seen == {**wanted, breakage.check: breakage.verdict}, {
        each.id: each.outcome for each in found.values() if each.verdict is not wanted.get(each.id)
    }
    outcome = found[breakage.check].outcome
    assert re.search(breakage.evidence, outcome.evidence), outcome
    assert re.search(breakage.fix, outcome.fix or ""), outcome
    assert (outcome.fix is not None) == (breakage.verdict is not Verdict.SKIPPED)


def test_every_check_has_a_breakage() -> None:
    """None is believed to find what it has never found. Those of local stacks alone have theirs in the next module."""
    assert {breakage.check for breakage in BREAKAGES} == {check.id for check in ON_AWS}
    assert {check.id for check in CHECKS if check not in ON_AWS} == {"local-processes", "disk"}


def all_but(*operations: str) -> Callable[[Call], bool]:
    return lambda call: call.service != "" and call.operation not in operations


def rights_in(findings: dict[str, Finding]) -> set[str]:
    """What could not be asked for want of a right."""
    found = (re.fullmatch(r"may not ask \((.+)\)", each.outcome.evidence) for each in findings.values())
    return {match[1] for match in found if match}


async def test_who_may_ask_aws_nothing_is_told_so(stack: Deployed) -> None:
    """Nothing fails for want of a right of AWS's; each is named, and docs/security.md names the same ones."""
    rights: set[str] = set()
    for spared in (
        (),
        ("ListFargateProfiles",),
        ("ListFargateProfiles", "DescribeFargateProfile"),
    ):  # one leads to another
        stack.cloud.refused = all_but("GetCallerIdentity", "DescribeStacks", *spared)
        found = await findings_of(stack)
        assert not [each for each in found.values() if each.verdict in (Verdict.FAILED, Verdict.WARNING)]
        rights |= rights_in(found)
    stack.cloud.fargate_vcpus = None
    stack.cloud.refused = lambda call: call.operation == "GetAWSDefaultServiceQuota"
    rights |= rights_in(await findings_of(stack))
    documented = re.findall(r"`([a-z0-9]+:[A-Z]\w+)`", section("docs/security.md", "What doctor asks"))
    assert rights | {"cloudformation:DescribeStacks", "sts:GetCallerIdentity"} == set(documented)


async def test_who_may_not_look_at_the_stack_is_told_so(stack: Deployed) -> None:
    """Then nothing else can be looked at, and nothing has failed."""
    stack.cloud.refused = lambda call: call.service == "cloudformation"
    found = await findings_of(stack)
    assert not [each for each in found.values() if each.verdict in (Verdict.FAILED, Verdict.WARNING)]
    assert "cloudformation:DescribeStacks" in found["stack"].outcome.evidence
    assert found["queue"].outcome.evidence == "it rests on stack"


async def test_who_may_ask_the_cluster_nothing_is_told_so(stack: Deployed) -> None:
    """Nothing fails for want of a right of Kubernetes'; each says what was asked."""
    stack.cluster.forbidden = ("/api/v1/", "/apis/apps", "/apis/authorization", "/apis/keda")
    found = await findings_of(stack)
    assert not [each for each in found.values() if each.verdict in (Verdict.FAILED, Verdict.WARNING)]
    assert len([each for each in rights_in(found) if each.startswith(("GET /api", "POST /api"))]) >= 8


async def test_the_probe_is_deleted_when_it_is_interrupted(stack: Deployed) -> None:
    """Ctrl-C while the pod starts leaves no pod."""
    stack.cluster.new_pod_status = {"phase": "Pending"}

    async def run() -> None:
        async with Subject.open(question_of(stack)) as subject:
            await examine(CHECKS, subject)

    running = asyncio.create_task(run())
    async with asyncio.timeout(60):
        while not probes(stack):
            await asyncio.sleep(0.05)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert not probes(stack)


async def test_nothing_is_changed(stack: Deployed) -> None:
    """All that is asked of AWS is to read."""
    stack.cloud.calls.clear()
    await findings_of(stack)
    assert not [
        call for call in stack.cloud.calls if call.service and not re.match("Get|Head|List|Describe", call.operation)
    ]


def probes(stack: Deployed) -> list[str]:
    return [path for path in stack.cluster.objects if "harbor-aws-probe" in path]


def section(file: str, title: str) -> str:
    """A section of a document."""
    text = (Path(__file__).parents[2] / file).read_text()
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
