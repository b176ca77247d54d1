"""What a real pod is recorded to have been billed at and to have used."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.worker.test_trial import TASK_TOML, Bench

from harbor_aws.infra.fargate import FargateSize
from harbor_aws.producer.dead_letters.letter import LetterDetails
from harbor_aws.producer.state import CommittedResult, Phase
from harbor_aws.producer.usage import Consumption, consumption
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.exec.command import run_command
from harbor_aws.worker.exec.command_script import Command
from harbor_aws.worker.pod_usage import UsedPods

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubernetes.conftest import RunPod

    from harbor_aws.worker.pods import PodKeeper

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

GENEROUS_SECONDS = 60
EATEN_MIB = 100
EATER = f"head -c {EATEN_MIB}m /dev/zero | tail -n 1 >/dev/null"
"""``tail`` keeps the one line that it gets."""


@pytest.mark.parametrize("image", ["debian:bookworm", "busybox:latest"])
async def test_a_pod_as_it_was_billed_and_used(keeper: PodKeeper, run_pod: RunPod, image: str) -> None:
    """Size by Fargate's annotation, which comes late; times; the container's own peak memory, if its kernel tells."""
    used = UsedPods()
    async with run_pod(keeper, image, memory_mib=400) as pod:
        used.add(pod)
        assert used.usages[0].size == FargateSize(250, 512)
        patch = {"metadata": {"annotations": {"CapacityProvisioned": "0.5vCPU 1GB"}}}
        path = f"{keeper.cluster.pods_path}/{pod.name}"
        await keeper.cluster.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
        async with asyncio.timeout(GENEROUS_SECONDS):
            while not used.usages[0].is_provisioned:
                await pod.change()
        assert (await run_command(keeper.cluster, pod.name, Command(EATER, {}), timeout_seconds=60)).exit_code == 0
        before = keeper.cluster.requests.copy()
        await used.ask(pod, keeper.cluster)
        assert keeper.cluster.requests - before == {"EXEC": 1}
    (usage,) = used.usages
    assert usage.size == FargateSize(500, 1024)
    assert usage.scheduled_at is not None
    assert usage.running_at is not None
    assert usage.ended_at is not None
    assert usage.created_at <= usage.scheduled_at <= usage.running_at
    assert timedelta(0) <= datetime.now(UTC) - usage.ended_at < timedelta(seconds=GENEROUS_SECONDS)
    if usage.peak_memory_mib is None:
        pytest.skip("this kernel does not say, or this machine does not let us limit memory")
    assert EATEN_MIB <= usage.peak_memory_mib <= 400


@pytest.fixture
def bench(tmp_path: Path, keeper: PodKeeper, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A worker's trial side in memory, with real pods."""
    toml = TASK_TOML.replace('"any"', '"debian:bookworm"\nmemory_mb = 256').replace("0.2", "60.0")
    monkeypatch.setattr("tests.unit.worker.test_trial.TASK_TOML", toml)
    return Bench(tmp_path, pods=cast("Any", keeper))


def message(bench: Bench, agent: str, **fields: Any) -> Delivery:
    config = {
        "agent": {"import_path": f"tests.kubernetes.usage_agents:{agent}Agent"},
        "environment": {"import_path": "harbor_aws.worker.environment:FargateEnvironment"},
    }
    return bench.delivery(config=config, **fields)


def is_bill_of_one_pod(consumed: Consumption) -> bool:
    """Of half a vCPU and 1 GB, for a minute at least."""
    return consumed.pods == 1 and consumed.memory_gb_hours == 2 * consumed.vcpu_hours >= 1 / 60


@pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")
async def test_a_retried_trials_result_counts_the_failed_attempt(bench: Bench) -> None:
    """The result has the pod of its own attempt, with its times, and the bill of both."""
    await bench.run(message(bench, "Cut"))
    (following,) = bench.next_attempts
    assert is_bill_of_one_pod(following.consumed)
    config = message(bench, "Billed").message.trial_config
    await bench.run(Delivery(following.model_copy(update={"trial_config": config}), "body", 1, "m2"))
    result = CommittedResult.model_validate(bench.result)
    (pod,) = result.pods
    assert result.consumed == following.consumed + consumption(pod, now=datetime.now(UTC))
    assert (pod.cpu_millis, pod.memory_mib, pod.is_provisioned) == (500, 1024, True)
    assert pod.scheduled_at is not None
    assert pod.running_at is not None
    assert pod.ended_at is not None
    assert pod.created_at <= pod.scheduled_at <= pod.running_at <= pod.ended_at


@pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")
async def test_a_dead_letter_counts_its_pods(bench: Bench) -> None:
    """So do the letter, from which a replay goes on, and the state, by which ``status`` counts."""
    await bench.run(message(bench, "Hopeless"))
    details = LetterDetails.model_validate_json(bench.dead_letters.sent[0].attributes["details"])
    (record,) = details.attempts
    assert record.consumed is not None
    assert is_bill_of_one_pod(record.consumed)
    assert bench.state is not None
    assert bench.state.phase is Phase.DEAD
    assert bench.state.consumption(now=datetime.now(UTC)) == record.consumed
