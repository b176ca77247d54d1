"""From trials and how long they take to what is billed, and when it is over. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, computed_field

from harbor_aws.infra.capacity import Limit, Limits, NeverRunsError, TrialDemand, simulate
from harbor_aws.infra.deploy.prices import DEFAULT_TRIAL, TRIALS_PER_WORKER, WORKER
from harbor_aws.infra.fargate_prices import pod_usd_per_hour, usd
from harbor_aws.producer.estimate.pods import TRIAL_DEADLINE_SECONDS, PlannedPod
from harbor_aws.producer.usage import Consumption, consumed, total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor_aws.infra.capacity import Run
    from harbor_aws.producer.estimate.forecast import TrialTimes
    from harbor_aws.producer.planfile import PlannedTrial

_ASSUMED = PlannedPod(
    role="agent",
    cpu_millis=DEFAULT_TRIAL.cpu_millis,
    memory_mib=DEFAULT_TRIAL.memory_mib,
    start_seconds=0.0,
    busy_seconds=TRIAL_DEADLINE_SECONDS,
    is_bounded=False,
)
"""Of a trial whose plan, by an older version, does not say what it starts."""


class Bill(BaseModel):
    """What some trials cost, and how long they take altogether."""

    model_config = ConfigDict(frozen=True)

    consumption: Consumption
    """Of the trials' pods."""
    pods_usd: float
    worker_hours: float
    workers_usd: float
    seconds: float | None
    """From the first message until the last result, images being there; ``None`` if not all of it can ever run."""
    limited_by: Limit | None
    """What the trials wait for the longest, if they wait."""
    never: str | None
    """Why some trial can never run; ``None`` if all can."""
    trials_at_once: int
    vcpus_at_once: float
    """Of the trials' pods."""

    @computed_field  # type: ignore[prop-decorator]  # mypy takes no decorator above a property
    @property
    def usd(self) -> float:
        return self.pods_usd + self.workers_usd


def bill(trials: Sequence[PlannedTrial], times: Mapping[str, TrialTimes] | None, *, limits: Limits) -> Bill:
    """What trials cost that take these times, or all the time that their limits give them.

    Every trial is counted once: what an attempt cost that the infrastructure failed comes on top.
    """
    demand = [_demand(trial, times.get(trial.trial) if times else None, limits) for trial in trials]
    consumption = consumption_of(trials, times)
    try:
        run = simulate(demand, limits)
    except NeverRunsError as error:
        worker_seconds = sum(each.seconds for each in demand) / TRIALS_PER_WORKER
        pace = {"seconds": None, "limited_by": None, "never": str(error), "trials_at_once": 0, "vcpus_at_once": 0.0}
    else:
        worker_seconds = run.worker_seconds
        pace = {
            "seconds": run.wall_clock_seconds,
            "limited_by": _binding(run, limits),
            "never": None,
            "trials_at_once": run.peak_pods,
            "vcpus_at_once": run.peak_vcpus,
        }
    return Bill.model_validate(
        {
            "consumption": consumption,
            "pods_usd": usd_of(consumption),
            "worker_hours": worker_seconds / 3600,
            "workers_usd": worker_seconds / 3600 * pod_usd_per_hour(WORKER),
            **pace,
        }
    )


def consumption_of(trials: Sequence[PlannedTrial], times: Mapping[str, TrialTimes] | None) -> Consumption:
    """What the trials' pods are billed for; a trial without times takes all that it may."""
    return total(
        consumed(pod.size, duration=timedelta(seconds=seconds))
        for trial in trials
        for pod, seconds in _lasting(trial, times.get(trial.trial) if times else None)
    )


def usd_of(consumption: Consumption) -> float:
    """What so much costs."""
    return usd(
        vcpu_hours=consumption.vcpu_hours,
        memory_gb_hours=consumption.memory_gb_hours,
        storage_gb_hours=consumption.storage_gb_hours,
    )


def pods_of(trial: PlannedTrial) -> tuple[PlannedPod, ...]:
    """The trial's pods; of an older version's plan, one of the default size."""
    return trial.pods or (_ASSUMED,)


def _lasting(trial: PlannedTrial, times: TrialTimes | None) -> list[tuple[PlannedPod, float]]:
    """The trial's pods, and how many seconds each is there."""
    pods = pods_of(trial)
    if times is None:
        return [(pod, pod.seconds) for pod in pods]
    verifiers = sum(pod.role == "verifier" for pod in pods)
    return [(pod, times.agent if pod.role == "agent" else times.verifier / verifiers) for pod in pods]


def _demand(trial: PlannedTrial, times: TrialTimes | None, limits: Limits) -> TrialDemand:
    """The trial as the model of capacity has it: one pod after the other, as large as what is there at once.

    A start that is longer than a node's is an image's, and is told as its size.
    """
    pods = _lasting(trial, times)
    in_turn = [(pod, seconds) for pod, seconds in pods if not pod.is_beside_agent]
    beside_millis = max((pod.cpu_millis for pod, _ in pods if pod.is_beside_agent), default=0)
    if times is None:
        whole = sum(pod.start_seconds for pod, _ in in_turn)
        pull = sum(max(0.0, pod.start_seconds - limits.node_seconds_most) for pod, _ in in_turn)
    else:
        whole = pull = times.start * len(in_turn) / len(pods)
    return TrialDemand(
        cpu_millis=max(pod.cpu_millis + (beside_millis if pod.role == "agent" else 0) for pod, _ in in_turn),
        seconds=max(0.0, sum(seconds for _, seconds in in_turn) - whole),
        image_mib=pull * limits.pull_mib_per_second,
    )


def _binding(run: Run, limits: Limits) -> Limit | None:
    """What held up the run; fewer messages than SQS lets be in flight are slots that somebody chose."""
    chosen = limits.messages_in_flight < Limits().messages_in_flight
    return Limit.SLOTS if chosen and run.binding is Limit.IN_FLIGHT else run.binding
