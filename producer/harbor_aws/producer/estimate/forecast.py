"""How long trials will take, by how long trials of their tasks took. Pure.

The trials of a task are spread over all that was measured of it: of one trial the median is expected, of many the
whole distribution, so that they add up to what they will cost and the slow ones hold up the end as they do.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from harbor_aws.producer.estimate.pods import agent_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harbor_aws.producer.estimate.earlier import Run
    from harbor_aws.producer.planfile import PlannedTrial


@dataclass(frozen=True, slots=True)
class TrialTimes:
    """Of one trial, in seconds."""

    agent: float
    """How long its agent's pod is billed."""
    verifier: float
    """And those of separate verifiers, all together."""
    start: float
    """What of both passes before commands run in them."""


class TaskTimes(BaseModel):
    """What was measured of a task that is to run, or that it was never run."""

    model_config = ConfigDict(frozen=True)

    task: str
    agent: str
    trials: int
    """That are to run."""
    runs: int
    """That were measured; of a task with none the others' are taken."""
    median_seconds: float | None = None
    p95_seconds: float | None = None
    """Of all its pods together; with fewer than 20 runs it is the slowest."""


class Forecast(BaseModel):
    """How long every trial will take."""

    model_config = ConfigDict(frozen=True)

    times: dict[str, TrialTimes]
    """By the trial's name."""
    tasks: list[TaskTimes]
    runs: int
    jobs: list[str]
    """Whose runs they are."""


def forecast(trials: Sequence[PlannedTrial], runs: Sequence[Run], *, any_agent: bool = False) -> Forecast | None:
    """What ``runs`` let expect of ``trials``; ``None`` if there are none.

    A trial is like the runs of the same files by the same agent; else of the task's name by the same agent; with
    ``any_agent`` else by whomever; else like all runs.
    """
    if not any_agent:
        agents = {agent_of(trial.trial_config) for trial in trials}
        runs = [run for run in runs if run.agent in agents]
    if not runs:
        return None
    known = _Known(runs, any_agent=any_agent)
    of_task: defaultdict[tuple[str, str, str], list[PlannedTrial]] = defaultdict(list)
    for trial in trials:
        of_task[trial.task, trial.bundle, agent_of(trial.trial_config)].append(trial)
    tasks: list[TaskTimes] = []
    never_run: list[PlannedTrial] = []
    used: dict[int, Run] = {}
    times: dict[str, TrialTimes] = {}
    for (task, bundle, agent), same in of_task.items():
        measured = known.of(task=task, bundle=bundle, agent=agent)
        tasks.append(_task_times(task, agent, len(same), measured))
        if measured:
            times |= _spread(same, measured)
        else:
            never_run += same
        used |= {id(run): run for run in measured or runs}
    times |= _spread(never_run, runs)
    jobs = list(dict.fromkeys(run.job for run in used.values()))
    return Forecast(times=times, tasks=tasks, runs=len(used), jobs=jobs)


class _Known:
    """Runs by what they are runs of."""

    def __init__(self, runs: Iterable[Run], *, any_agent: bool) -> None:
        self._any_agent = any_agent
        self._runs: defaultdict[tuple[str, ...], list[Run]] = defaultdict(list)
        for run in runs:
            for key in (("files", run.bundle, run.agent), ("name", run.task, run.agent), ("anyone", run.task)):
                self._runs[key].append(run)

    def of(self, *, task: str, bundle: str, agent: str) -> list[Run]:
        keys: list[tuple[str, ...]] = [("files", bundle, agent), ("name", task, agent)]
        if self._any_agent:
            keys.append(("anyone", task))
        return next((self._runs[key] for key in keys if key in self._runs), [])


def _task_times(task: str, agent: str, trials: int, runs: Sequence[Run]) -> TaskTimes:
    seconds = sorted(run.seconds for run in runs)
    if not seconds:
        return TaskTimes(task=task, agent=agent, trials=trials, runs=0)
    middle = len(seconds) // 2
    return TaskTimes(
        task=task,
        agent=agent,
        trials=trials,
        runs=len(seconds),
        median_seconds=(seconds[middle] + seconds[~middle]) / 2,
        p95_seconds=seconds[ceil(0.95 * len(seconds)) - 1],
    )


def _spread(trials: Sequence[PlannedTrial], runs: Sequence[Run]) -> dict[str, TrialTimes]:
    """The trials at even distances over the runs in the order of their length."""
    ordered = sorted(runs, key=lambda run: run.seconds)
    return {
        trial.trial: _between(ordered, (number + 0.5) / len(trials) * len(ordered) - 0.5)
        for number, trial in enumerate(trials)
    }


def _between(ordered: Sequence[Run], place: float) -> TrialTimes:
    """What is at a place that lies between two runs, or beyond the last ones."""
    place = min(max(place, 0.0), len(ordered) - 1.0)
    below, part = int(place), place % 1
    above = min(below + 1, len(ordered) - 1)

    def mixed(name: str) -> float:
        low, high = getattr(ordered[below], name), getattr(ordered[above], name)
        return float(low + (high - low) * part)

    return TrialTimes(agent=mixed("agent_seconds"), verifier=mixed("verifier_seconds"), start=mixed("start_seconds"))
