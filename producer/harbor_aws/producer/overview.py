"""Where a job stands, as a value. Every trial of its plan is counted exactly once, whatever moves while it is read.

States are listed before results: a trial that moves on in between has its result, and the result wins. Only trials
without a result have their state read, and only results that were not read before are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor.metrics.mean import Mean
from pydantic import BaseModel, ConfigDict, ValidationError

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.layout import result_key, results_prefix, state_key, states_prefix, trial_of
from harbor_aws.producer.cost import Cost, cost
from harbor_aws.producer.planfile import load_plan
from harbor_aws.producer.state import CommittedResult, Phase, TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.planfile import PlannedTrial

QUEUED = "queued"
"""What a trial is that nobody has taken up."""

_READS_AT_ONCE = 32


class FlyingTrial(BaseModel):
    """A trial that a worker has, or that is dead or waiting to be tried again."""

    model_config = ConfigDict(frozen=True)

    trial: str
    phase: Phase
    attempt: int
    age_seconds: float
    """How long it has been in this phase."""
    pod: str | None
    worker: str
    reason: str | None
    logs: str | None


class EvalRewards(BaseModel):
    """The committed results of one agent and model on one dataset."""

    model_config = ConfigDict(frozen=True)

    results: int
    mean: dict[str, float]
    """Harbor's mean by reward, a missing reward being 0."""


class Overview(BaseModel):
    """A job at one moment."""

    model_config = ConfigDict(frozen=True)

    job: str
    trials: int
    """Trials of the job's plan."""
    phases: dict[str, int]
    """Trials by phase and ``queued``; they add up to ``trials``."""
    in_flight: list[FlyingTrial]
    waiting: list[FlyingTrial]
    """In the queue again, with the reason."""
    dead: list[FlyingTrial]
    rewards: dict[str, EvalRewards]
    """By Harbor's evaluation key: agent, model, dataset."""
    exceptions: dict[str, int]
    """Exceptions that are part of committed results, by type."""
    cost: Cost
    """What its trials have cost so far, whatever came of them."""

    @property
    def committed(self) -> int:
        return self.phases.get(Phase.COMMITTED, 0)

    @property
    def ended(self) -> int:
        """Trials that have a result or are dead letters."""
        return self.committed + self.phases.get(Phase.DEAD, 0)


class JobReader:
    """Reads one job again and again, and each of its results once."""

    def __init__(self, store: ObjectStore, job: str) -> None:
        """Raise :class:`~harbor_aws.infra.errors.UsageError` if there is no such job."""
        self._store = store
        self._job = job
        self._plan = load_plan(store, job)
        self._results: dict[str, CommittedResult] = {}
        self._etags: dict[str, str] = {}

    @property
    def plan(self) -> list[PlannedTrial]:
        return self._plan

    @property
    def results(self) -> Mapping[str, CommittedResult]:
        """By trial, as of the last :meth:`read`."""
        return self._results

    def read(self) -> Overview:
        """Where the job stands now."""
        with_state = {trial_of(row.key) for row in self._store.list(states_prefix(self._job))}
        results = {trial_of(row.key): row.etag for row in self._store.list(results_prefix(self._job))}
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            new = [trial for trial, etag in results.items() if self._etags.get(trial) != etag]
            states = pool.map(self._state, sorted(with_state - results.keys()))
            self._results |= {result.trial: result for result in pool.map(self._result, new) if result}
            self._etags = results
            return _overview(self._job, self._plan, self._results, [state for state in states if state])

    def _state(self, trial: str) -> TrialState | None:
        body = self._store.get(state_key(self._job, trial))
        return _parsed(TrialState, body, trial) if body else None

    def _result(self, trial: str) -> CommittedResult | None:
        body = self._store.get(result_key(self._job, trial))
        return _parsed(CommittedResult, body, trial) if body else None


def _parsed[M: BaseModel](model: type[M], body: bytes, trial: str) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise PermanentError(
            f"What the bucket holds of trial {trial} was not written by this version of harbor-aws, or by none: "
            f"{error.error_count()} fields make no sense. Use the version that the workers have."
        ) from error


def _overview(
    job: str, plan: Iterable[PlannedTrial], results: dict[str, CommittedResult], states: Iterable[TrialState]
) -> Overview:
    now = datetime.now(UTC)
    phases: dict[str, str] = {trial.trial: QUEUED for trial in plan}
    known = [state for state in states if state.trial in phases]
    phases |= {state.trial: state.phase for state in known}
    phases |= dict.fromkeys(results.keys() & phases.keys(), Phase.COMMITTED)
    flying = sorted((_flying(state, now) for state in known), key=lambda trial: -trial.age_seconds)
    return Overview(
        job=job,
        trials=len(phases),
        phases=dict(Counter(phases.values())),
        in_flight=[trial for trial in flying if trial.phase.is_in_flight],
        waiting=[trial for trial in flying if trial.phase in (Phase.RETRYING, Phase.HANDED_BACK)],
        dead=[trial for trial in flying if trial.phase == Phase.DEAD],
        rewards=_rewards(results.values()),
        exceptions=dict(Counter(result.exception_type for result in results.values() if result.exception_type)),
        cost=cost(
            [
                *(result.consumed for result in results.values()),
                *(state.consumption(now=now) for state in known),
            ]
        ),
    )


def _flying(state: TrialState, now: datetime) -> FlyingTrial:
    return FlyingTrial(
        trial=state.trial,
        phase=state.phase,
        attempt=state.attempt,
        age_seconds=round(max(0.0, (now - state.since).total_seconds()), 1),
        pod=state.pod,
        worker=state.worker,
        reason=state.reason,
        logs=state.logs,
    )


def _rewards(results: Iterable[CommittedResult]) -> dict[str, EvalRewards]:
    by_eval: defaultdict[str, list[dict[str, float | int] | None]] = defaultdict(list)
    for result in results:
        by_eval[_eval_key(result)].append(result.rewards)
    return {
        key: EvalRewards(
            results=len(rewards), mean={name: float(value) for name, value in Mean().compute(rewards).items()}
        )
        for key, rewards in sorted(by_eval.items())
    }


def _eval_key(result: CommittedResult) -> str:
    agent = result.result["agent_info"]
    model = (agent.get("model_info") or {}).get("name")
    dataset = result.result.get("source") or "adhoc"
    return "__".join(part for part in (agent["name"], model, dataset) if part)
