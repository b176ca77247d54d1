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

from harbor_aws.producer.estimate.alike import agent_of, likenesses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.producer.estimate.alike import Likeness
    from harbor_aws.producer.estimate.run import Run
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
    """How long trials will take."""

    model_config = ConfigDict(frozen=True)

    times: dict[str, TrialTimes]
    """By the trial's name; without trials of agents of which nothing was measured."""
    tasks: list[TaskTimes]
    """Of those trials."""
    runs: int
    jobs: list[str]
    """Whose runs they are."""


def forecast(trials: Sequence[PlannedTrial], runs: Sequence[Run], *, any_agent: bool = False) -> Forecast | None:
    """What ``runs`` let expect of ``trials``; ``None`` if that is nothing.

    A trial is like the runs of the same files by the same agent; else of the task's name by the same agent; with
    ``any_agent`` else by whomever; else like all runs of its agent; with ``any_agent`` else like all.
    """
    known = _Known(runs, any_agent=any_agent)
    of_task: defaultdict[tuple[str, str, str], list[PlannedTrial]] = defaultdict(list)
    for trial in trials:
        of_task[trial.task, trial.bundle, agent_of(trial.trial_config)].append(trial)
    tasks: list[TaskTimes] = []
    never_run: defaultdict[str, list[PlannedTrial]] = defaultdict(list)
    used: dict[int, Run] = {}
    times: dict[str, TrialTimes] = {}
    for (task, bundle, agent), same in of_task.items():
        measured = known.of(task=task, bundle=bundle, agent=agent)
        others = known.by(agent)
        if measured:
            times |= _spread(same, measured)
        elif others:
            never_run[agent] += same
        else:
            continue
        tasks.append(_task_times(task, agent, len(same), measured))
        used |= {id(run): run for run in measured or others}
    for agent, same in never_run.items():
        times |= _spread(same, known.by(agent))
    jobs = list(dict.fromkeys(run.job for run in used.values()))
    return Forecast(times=times, tasks=tasks, runs=len(used), jobs=jobs) if times else None


class _Known:
    """Runs by what they are runs of."""

    def __init__(self, runs: Sequence[Run], *, any_agent: bool) -> None:
        self._any_agent = any_agent
        self._runs: defaultdict[Likeness, list[Run]] = defaultdict(list)
        self._by: defaultdict[str, list[Run]] = defaultdict(list)
        self._all = runs
        for run in runs:
            self._by[run.agent].append(run)
            for likeness in self._likenesses(task=run.task, bundle=run.bundle, agent=run.agent):
                self._runs[likeness].append(run)

    def of(self, *, task: str, bundle: str, agent: str) -> list[Run]:
        """Those that a trial is like the most."""
        alike = self._likenesses(task=task, bundle=bundle, agent=agent)
        return next((self._runs[likeness] for likeness in alike if likeness in self._runs), [])

    def by(self, agent: str) -> Sequence[Run]:
        """Those that a trial is like whose task was never run."""
        return self._all if self._any_agent and agent not in self._by else self._by.get(agent, [])

    def _likenesses(self, *, task: str, bundle: str, agent: str) -> list[Likeness]:
        return likenesses(task=task, bundle=bundle, agent=agent, any_agent=self._any_agent)


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
