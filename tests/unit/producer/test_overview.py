"""A job's state adds up at every moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.fargate_prices import PRICES_DATE, PRICES_REGION
from harbor_aws.infra.layout import PLAN_NAME, job_key, result_key, state_key
from harbor_aws.infra.objects import ObjectInfo
from harbor_aws.producer.cli.render import cost_line
from harbor_aws.producer.cost import Cost
from harbor_aws.producer.overview import JobReader, Overview
from harbor_aws.producer.planfile import PlannedTrial, dump_plan
from harbor_aws.producer.state import CommittedResult, Phase, TrialState
from harbor_aws.producer.usage import Consumption, PodUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOB = "job"
NOW = datetime.now(UTC)


class Store:
    """A bucket in memory, in which something can happen after any listing."""

    def __init__(self, trials: list[str]) -> None:
        self.objects: dict[str, bytes] = {}
        self.gets: list[str] = []
        self.after_listing: Callable[[str], None] = lambda _prefix: None
        plan = [PlannedTrial(trial=trial, task="t", bundle="0" * 64, trial_config={}, attempts=3) for trial in trials]
        self.objects[job_key(JOB, PLAN_NAME)] = dump_plan(plan)

    def get(self, key: str) -> bytes | None:
        self.gets.append(key)
        return self.objects.get(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found = [
            ObjectInfo(key=key, size=len(body), etag=str(hash(body)), modified=NOW)
            for key, body in self.objects.items()
            if key.startswith(prefix)
        ]
        self.after_listing(prefix)
        return iter(found)

    def state(
        self, trial: str, phase: Phase, *, reason: str | None = None, age_seconds: float = 0, **fields: Any
    ) -> None:
        state = TrialState(
            trial=trial,
            phase=phase,
            attempt=1,
            pod=f"pod-{trial}",
            worker="w",
            since=datetime.now(UTC) - timedelta(seconds=age_seconds),
            reason=reason,
            **fields,
        )
        self.objects[state_key(JOB, trial)] = state.model_dump_json().encode()

    def commit(
        self,
        trial: str,
        rewards: dict[str, float | int] | None = None,
        *,
        exception: str | None = None,
        consumed: Consumption | None = None,
    ) -> None:
        result: dict[str, Any] = {"agent_info": {"name": "oracle"}, "source": "dataset"}
        committed = CommittedResult(
            trial=trial,
            attempt=1,
            attempt_id="a",
            archive="x",
            worker="w",
            committed_at=NOW,
            rewards=rewards,
            exception_type=exception,
            result=result,
            consumed=consumed,
        )
        self.objects[result_key(JOB, trial)] = committed.model_dump_json().encode()


def read(store: Store) -> Overview:
    return JobReader(store, JOB).read()  # type: ignore[arg-type]  # a bucket to its readers


def test_every_phase_is_counted() -> None:
    """A trial is queued, in one of its phases, committed or dead; the lists hold what a person asks for."""
    store = Store(["a", "b", "c", "d", "e", "f"])
    store.state("b", Phase.AGENT, age_seconds=100)
    store.state("c", Phase.STARTING)
    store.state("d", Phase.DEAD, reason="PodStartError: no such image")
    store.state("e", Phase.RETRYING, reason="PodGoneError: evicted")
    store.state("f", Phase.COMMITTED)
    store.commit("f", {"reward": 1})
    overview = read(store)
    assert overview.phases == {"queued": 1, "agent": 1, "starting": 1, "dead": 1, "retrying": 1, "committed": 1}
    assert [(trial.trial, trial.pod) for trial in overview.in_flight] == [("b", "pod-b"), ("c", "pod-c")]
    assert overview.in_flight[0].age_seconds == pytest.approx(100, abs=60)
    assert [(trial.trial, trial.reason) for trial in overview.dead] == [("d", "PodStartError: no such image")]
    assert [trial.trial for trial in overview.waiting] == ["e"]
    assert (overview.trials, overview.committed, overview.ended) == (6, 1, 2)


@pytest.mark.parametrize("moment", ["states", "results"])
def test_a_trial_that_moves_while_it_is_read_is_counted_once(moment: str) -> None:
    """Trials that are taken up, move on or commit between two listings are each counted exactly once."""
    store = Store(["a", "b", "c"])
    store.state("b", Phase.VERIFIER)

    def move(prefix: str) -> None:
        if moment in prefix:
            store.state("a", Phase.STARTING)
            store.commit("b", {"reward": 1})
            store.state("b", Phase.COMMITTED)
            store.commit("c", {"reward": 1})

    store.after_listing = move
    overview = read(store)
    assert sum(overview.phases.values()) == overview.trials == 3
    assert overview.phases["committed"] == (2 if moment == "states" else 1)


def test_a_result_wins_over_a_late_state() -> None:
    """A loser's state, written after another worker's commit, does not bring the trial back."""
    store = Store(["a"])
    store.commit("a", {"reward": 1})
    store.state("a", Phase.DEAD)
    assert read(store).phases == {"committed": 1}
    assert read(store).dead == []


def test_each_result_is_read_once() -> None:
    """Looking again reads states in flight and new results only."""
    store = Store(["a", "b", "c"])
    store.commit("a", {"reward": 1})
    store.state("a", Phase.COMMITTED)
    store.state("b", Phase.AGENT)
    reader = JobReader(store, JOB)  # type: ignore[arg-type]  # a bucket to its readers
    reader.read()
    store.gets.clear()
    reader.read()
    assert store.gets == [state_key(JOB, "b")]
    store.commit("b", {"reward": 0})
    store.gets.clear()
    assert reader.read().phases == {"committed": 2, "queued": 1}
    assert store.gets == [result_key(JOB, "b")]


def test_rewards_so_far() -> None:
    """Harbor's mean by agent and dataset, a missing reward being 0; exceptions by type."""
    store = Store(["a", "b", "c"])
    store.commit("a", {"reward": 1})
    store.commit("b", {"reward": 0.5})
    store.commit("c", None, exception="AgentTimeoutError")
    overview = read(store)
    assert overview.rewards["oracle__dataset"].model_dump() == {"results": 3, "mean": {"mean": 0.5}}
    assert overview.exceptions == {"AgentTimeoutError": 1}


