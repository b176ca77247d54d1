"""Earlier runs, from what is in the bucket."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.producer.estimate.estimate_fakes import BEGAN, planned, usage

from harbor_aws.infra.errors import OutOfMemoryError, PermanentError, TransientError, UsageError
from harbor_aws.infra.layout import PLAN_NAME, job_key, result_key, state_key
from harbor_aws.infra.objects import ObjectInfo
from harbor_aws.producer.estimate.alike import work_of
from harbor_aws.producer.estimate.earlier import earlier, earlier_runs
from harbor_aws.producer.estimate.history import RUNS_PER_TASK
from harbor_aws.producer.estimate.run import run_of
from harbor_aws.producer.estimate.used import uses_of
from harbor_aws.producer.planfile import PlannedTrial, dump_plan
from harbor_aws.producer.profile import PodUse, TaskRun
from harbor_aws.producer.state import CommittedResult, Phase, TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor_aws.producer.usage import PodUsage


REWARDS: dict[str, float | int] = {"reward": 1}


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

    def commit(self, job: str, trial: str, *pods: PodUsage, **facts: Any) -> None:
        self.objects[result_key(job, trial)] = committed(trial, *pods, **facts).model_dump_json().encode()

    def die(self, job: str, trial: str, reason: str, *pods: PodUsage) -> None:
        state = TrialState(
            trial=trial, phase=Phase.DEAD, attempt=2, worker="w", since=BEGAN, reason=reason, pods=list(pods)
        )
        self.objects[state_key(job, trial)] = state.model_dump_json().encode()


def committed(
    trial: str,
    *pods: PodUsage,
    seconds: float = 100,
    rewards: dict[str, float | int] | None = REWARDS,
    exception: str | None = None,
    **result: Any,
) -> CommittedResult:
    times = {"started_at": BEGAN.isoformat(), "finished_at": (BEGAN + timedelta(seconds=seconds)).isoformat()}
    return CommittedResult(
        trial=trial,
        attempt=1,
        attempt_id="a",
        archive="x",
        worker="w",
        committed_at=BEGAN,
        rewards=rewards,
        exception_type=exception,
        pods=list(pods),
        result={**times, **result},
    )


def uses(store: Store, *trials: PlannedTrial) -> dict[TaskRun, PodUse]:
    return uses_of(store, trials)  # type: ignore[arg-type]  # a bucket to its readers


def runs(store: Store, *trials: PlannedTrial, like: str | None = None) -> list[tuple[str, str, float]]:
    found = earlier_runs(store, trials, like=like)  # type: ignore[arg-type]  # a bucket to its readers
    return [(run.job, run.trial, run.seconds) for run in found]


def test_runs_of_the_same_tasks_by_the_same_agent() -> None:
    """Of all jobs, whatever the task is called; not of other files, other agents, or without a result."""
    store = Store()
    store.job("old", planned("a"), planned("other", task="x", bundle="x"), planned("unfinished"))
    store.job("new", planned("b", task="renamed"), planned("c", bundle="changed"))
    store.job("oracles", planned("d", agent={"name": "oracle"}))
    for job, trial in (("old", "a"), ("old", "other"), ("new", "b"), ("new", "c"), ("oracles", "d")):
        store.commit(job, trial)
    assert runs(store, planned("mine")) == [("new", "b", 100), ("old", "a", 100)]
    assert runs(store, planned("mine", task="never", bundle="never")) == []


def test_the_name_counts_where_the_files_were_never_run() -> None:
    """However many runs of another's files are newer, they are not counted instead of the same files'."""
    store = Store()
    store.job("old", planned("same"))
    store.commit("old", "same")
    store.job("new", *(planned(f"other{number}", bundle="others") for number in range(RUNS_PER_TASK)))
    for number in range(RUNS_PER_TASK):
        store.commit("new", f"other{number}")
    assert runs(store, planned("mine")) == [("old", "same", 100)]
    assert len(runs(store, planned("mine", bundle="never"))) == RUNS_PER_TASK


def test_what_failed_is_no_run() -> None:
    """However many did and how lately; an agent that used all its time is one, if not for what it used."""
    store = Store()
    store.job("good", planned("whole"), planned("slow"))
    store.commit("good", "whole", usage(peak=700))
    store.commit("good", "slow", usage(peak=900, seconds=5000), exception="AgentTimeoutError", rewards=None)
    failed = {f"t{number}": "NonZeroAgentExitCodeError" if number % 2 else None for number in range(2 * RUNS_PER_TASK)}
    store.job("bad", *map(planned, failed))
    for trial, exception in failed.items():
        store.commit("bad", trial, usage(seconds=15, peak=10), exception=exception, rewards=None)
    assert runs(store, planned("mine")) == [("good", "whole", 1020), ("good", "slow", 5020)]
    (use,) = uses(store, planned("mine")).values()
    assert (use.runs, use.peak_memory_mib) == (1, 700)


def test_time_outs_keep_no_whole_run_out() -> None:
    """What is not wanted does not count among the few that are taken."""
    store = Store()
    store.job("whole", planned("whole"))
    store.commit("whole", "whole", usage())
    store.job("slow", *(planned(f"t{number}") for number in range(RUNS_PER_TASK)))
    for number in range(RUNS_PER_TASK):
        store.commit("slow", f"t{number}", usage(), exception="AgentTimeoutError")
    assert [use.runs for use in uses(store, planned("mine")).values()] == [1]


def test_a_run_that_is_not_to_be_verified_is_whole_without_rewards() -> None:
    """It has all that it was to have."""
    result = committed("a", rewards=None)
    for config in ({"verifier": {"disable": True}}, {"install_only": True}):
        found = run_of("job", planned("a", **config), result)
        assert found is not None
        assert found.is_whole
    assert run_of("job", planned("a"), result) is None


def test_use_is_that_of_the_same_work() -> None:
    """Not of an agent that is told otherwise, or has more time; sizes and names make no other work of it."""
    store = Store()
    same = planned("same", environment={"override_memory_mb": 9000}, trial_name="same", job_id="1")
    told = planned("told", agent={"name": "nop", "kwargs": {"effort": "high"}})
    longer = planned("longer", timeout_multiplier=2.0)
    store.job("job", same, told, longer)
    for trial, peak in ((same, 100), (told, 2000), (longer, 3000)):
        store.commit("job", trial.trial, usage(peak=peak))
    (use,) = uses(store, planned("mine")).values()
    assert (use.runs, use.peak_memory_mib) == (1, 100)


def test_what_another_version_wrote_is_passed_over() -> None:
    """Plans, results and states that cannot be read; the others are."""
    store = Store()
    store.job("good", *map(planned, "abc"))
    store.commit("good", "a", usage())
    store.objects[result_key("good", "b")] = b'{"trial": 1}'
    store.objects[state_key("good", "c")] = b"nothing"
    store.job("strange", planned("a"))
    store.commit("strange", "a")
    store.objects[job_key("strange", PLAN_NAME)] = b'{"a": "plan"}'
    assert runs(store, planned("mine")) == [("good", "a", 1020)]
    assert [use.runs for use in uses(store, planned("mine")).values()] == [1]


@pytest.mark.parametrize("refusal", [PermanentError("S3 refused it"), TransientError("Slow down")])
def test_a_bucket_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    """There are no runs then; who named a job gets the error."""

    def refuse(*_: object) -> bytes:
        raise refusal

    store: Any = Store()
    store.job("job", planned("a"))
    monkeypatch.setattr(store, "get", refuse)
    assert earlier(store, [planned("mine")]) == ([], str(refusal))
    with pytest.raises(type(refusal)):
        earlier(store, [planned("mine")], like="job")


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
    store.job("job", *(planned(name) for name in "abc"), planned("d", bundle="fine"))
    oom = f"{OutOfMemoryError.__name__}: Pod pod ended: OOMKilled."
    for trial, limit, reason in (("a", 4000, oom), ("b", 3000, oom), ("c", 9000, "PodStartError: no such image")):
        store.die("job", trial, reason, usage(memory_limit_mib=limit))
    store.die("job", "d", oom, usage())
    store.commit("job", "d")
    found = uses(store, planned("mine"), planned("mine", bundle="fine"))
    work = work_of(planned("mine").trial_config)
    assert {key: use.killed_at_mib for key, use in found.items()} == {TaskRun("files", work): 4000}


def test_what_was_killed_is_the_pod_that_the_reason_names() -> None:
    """A trial's other pods had enough; of an older record the size alone is known."""
    store = Store()
    store.job("job", planned("a"), planned("b", bundle="older"))
    oom = f"{OutOfMemoryError.__name__}: Pod agents ended: OOMKilled."
    store.die("job", "a", oom, usage(name="verifiers", memory_limit_mib=9000), usage(name="agents", memory_limit_mib=1))
    store.die("job", "b", oom, usage(name="agents"))
    found = uses(store, planned("mine"), planned("mine", bundle="older"))
    assert {key.bundle: use.killed_at_mib for key, use in found.items()} == {"files": 1, "older": 16 * 1024 - 256}
