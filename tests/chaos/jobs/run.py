"""Runs jobs on a stack of real processes, breaks it meanwhile, and says what became of the trials."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.jobs.aws_proxy import AwsProxy
from tests.chaos.jobs.deeds import MOST_WORKERS, WORKERS, Field, do_all
from tests.chaos.jobs.events import Kind
from tests.chaos.jobs.fleet import PRESENCE_SECONDS, SLOTS, STACK, Fleet
from tests.chaos.jobs.history import History
from tests.chaos.jobs.operator import Operator
from tests.chaos.jobs.pods import Pods
from tests.chaos.jobs.poison_agent import IMPORT_PATH
from tests.chaos.jobs.report import Report
from tests.chaos.jobs.verdict import Ends, Expected, Trial, judge
from tests.chaos.jobs.workload import REWARDS, make_poison, make_tasks, make_unpullable
from tests.chaos.proxy import ChaosProxy
from tests.integration.moto_stack import make_stack

from harbor_aws.infra.layout import results_prefix, trial_of
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue, QueueCounts
from harbor_aws.producer.planfile import load_plan
from harbor_aws.producer.state import CommittedResult
from harbor_aws.worker.outcome import LONGEST_WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.chaos.jobs.ground import Ground

    from harbor_aws.infra.stack import Stack

RECEIVES = 8
"""After so many receives SQS moves a message to the dead-letter queue."""

ATTEMPTS = 6
PLACES = [f"w{number}" for number in range(1, MOST_WORKERS + 1)]
ORACLE = ("-a", "oracle")
POISON = ("--agent-import-path", IMPORT_PATH)

SETTLE_SECONDS = LONGEST_WAIT_SECONDS + 120.0
"""How long nothing may happen while trials are on their way, once nothing is broken any more: longer than any of them
waits in the queue."""

_EMPTY = QueueCounts(visible=0, in_flight=0, delayed=0)
_CLEAN_SECONDS = 2 * PRESENCE_SECONDS + 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, and what is broken."""

    seed: int
    seconds: float
    """How long things are broken; every kind of fault happens once at least, so it may take longer."""
    repeats: int = 12
    """Of each task, in each job; a further job follows when little is left to do."""
    long_freeze_seconds: float = 0.0
    """How long one worker, with trials that run, is frozen from the beginning."""
    away_seconds: float = 30.0
    receives: int = RECEIVES
    slots: int = SLOTS


