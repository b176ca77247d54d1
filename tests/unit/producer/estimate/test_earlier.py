"""Earlier runs, from what is in the bucket."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.producer.estimate.estimate_fakes import BEGAN, planned, usage

from harbor_aws.infra.errors import OutOfMemoryError, UsageError
from harbor_aws.infra.layout import PLAN_NAME, job_key, result_key, state_key
from harbor_aws.infra.objects import ObjectInfo
from harbor_aws.producer.estimate.earlier import RUNS_PER_TASK, earlier_runs, memory_kills, run_of
from harbor_aws.producer.planfile import PlannedTrial, dump_plan
from harbor_aws.producer.profile import TaskRun
from harbor_aws.producer.state import CommittedResult, Phase, TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor_aws.producer.usage import PodUsage


class Store:
    """A bucket in memory, of which each object is newer than the one before."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for age, (key, body) in enumerate(list(self.objects.items())):
            if key.startswith(prefix):
                yield ObjectInfo(key=key, size=len(body), etag="", modified=BEGAN + timedelta(seconds=age))

    def list_folders(self, prefix: str) -> Iterator[str]:
        yield from sorted({key.removeprefix(prefix).split("/")[0] for key in self.objects if key.startswith(prefix)})

    def job(self, name: str, *trials: PlannedTrial) -> None:
        self.objects[job_key(name, PLAN_NAME)] = dump_plan(trials)

    def commit(self, job: str, trial: str, **facts: Any) -> None:
        self.objects[result_key(job, trial)] = committed(trial, **facts).model_dump_json().encode()

    def die(self, job: str, trial: str, reason: str, *pods: PodUsage) -> None:
        state = TrialState(
            trial=trial, phase=Phase.DEAD, attempt=2, worker="w", since=BEGAN, reason=reason, pods=list(pods)
        )
        self.objects[state_key(job, trial)] = state.model_dump_json().encode()


def committed(trial: str, *pods: PodUsage, seconds: float = 100, **result: Any) -> CommittedResult:
    times = {"started_at": BEGAN.isoformat(), "finished_at": (BEGAN + timedelta(seconds=seconds)).isoformat()}
    return CommittedResult(
        trial=trial,
        attempt=1,
        attempt_id="a",
        archive="x",
        worker="w",
        committed_at=BEGAN,
        rewards=None,
        pods=list(pods),
        result={**times, **result},
    )


def runs(store: Store, *trials: PlannedTrial, like: str | None = None) -> list[tuple[str, str, float]]:
    found = earlier_runs(store, trials, like=like)  # type: ignore[arg-type]  # a bucket to its readers
    return [(run.job, run.trial, run.seconds) for run in found]


def test_runs_of_the_same_tasks_by_the_same_agent() -> None:
    """Of all jobs, the newest first; by name or by files; not of other tasks, other agents, or without a result."""
    store = Store()
    store.job("old", planned("a"), planned("other", task="x", bundle="x"), planned("unfinished"))
    store.job("new", planned("b", task="renamed"), planned("c", bundle="changed"))
    store.job("oracles", planned("d", agent={"name": "oracle"}))
    for job, trial in (("old", "a"), ("old", "other"), ("new", "b"), ("new", "c"), ("oracles", "d")):
        store.commit(job, trial)
    assert runs(store, planned("mine")) == [("new", "b", 100), ("new", "c", 100), ("old", "a", 100)]
    assert runs(store, planned("mine", task="never", bundle="never")) == []


def test_a_job_that_is_named_counts_by_any_agent() -> None:
    """And no other does; one that is not there is an error."""
    store = Store()
    store.job("like", planned("d", agent={"name": "oracle"}))
    store.job("other", planned("a"))
    store.commit("like", "d")
    store.commit("other", "a")
    assert runs(store, planned("mine"), like="like") == [("like", "d", 100)]
    with pytest.raises(UsageError, match="no job 'missing'"):
        runs(store, planned("mine"), like="missing")


def test_few_runs_of_a_task_are_read() -> None:
    """However many there are, the newest jobs' first."""
    store = Store()
    for job in ("old", "new"):
        store.job(job, *(planned(f"{job}{number}") for number in range(RUNS_PER_TASK - 1)))
        for number in range(RUNS_PER_TASK - 1):
            store.commit(job, f"{job}{number}")
    found = runs(store, planned("mine"))
    assert [job for job, *_ in found] == ["new"] * (RUNS_PER_TASK - 1) + ["old"]


def test_a_run_takes_as_long_as_its_pods_were_billed() -> None:
    """From their images' pull until they were deleted; a pod that never had a node costs and takes nothing."""
    never = usage().model_copy(update={"scheduled_at": None, "running_at": None})
    result = committed("a", usage(seconds=500), usage(seconds=60, start=5, role="verifier"), never)
    found = run_of("job", planned("a"), result)
    assert found is not None
    assert (found.agent_seconds, found.verifier_seconds, found.start_seconds) == (520, 65, 25)
    assert len(found.pods) == 3


def test_an_older_result_has_harbors_times() -> None:
    """A separate verifier's are its own; a result without any is no run."""
    verifier = {"started_at": BEGAN.isoformat(), "finished_at": (BEGAN + timedelta(seconds=30)).isoformat()}
    separate = run_of("job", planned("a"), committed("a", verifier=verifier, verifier_environment_mode="separate"))
    shared = run_of("job", planned("a"), committed("a", verifier=verifier, verifier_environment_mode="shared"))
    assert separate is not None
    assert shared is not None
    assert (separate.agent_seconds, separate.verifier_seconds) == (70, 30)
    assert (shared.agent_seconds, shared.verifier_seconds) == (100, 0)
    assert run_of("job", planned("a"), committed("a", finished_at=None)) is None


def test_kills_for_lack_of_memory() -> None:
    """The most memory that was not enough, of trials that have no result; other deaths are none of it."""
    store = Store()
    store.job("job", *(planned(name) for name in "abc"), planned("d", bundle="fine"), planned("e", bundle="fine"))
    oom = f"{OutOfMemoryError.__name__}: Pod p was killed"
    store.die("job", "a", oom, usage().model_copy(update={"memory_mib": 4096}))
    store.die("job", "b", oom, usage().model_copy(update={"memory_mib": 3072}))
    store.die("job", "c", "PodStartError: no such image", usage())
    store.die("job", "d", oom, usage())
    store.commit("job", "d")
    trials = [planned("mine"), planned("mine", bundle="fine")]
    kills = memory_kills(store, trials)  # type: ignore[arg-type]  # a bucket to its readers
    assert kills == {TaskRun("files", "nop"): 4096 - 256}
