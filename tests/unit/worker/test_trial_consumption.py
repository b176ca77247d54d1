"""What a trial consumed goes with it, from attempt to attempt, into its result or its letter, and on into a replay."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.worker.billed_fakes import billed_pod
from tests.unit.worker.test_trial import TRIAL, Bench

from harbor_aws.infra.layout import result_key, state_key
from harbor_aws.infra.queues import IncomingMessage
from harbor_aws.producer.celery_message import decode, encode
from harbor_aws.producer.dead_letters.letter import Letter
from harbor_aws.producer.dead_letters.replay import fresh
from harbor_aws.producer.state import CommittedResult, Phase, TrialState
from harbor_aws.producer.usage import Consumption
from harbor_aws.worker.delivery import Delivery

if TYPE_CHECKING:
    from pathlib import Path

    from harbor_aws.producer.message import TrialMessage

# Harbor itself calls what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

NEARLY = 0.1
"""Hours by which the fakes' hour may be longer on a slow machine."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def delivery(bench: Bench, environment: str = "Billed", **fields: Any) -> Delivery:
    config = {"environment": {"import_path": f"tests.unit.worker.billed_fakes:{environment}Environment"}}
    return bench.delivery(config=config, **fields)


def again(bench: Bench, message: TrialMessage, environment: str, *, receive_count: int = 1) -> Delivery:
    """The message with another environment, which its plan then has too."""
    made = delivery(bench, environment).message
    changed = message.model_copy(update={"trial_config": made.trial_config})
    return Delivery(changed, encode(changed), receive_count, "m2")


def committed(bench: Bench) -> CommittedResult:
    return CommittedResult.model_validate_json(bench.store.objects[result_key("job", TRIAL)])


async def test_a_result_has_its_pods(bench: Bench) -> None:
    """With size and times; the trial has consumed just that."""
    await bench.run(delivery(bench))
    result = committed(bench)
    (pod,) = result.pods
    assert (pod.role, pod.cpu_millis, pod.memory_mib, pod.is_provisioned) == ("agent", 1000, 3072, False)
    assert pod.ended_at is not None
    assert result.consumed is not None
    assert result.consumed.pods == 1
    assert result.consumed.vcpu_hours == pytest.approx(1, abs=NEARLY)
    assert result.consumed.memory_gb_hours == pytest.approx(3, abs=3 * NEARLY)


async def test_a_retried_trial_counts_what_failed(bench: Bench) -> None:
    """The result has the pods of its own attempt, and what both attempts consumed."""
    await bench.run(delivery(bench, "BilledInVain"))
    assert bench.state is not None
    whole = bench.state.consumption(now=datetime.now(UTC))
    assert bench.state.phase is Phase.RETRYING
    assert whole is not None
    assert whole.pods == 1
    assert whole.vcpu_hours == pytest.approx(1, abs=NEARLY)
    (following,) = bench.next_attempts
    assert following.consumed.vcpu_hours == pytest.approx(1, abs=NEARLY)
    await bench.run(again(bench, following, "Billed"))
    result = committed(bench)
    assert result.consumed is not None
    assert (len(result.pods), result.consumed.pods) == (1, 2)
    assert result.consumed.vcpu_hours == pytest.approx(2, abs=2 * NEARLY)


async def test_a_dead_letter_and_its_replay_count_all_attempts(bench: Bench) -> None:
    """Letter and state say the same, and the replay goes on from there; the newest attempt alone says it."""
    await bench.run(delivery(bench, "BilledInVain", attempts=2))
    (following,) = bench.next_attempts
    await bench.run(again(bench, following, "BilledInVain"))
    assert bench.state is not None
    assert bench.state.phase is Phase.DEAD
    whole = bench.state.consumption(now=datetime.now(UTC))
    assert whole is not None
    assert whole.pods == 2
    assert whole.vcpu_hours == pytest.approx(2, abs=2 * NEARLY)
    sent = bench.dead_letters.sent[0]
    letter = Letter.of(
        IncomingMessage(
            message_id="m", body=sent.body, attributes=sent.attributes, receipt="r", sent_at=datetime.now(UTC)
        )
    )
    assert [record.consumed is None for record in letter.attempts] == [True, False]
    replayed = decode(encode(fresh(letter)))
    assert (replayed.attempt, replayed.replay) == (1, 1)
    assert replayed.consumed.pods == 2
    await bench.run(again(bench, replayed, "Billed"))
    result = committed(bench)
    assert result.consumed is not None
    assert (len(result.pods), result.consumed.pods) == (1, 3)


async def test_a_handed_back_attempt_is_counted_by_the_next_worker(bench: Bench) -> None:
    """The same message comes again: what its first worker consumed is in the state alone."""
    first = delivery(bench, agent="Endless")
    running = asyncio.create_task(bench.run(first))
    while bench.state is None or bench.state.phase is not Phase.AGENT:
        await asyncio.sleep(0.01)
    assert len(bench.state.pods) == 1
    running.cancel("drain")
    with pytest.raises(asyncio.CancelledError):
        await running
    state = TrialState.model_validate_json(bench.store.objects[state_key("job", TRIAL)])
    assert state.phase is Phase.HANDED_BACK
    assert state.pods[0].ended_at is not None
    second = delivery(bench)
    await bench.run(Delivery(second.message, second.body, 2, first.message_id))
    result = committed(bench)
    assert result.consumed is not None
    assert (len(result.pods), result.consumed.pods) == (1, 2)
    assert result.consumed.vcpu_hours == pytest.approx(2, abs=2 * NEARLY)


async def test_a_trial_in_flight_is_counted_until_now(bench: Bench) -> None:
    """Its state names its pods as soon as the agent runs, and no end of them."""
    running = asyncio.create_task(bench.run(delivery(bench, agent="Endless")))
    while bench.state is None or bench.state.phase is not Phase.AGENT:
        await asyncio.sleep(0.01)
    now = datetime.now(UTC)
    whole = bench.state.consumption(now=now)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert whole is not None
    assert whole.pods == 1
    assert whole.vcpu_hours == pytest.approx(1, abs=NEARLY)


async def test_pods_that_a_killed_worker_left_are_counted_when_they_are_deleted(bench: Bench) -> None:
    """It had said no more than that it has the trial: the cluster tells the rest."""
    killed = billed_pod(job="job", trial=TRIAL, attempt_id="01-killed", worker="worker-2", session="s")
    bench.say(Phase.STARTING, 1, attempt_id="01-killed", consumed=Consumption())
    bench.pods.left = [killed]
    await bench.run(delivery(bench, receive_count=2))
    result = committed(bench)
    assert result.consumed is not None
    assert (len(result.pods), result.consumed.pods) == (1, 2)
    assert result.consumed.vcpu_hours == pytest.approx(2, abs=2 * NEARLY)