def test_the_cost_so_far() -> None:
    """Each trial counts once, by its result or else its state: ended, in flight until now, retrying, dead, in vain."""
    hour = Consumption(pods=1, vcpu_hours=1, memory_gb_hours=3)
    now = datetime.now(UTC)
    pod = PodUsage(
        name="p", role="agent", cpu_millis=1000, memory_mib=3072, created_at=now, scheduled_at=now - timedelta(hours=2)
    )
    store = Store(["committed", "flying", "retrying", "dead", "queued", "stranger-to-costs", "old"])
    store.commit("committed", {"reward": 1}, consumed=hour)
    store.state("committed", Phase.COLLECTING, pods=[pod], consumed=hour)
    store.state("flying", Phase.AGENT, pods=[pod], consumed=hour)
    store.state("retrying", Phase.RETRYING, pods=[pod.model_copy(update={"ended_at": now})], consumed=Consumption())
    store.state("dead", Phase.DEAD, pods=[pod], consumed=Consumption(), age_seconds=3600)
    store.state("old", Phase.AGENT)
    store.commit("stranger-to-costs", {"reward": 1})
    cost = read(store).cost
    assert (cost.pods, cost.trials_not_counted) == (5, 2)
    assert cost.vcpu_hours == pytest.approx(1 + (1 + 2) + 2 + 1, abs=0.1)
    assert cost.usd == pytest.approx(cost.vcpu_hours * (0.04048 + 3 * 0.004445))


def test_the_cost_in_a_line() -> None:
    """It says what is counted, at which prices, and what is not counted."""
    told = Cost(usd=1234.567, vcpu_hours=12.34, memory_gb_hours=25, storage_gb_hours=0, pods=41, trials_not_counted=0)
    line = "Cost so far: $1,234.57 (12.3 vCPU-hours, 25.0 GB-hours, 41 pods; pods only, "
    line += f"{PRICES_REGION} list prices of {PRICES_DATE}"
    assert cost_line(told) == f"{line})"
    uncounted = told.model_copy(update={"trials_not_counted": 2})
    assert cost_line(uncounted) == f"{line}; 2 trials of an older version not counted)"


@pytest.mark.parametrize("key", [result_key(JOB, "a"), state_key(JOB, "a")])
def test_a_record_of_another_version_is_one_clear_error(key: str) -> None:
    """Which trial's, and what to do; it is counted as nothing else."""
    store = Store(["a"])
    store.objects[key] = b'{"trial": "a", "phase": "levitating"}'
    with pytest.raises(PermanentError, match="of trial a was not written by this version"):
        read(store)


def test_there_is_no_such_job() -> None:
    """An unknown job is the user's mistake."""
    with pytest.raises(UsageError, match="no job 'other'"):
        JobReader(Store([]), "other")  # type: ignore[arg-type]  # a bucket to its readers