@dataclass
class Scene:
    """A stack with its workers, its operator and what can be broken. Make it with :meth:`set`."""

    stack: Stack
    history: History
    fleet: Fleet
    pods: Pods
    aws: AwsProxy
    kubernetes: ChaosProxy
    operator: Operator
    _expected: dict[str, Callable[[str], Expected]] = field(default_factory=dict)
    _unsettled: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def set(
        cls,
        ground: Ground,
        directory: Path,
        *,
        without: str | None = None,
        receives: int = RECEIVES,
        slots: int = SLOTS,
    ) -> AsyncIterator[Scene]:
        """Everything is there, and no worker runs yet.

        Args:
            without: what the workers do without; see :mod:`tests.chaos.jobs.worker`.
            receives: see :data:`RECEIVES`.
            slots: trials that a worker runs at once.
        """
        async with (
            History.open(directory / "history.jsonl") as history,
            AwsProxy.open(ground.aws, history) as aws,
            ChaosProxy.open(ground.access, kubeconfig=directory / "kubeconfig") as kubernetes,
            Pods.open(ground.access, history) as pods,
        ):
            bare = make_stack(ground.aws, kubeconfig=directory / "kubeconfig", max_receive_count=receives)
            access = kubernetes.access
            stack = bare.model_copy(update={"name": STACK, "trials": access, "workers": access})
            aws.dead_letter_queue_url = stack.dead_letter_queue_url
            ways = {name: await aws.way_for(name) for name in (*PLACES, "producer")}
            stacks = {name: stack.model_copy(update={"endpoint_url": way}) for name, way in ways.items()}
            operator = Operator(stacks.pop("producer"), directory=directory / "operator")
            async with Fleet.open(
                stacks, history, directory=directory / "workers", slots=slots, without=without
            ) as fleet:
                yield cls(stack, history, fleet, pods, aws, kubernetes, operator)

    async def enqueue(
        self,
        tasks: Path,
        job: str,
        *,
        expected: Callable[[str], Expected],
        repeats: int = 1,
        attempts: int = ATTEMPTS,
        agent: tuple[str, ...] = ORACLE,
    ) -> None:
        """Put a job on the queue.

        Args:
            expected: what is expected of the trials of a task, by its name.
        """
        await self.operator.enqueue(tasks, job=job, repeats=repeats, attempts=attempts, agent=agent)
        self._expected[job] = expected

    def unfinished(self) -> int:
        """Trials on their way, as far as the history tells."""
        begun = {event.place for event in self.history.events if event.kind is Kind.SENT}
        ended = {event.place for event in self.history.events if event.kind in (Kind.COMMITTED, Kind.DEAD)}
        return len(begun - ended)

    async def settle(self, seconds: float = SETTLE_SECONDS) -> int:
        """Wait for all endings; dead letters that no trial should be are put back. How many those were.

        That the queue did not become empty is one of the :meth:`ends`.
        """
        replayed = 0
        while is_empty := await self._until(self._queue_is_empty, seconds, or_events=True):
            unjust = [
                letter
                for letter in await self.operator.letters()
                if letter["job"] in self._expected and letter["cause"] != self.expected_of(letter).cause
            ]
            if not unjust:
                break
            replayed += len(unjust)
            for job in sorted({letter["job"] for letter in unjust}):
                await self.operator.replay(job)
        self._unsettled = [] if is_empty else [f"the queue did not become empty, and nothing happened for {seconds} s"]
        return replayed

    def expected_of(self, letter: dict[str, str]) -> Expected:
        return self._expected[letter["job"]](letter["trial"].partition("__")[0])

    async def ends(self) -> Ends:
        """Let go of the workers, and see what is left."""
        if await self._until(self._has_no_pods, _CLEAN_SECONDS):
            await self._until(self._has_just_the_living, _CLEAN_SECONDS)
        self.fleet.scale(0)
        await self.fleet.until_ended()
        letters = await self.operator.letters()
        on_disk = [found for place in self.fleet.places for found in place.left_on_disk()]
        queued = Queue.trials(self.stack).counts().total
        return Ends(
            rewards=self._rewards(),
            letters=[((letter["job"] or "", letter["trial"] or ""), letter["cause"]) for letter in letters],
            left=[
                *self._unsettled,
                *await self.pods.left(),
                *on_disk,
                *([f"{queued} messages"] if queued else []),
            ],
        )

    def expected(self) -> dict[Trial, Expected]:
        """Of every trial of every job, by the jobs' plans."""
        return {
            (job, planned.trial): expected(planned.trial.partition("__")[0])
            for job, expected in self._expected.items()
            for planned in load_plan(self._store, job)
        }

    def report(self, ends: Ends, *, seed: int, cluster: str, seconds: float, replayed: int) -> Report:
        """The verdict over all that happened."""
        expected = self.expected()
        verdict = judge(expected, ends, self.history.events)
        faults = {**self.history.faults(), **{f"connection: {name}": n for name, n in self.kubernetes.counts.items()}}
        return Report(
            seed=seed,
            cluster=cluster,
            seconds=round(seconds),
            trials=len(expected),
            attempts=sum(event.kind is Kind.PHASE and event.note == "starting" for event in self.history.events),
            results=len(ends.rewards),
            dead_letters=sum(should.cause is not None for should in expected.values()),
            replayed=replayed,
            faults=faults,
            lost=len(verdict.lost),
            doubled=len(verdict.doubled),
            left=len(verdict.left),
            wrong=len(verdict.wrong),
            findings=verdict.findings,
        )

    @property
    def _store(self) -> ObjectStore:
        return ObjectStore.of(self.stack)

    def _rewards(self) -> dict[Trial, float | None]:
        rewards: dict[Trial, float | None] = {}
        store = self._store
        for job in self._expected:
            for row in store.list(results_prefix(job)):
                result = CommittedResult.model_validate_json(store.get(row.key) or b"")
                rewards[job, trial_of(row.key)] = (result.rewards or {}).get("reward")
        return rewards

    async def _queue_is_empty(self) -> bool:
        return await asyncio.to_thread(Queue.trials(self.stack).counts) == _EMPTY

    async def _has_no_pods(self) -> bool:
        return not any(found.startswith("pod") for found in await self.pods.left())

    async def _has_just_the_living(self) -> bool:
        return len(await self.pods.left()) == len(self.fleet.running())

    async def _until(
        self, condition: Callable[[], Awaitable[bool]], seconds: float, *, or_events: bool = False
    ) -> bool:
        """Wait so long for a condition; with ``or_events`` since the last event of the history."""
        deadline, seen = time.monotonic() + seconds, len(self.history.events)
        while not await condition():
            if or_events and len(self.history.events) > seen:
                deadline, seen = time.monotonic() + seconds, len(self.history.events)
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(1)
        return True


