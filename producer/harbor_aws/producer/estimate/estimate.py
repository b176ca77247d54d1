"""The estimate of a run, as a value. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, computed_field

from harbor_aws.infra.fargate_prices import PRICES_DATE, PRICES_REGION, pod_usd_per_hour
from harbor_aws.producer.cost import Cost
from harbor_aws.producer.estimate.alike import agent_of
from harbor_aws.producer.estimate.bill import Bill, bill, consumption_of, pods_of, usd_of
from harbor_aws.producer.estimate.forecast import TaskTimes, forecast
from harbor_aws.producer.estimate.right_size import RightSized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor_aws.producer.estimate.earlier import Earlier
    from harbor_aws.producer.estimate.forecast import TrialTimes
    from harbor_aws.producer.estimate.room import Room
    from harbor_aws.producer.planfile import PlannedTrial


class SizedPods(BaseModel):
    """Pods of one size."""

    model_config = ConfigDict(frozen=True)

    vcpus: float
    memory_gb: float
    storage_gib: int
    pods: int
    usd_per_hour: float
    """Of one."""


class Estimate(BaseModel):
    """What trials will cost, and how long they will take."""

    model_config = ConfigDict(frozen=True)

    what: str
    trials: int
    """That are to run."""
    tasks: int
    sizes: list[SizedPods]
    at_most: Bill
    """If every trial takes all the time that it may."""
    unbounded: int
    """Trials whose task does not bound them, so that only the deadline of every attempt does."""
    about: Bill | None
    """As earlier runs went; ``None`` if there are none."""
    not_in_about: int = 0
    """Trials that are not in it: nothing is known of their agents."""
    unread: str | None = None
    """Why earlier runs could not be read."""
    runs: int = 0
    """Whose durations those are."""
    jobs: list[str] = []
    """Whose runs those are."""
    task_times: list[TaskTimes] = []
    spent: Cost | None = None
    """What the trials of the job have cost that have begun; ``None`` of a run that is no job yet."""
    running: int = 0
    """Trials that run now: what they have cost is in ``spent``, and all of them once more in both bills."""
    vcpus: float
    """That trials, workers and the cluster's own pods may have."""
    vcpus_source: str
    vcpus_assumed: bool
    """Whether that is a new account's, because nobody could be asked."""
    concurrency: int | None = None
    right_sized: list[RightSized] = []
    saved_usd: float | None = None
    """By those sizes, of the trials' pods; by earlier durations if they are known, else of the most."""
    prices_region: str = PRICES_REGION
    prices_date: str = PRICES_DATE

    @computed_field  # type: ignore[prop-decorator]  # mypy takes no decorator above a property
    @property
    def pods(self) -> int:
        return sum(size.pods for size in self.sizes)


def estimate(
    what: str,
    trials: Sequence[PlannedTrial],
    earlier: Earlier,
    *,
    room: Room,
    any_agent: bool = False,
    spent: Cost | None = None,
    running: int = 0,
    right_sized: Sequence[RightSized] = (),
) -> Estimate:
    """What ``trials`` will cost.

    Args:
        earlier: runs of the same tasks.
        any_agent: whether runs by other agents count.
        spent: what the job has cost already.
        running: how many of the trials run now.
        right_sized: what was changed in the trials' sizes.
    """
    expected = forecast(trials, earlier.runs, any_agent=any_agent)
    times = expected.times if expected else {}
    known = [trial for trial in trials if trial.trial in times]
    at_most = bill(trials, None, limits=room.limits)
    about = bill(known, times, limits=room.limits) if known else None
    return Estimate(
        what=what,
        trials=len(trials),
        tasks=len({trial.bundle for trial in trials}),
        sizes=_sizes(trials),
        at_most=at_most,
        unbounded=sum(not all(pod.is_bounded for pod in pods_of(trial)) for trial in trials),
        about=about,
        not_in_about=len(trials) - len(known) if known else 0,
        unread=earlier.unread,
        runs=expected.runs if expected else 0,
        jobs=expected.jobs if expected else [],
        task_times=expected.tasks if expected else [],
        spent=spent,
        running=running,
        vcpus=room.vcpus,
        vcpus_source=room.source,
        vcpus_assumed=room.is_assumed,
        concurrency=room.concurrency,
        right_sized=list(right_sized),
        saved_usd=_saved(right_sized, trials, times) if right_sized else None,
    )


def _sizes(trials: Sequence[PlannedTrial]) -> list[SizedPods]:
    counts = Counter(pod.size for trial in trials for pod in pods_of(trial))
    return [
        SizedPods(
            vcpus=size.cpu_millis / 1000,
            memory_gb=size.memory_mib / 1024,
            storage_gib=size.storage_gib,
            pods=pods,
            usd_per_hour=pod_usd_per_hour(size),
        )
        for size, pods in sorted(counts.items())
    ]


def _saved(changes: Sequence[RightSized], trials: Sequence[PlannedTrial], times: Mapping[str, TrialTimes]) -> float:
    """Dollars that the trials' pods would cost more with the sizes that they had before."""
    before = {(change.task, change.agent): change.before for change in changes}
    as_before = []
    for trial in trials:
        sizes = before.get((trial.task, agent_of(trial.trial_config))) or [pod.size for pod in trial.pods]
        pods = tuple(pod.resized(size) for pod, size in zip(trial.pods, sizes, strict=True))
        as_before.append(trial.model_copy(update={"pods": pods}))
    return usd_of(consumption_of(as_before, times)) - usd_of(consumption_of(trials, times))
