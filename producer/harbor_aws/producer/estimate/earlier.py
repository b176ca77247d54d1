"""What trials of the same tasks took before. Blocking."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.producer.estimate.alike import LIKENESSES, LIKENESSES_OF_ANYBODY, agent_of, likenesses
from harbor_aws.producer.estimate.history import READS_AT_ONCE, ended, first_runs, newest_or_named

if TYPE_CHECKING:
    from collections.abc import Collection

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.estimate.alike import Likeness
    from harbor_aws.producer.estimate.run import Run
    from harbor_aws.producer.planfile import PlannedTrial


class Earlier(NamedTuple):
    """What is known of earlier runs."""

    runs: list[Run]
    unread: str | None = None
    """Why they could not be read."""


def earlier(store: ObjectStore, trials: Collection[PlannedTrial], *, like: str | None = None) -> Earlier:
    """Runs of the tasks of ``trials``; none if they cannot be read, which is no reason to say nothing of a price.

    Args:
        like: see :func:`earlier_runs`; whoever names a job is told that it cannot be read.

    Raises:
        UsageError: there is no such job.
        InfrastructureError: it cannot be read.
    """
    try:
        return Earlier(earlier_runs(store, trials, like=like))
    except InfrastructureError as error:
        if like is not None:
            raise
        return Earlier([], str(error))


def earlier_runs(store: ObjectStore, trials: Collection[PlannedTrial], *, like: str | None = None) -> list[Run]:
    """Runs of the tasks of ``trials``: of the same files, and of what has only its name in common if there are none.

    Args:
        like: the job whose runs they are, by whatever agent. ``None``: the newest jobs' by the trials' own agents.

    Raises:
        UsageError: there is no such job.
        InfrastructureError: the bucket cannot be read.
    """
    found: dict[tuple[str, str], Run] = {}
    unknown = list(trials)
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        jobs = newest_or_named(store, pool, like=like)
        for closeness in range(LIKENESSES if like is None else LIKENESSES_OF_ANYBODY):
            likeness = partial(_likeness, closeness=closeness, any_agent=like is not None)
            groups = ended(jobs, likeness, {likeness(trial) for trial in unknown})
            measured = first_runs(store, pool, groups, is_wanted=lambda _: True)
            found |= {(run.job, run.trial): run for runs in measured.values() for run in runs}
            unknown = [trial for trial in unknown if not measured.get(likeness(trial))]
    return list(found.values())


def _likeness(trial: PlannedTrial, *, closeness: int, any_agent: bool) -> Likeness:
    agent = agent_of(trial.trial_config)
    return likenesses(task=trial.task, bundle=trial.bundle, agent=agent, any_agent=any_agent)[closeness]