async def run(ground: Ground, plan: Plan, directory: Path, *, cluster: str) -> Report:
    """Jobs under all faults; the report.

    Args:
        directory: is made, and keeps the history and the workers' logs.
    """
    began = time.monotonic()
    directory.mkdir(parents=True)
    async with Scene.set(ground, directory, receives=plan.receives, slots=plan.slots) as scene:
        tasks = make_tasks(directory / "tasks")
        scene.history.fault("a trial that kills its workers")
        scene.history.fault("an image that cannot be pulled")
        await scene.enqueue(make_poison(directory / "poison"), "poison", expected=dies_of("WorkerDied"), agent=POISON)
        nowhere = make_unpullable(directory / "nowhere")
        await scene.enqueue(nowhere, "nowhere", expected=dies_of(ground.unpullable), attempts=2)
        await scene.enqueue(tasks, "job-1", expected=rewarded, repeats=plan.repeats)
        scene.fleet.scale(WORKERS)
        harmed = Field(
            fleet=scene.fleet,
            pods=scene.pods,
            aws=scene.aws,
            kubernetes=scene.kubernetes,
            history=scene.history,
            draw=random.Random(plan.seed),  # noqa: S311 - repeatable, not secret
            launcher=ground.launcher,
            away_seconds=plan.away_seconds,
        )
        enough = asyncio.Event()
        supplying = asyncio.create_task(_supply(scene, tasks, plan, enough))
        if plan.long_freeze_seconds:
            place = await harmed.worker_in("agent", patience_seconds=60)
            scene.fleet.freeze(place, plan.long_freeze_seconds)
        await do_all(harmed, seed=plan.seed, seconds=plan.seconds)
        enough.set()
        await supplying
        await scene.fleet.until_thawed()
        scene.fleet.scale(MOST_WORKERS)  # each cleans up after its predecessor
        replayed = await scene.settle()
        ends = await scene.ends()
        return scene.report(ends, seed=plan.seed, cluster=cluster, seconds=time.monotonic() - began, replayed=replayed)


async def _supply(scene: Scene, tasks: Path, plan: Plan, enough: asyncio.Event) -> None:
    """There is always something to do, until there is enough."""
    number = 1
    while not enough.is_set():
        await asyncio.sleep(1)
        if scene.unfinished() < plan.repeats * len(REWARDS) / 3:
            number += 1
            await scene.enqueue(tasks, f"job-{number}", expected=rewarded, repeats=plan.repeats)


def rewarded(task: str) -> Expected:
    """Of a task of the workload."""
    return Expected(reward=REWARDS[task])


def dies_of(cause: str) -> Callable[[str], Expected]:
    """Of a trial that can only be a dead letter."""
    return lambda _task: Expected(cause=cause)
