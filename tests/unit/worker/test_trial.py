"""A delivered trial to its ending, by Harbor's own trial in memory, against a bucket and queues in memory."""

from __future__ import annotations

import asyncio
import errno
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.worker.trial_fakes import POD_END, MemoryPods, MemoryQueue, MemoryStore

from harbor_aws.infra.cluster import AccessRefusedError
from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.layout import PLAN_NAME, bundle_key, job_key, replay_key, result_key, state_key
from harbor_aws.infra.queues import MAX_ATTRIBUTES
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.bundle import pack_task
from harbor_aws.producer.celery_message import decode
from harbor_aws.producer.dead_letters.letter import LetterDetails
from harbor_aws.producer.dead_letters.pod_end import PodEnd
from harbor_aws.producer.message import TrialMessage
from harbor_aws.producer.planfile import PlannedTrial, dump_plan
from harbor_aws.producer.state import Phase, ReplayMarker, TrialState
from harbor_aws.worker.bundles import BundleCache
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.launch_rate import Launches
from harbor_aws.worker.stalls import Stalls
from harbor_aws.worker.trial import UNRECORDED_RECEIVES, TrialRunner

if TYPE_CHECKING:
    from pathlib import Path

# Harbor itself calls what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

JOB, TRIAL = "job", "trial"
TASK_TOML = """\
version = "1.0"
[agent]
timeout_sec = {agent_seconds}
[environment]
docker_image = "any"
build_timeout_sec = 0.2
"""


@dataclass
class Bench:
    """A worker's trial side with everything around it in memory."""

    directory: Path
    agent_seconds: float = 60.0
    settings: Settings = field(default_factory=Settings)
    store: MemoryStore = field(default_factory=MemoryStore)
    queue: MemoryQueue = field(default_factory=MemoryQueue)
    dead_letters: MemoryQueue = field(default_factory=MemoryQueue)
    pods: MemoryPods = field(default_factory=MemoryPods)
    stalls: Stalls = field(default_factory=Stalls)

    def delivery(
        self,
        *,
        agent: str = "Idle",
        environment: str = "Memory",
        receive_count: int = 1,
        message_id: str = "m1",
        **fields: Any,
    ) -> Delivery:
        fakes = "tests.unit.worker.trial_fakes"
        config = {
            "task": {"path": "/producer/some-task"},
            "trial_name": TRIAL,
            "agent": {"import_path": f"{fakes}:{agent}Agent"},
            "environment": {"import_path": f"{fakes}:{environment}Environment"},
            **fields.pop("config", {}),
        }
        message = TrialMessage(
            **{"job": JOB, "trial": TRIAL, "bundle": self._bundle(), "trial_config": config, **fields}
        )
        self.plan(message)
        return Delivery(message, "the body as it came", receive_count, message_id)

    def plan(self, message: TrialMessage) -> None:
        """Let the job's plan say what the message says."""
        planned = PlannedTrial(task="some-task", **message.model_dump(include=set(PlannedTrial.model_fields)))
        self.store.objects[job_key(message.job, PLAN_NAME)] = dump_plan([planned])

    async def run(self, delivery: Delivery) -> None:
        await self.runner()(delivery)

    def runner(self) -> TrialRunner:
        worker = self.directory / "worker"
        worker.mkdir(exist_ok=True)
        store = cast("Any", self.store)
        return TrialRunner(
            stack=Stack(name="x", region="x", queue_url="x", dead_letter_queue_url="x", bucket="x"),
            settings=self.settings,
            store=store,
            queue=cast("Any", self.queue),
            dead_letters=cast("Any", self.dead_letters),
            pods=cast("Any", self.pods),
            bundles=BundleCache(store, directory=worker / "bundles"),
            stalls=self.stalls,
            worker="worker-1",
            directory=worker,
        )

    def _bundle(self) -> str:
        task = self.directory / "task"
        for name, text in {
            "task.toml": TASK_TOML.format(agent_seconds=self.agent_seconds),
            "instruction.md": "Do it.",
            "tests/test.sh": "#!/bin/sh\n",
            "environment/.keep": "",
        }.items():
            (task / name).parent.mkdir(parents=True, exist_ok=True)
            (task / name).write_text(text)
        archive = self.directory / "task.tar.zst"
        digest = pack_task(task, archive)
        self.store.objects[bundle_key(digest)] = archive.read_bytes()
        return digest

    @property
    def result(self) -> dict[str, Any] | None:
        body = self.store.get(result_key(JOB, TRIAL))
        return json.loads(body) if body else None

    @property
    def state(self) -> TrialState | None:
        body = self.store.get(state_key(JOB, TRIAL))
        return TrialState.model_validate_json(body) if body else None

    def say(self, phase: Phase, attempt: int, **fields: Any) -> None:
        """What another worker said of the trial."""
        state = TrialState(
            trial=TRIAL, phase=phase, attempt=attempt, worker="worker-2", since=datetime.now(UTC), **fields
        )
        self.store.put(state_key(JOB, TRIAL), state.model_dump_json().encode())

    @property
    def next_attempts(self) -> list[TrialMessage]:
        return [decode(message.body) for message in self.queue.sent]

    @property
    def causes(self) -> list[str]:
        return [message.attributes["cause"] for message in self.dead_letters.sent]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_reward_is_committed(bench: Bench) -> None:
    """The result has the reward and names its attempt and archive; no message goes anywhere."""
    await bench.run(bench.delivery())
    assert bench.result is not None
    assert bench.result["rewards"] == {"reward": 1.0}
    assert bench.store.exists(bench.result["archive"])
    assert (bench.next_attempts, bench.causes) == ([], [])


async def test_waits_and_disruptions_are_no_retries(bench: Bench) -> None:
    """The result says how often the trial was tried again for what went wrong with it."""
    await bench.run(bench.delivery(attempt=5, waits=2, disruptions=1))
    assert bench.result is not None
    assert (bench.result["attempt"], bench.result["retries"]) == (5, 1)


async def test_nothing_of_a_trial_stays_on_the_worker(bench: Bench) -> None:
    """The trial's directory is gone; only the task's bundle is kept."""
    await bench.run(bench.delivery())
    assert [path.name for path in (bench.directory / "worker").iterdir()] == ["bundles"]


async def test_a_duplicate_does_nothing(bench: Bench) -> None:
    """A message whose trial has its result is only acknowledged."""
    await bench.run(bench.delivery())
    before = dict(bench.store.objects)
    await bench.run(bench.delivery())
    assert bench.store.objects == before


async def test_an_agents_bad_end_is_a_result(bench: Bench) -> None:
    """With what the verifier gave for it."""
    await bench.run(bench.delivery(agent="Failing"))
    assert bench.result is not None
    assert (bench.result["exception_type"], bench.result["rewards"]) == ("NonZeroAgentExitCodeError", {"reward": 1.0})


async def test_an_agents_timeout_is_a_result(bench: Bench) -> None:
    """The verifier judges what was there."""
    bench.agent_seconds = 0.3
    await bench.run(bench.delivery(agent="Endless"))
    assert bench.result is not None
    assert (bench.result["exception_type"], bench.result["rewards"]) == ("AgentTimeoutError", {"reward": 1.0})


async def test_a_result_that_cannot_be_written_is_a_dead_letter_in_the_end(bench: Bench) -> None:
    """At first the message comes again; at the fifth receive the letter says what kept the result from being kept."""
    bench.store.refuse = PermanentError("S3 refused")
    with pytest.raises(PermanentError):
        await bench.run(bench.delivery(receive_count=UNRECORDED_RECEIVES - 1))
    assert bench.dead_letters.sent == []
    await bench.run(bench.delivery(receive_count=UNRECORDED_RECEIVES))
    [letter] = bench.dead_letters.sent
    assert letter.attributes["cause"] == "PermanentError"
    assert letter.attributes["reason"] == "What became of the attempt cannot be written: S3 refused"
    assert bench.result is None


async def test_a_result_that_was_written_without_an_answer_gets_no_letter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store says that it failed, and has the result: that is the trial's one ending."""

    def write_and_fail(key: str, body: bytes) -> bool:
        bench.store.put(key, body)
        raise PermanentError("no answer")

    monkeypatch.setattr(bench.store, "put_if_absent", write_and_fail)
    await bench.run(bench.delivery(receive_count=UNRECORDED_RECEIVES))
    assert bench.result is not None
    assert bench.dead_letters.sent == []


async def test_an_agents_timeout_after_an_outage_is_none(bench: Bench) -> None:
    """A worker that was frozen while the agent ran does not know what the agent would have done in its time."""
    bench.agent_seconds = 0.3
    running = asyncio.create_task(bench.run(bench.delivery(agent="Endless")))
    while bench.state is None or bench.state.phase is not Phase.AGENT:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    bench.stalls.note(0.05)
    await running
    assert bench.result is None
    [following] = bench.next_attempts
    assert [record.cause for record in following.history] == ["TimeLostError"]


@pytest.mark.parametrize(
    ("agent", "environment"), [("Uninstallable", "Memory"), ("Idle", "StartingSlowly"), ("Idle", "LosingPods")]
)
async def test_an_infrastructure_failure_is_tried_again(bench: Bench, agent: str, environment: str) -> None:
    """An agent that cannot be installed, a pod that does not start, a pod lost behind Harbor's back: no result."""
    await bench.run(bench.delivery(agent=agent, environment=environment))
    assert bench.result is None
    assert [(message.attempt, message.agent_retries) for message in bench.next_attempts] == [(2, 0)]
    assert bench.state is not None
    assert bench.state.phase is Phase.RETRYING
    assert bench.state.logs is not None
    assert bench.store.exists(bench.state.logs)


async def test_the_last_attempt_becomes_a_dead_letter(bench: Bench) -> None:
    """The original body, with cause and reason."""
    await bench.run(bench.delivery(environment="LosingPods", attempt=3))
    (letter,) = bench.dead_letters.sent
    assert letter.body == "the body as it came"
    assert (letter.attributes["cause"], letter.attributes["reason"]) == ("TransientError", "the pod was lost")
    assert "the pod was lost" in json.loads(letter.attributes["details"])["traceback"]
    assert bench.next_attempts == []


async def test_every_attempt_is_remembered(bench: Bench) -> None:
    """A retry carries what became of the attempts before it, and so does the dead letter in the end."""
    delivery = bench.delivery(environment="LosingPods")
    for _ in range(2):
        await bench.run(delivery)
        delivery = Delivery(bench.next_attempts[-1], "the body as it came", 1, "m")
    await bench.run(delivery)
    details = LetterDetails.model_validate_json(bench.dead_letters.sent[0].attributes["details"])
    assert [(each.attempt, each.worker, each.cause) for each in details.attempts] == [
        (number, "worker-1", "TransientError") for number in (1, 2, 3)
    ]
    assert all(each.began_at and each.ended_at and each.began_at <= each.ended_at for each in details.attempts)
    assert (details.budget, details.message_id, details.receive_count) == (3, "m", 1)


async def test_a_dead_letter_tells_of_its_pod(bench: Bench) -> None:
    """Its word for the end, and its last state and events as far as the failure has them."""
    await bench.run(bench.delivery(environment="Evicted", attempt=3))
    (letter,) = bench.dead_letters.sent
    details = LetterDetails.model_validate_json(letter.attributes["details"])
    assert details.pod == PodEnd(name="pod-1", reason="Evicted", said="Pod pod-1 ended. Events: Evicted: node is full")
    assert len(letter.attributes) <= MAX_ATTRIBUTES


async def test_a_dead_letter_tells_what_its_pods_container_did(bench: Bench) -> None:
    """The pod of the failure, of the two that were looked at; its reason is the failure's."""
    await bench.run(bench.delivery(environment="OutOfMemory", attempt=3))
    details = LetterDetails.model_validate_json(bench.dead_letters.sent[0].attributes["details"])
    assert details.pod is not None
    assert (details.pod.name, details.pod.reason) == ("pod-1", "Evicted")
    assert (details.pod.container, details.pod.events) == (POD_END.container, POD_END.events)


async def test_a_dead_letter_of_a_cut_stream_tells_of_its_pod(bench: Bench) -> None:
    """That the pod was not the reason is told as well."""
    await bench.run(bench.delivery(environment="Cut", attempt=3))
    details = LetterDetails.model_validate_json(bench.dead_letters.sent[0].attributes["details"])
    assert (bench.causes, details.pod) == (["ExecError"], POD_END)


async def test_max_retries_is_harbors(bench: Bench) -> None:
    """The agent's bad end is tried again, and charged to the agent."""
    await bench.run(bench.delivery(agent="Failing", retry={"max_retries": 1}))
    assert [(message.attempt, message.agent_retries) for message in bench.next_attempts] == [(2, 1)]
    await bench.run(bench.delivery(agent="Failing", retry={"max_retries": 1}, attempt=2, agent_retries=1))
    assert bench.result is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"retry": {"max_retries": "many"}},
        {"config": {"timeout_multiplier": "much"}},
        {"config": {"agent": {"import_path": "no.such:Agent"}}},
        {"bundle": "0" * 64},
    ],
)
async def test_what_can_never_run_is_a_dead_letter_at_once(bench: Bench, fields: dict[str, Any]) -> None:
    """A configuration that Harbor refuses, an agent that is not there, a bundle that is not there."""
    await bench.run(bench.delivery(**fields))
    assert len(bench.causes) == 1
    assert (bench.result, bench.next_attempts) == (None, [])


async def test_the_workers_full_disk_is_not_the_trials_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs an attempt, and is said as what it is."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harbor.models.trial.paths.TrialPaths.mkdir", full)
    await bench.run(bench.delivery())
    assert [message.attempt for message in bench.next_attempts] == [2]
    assert bench.state is not None
    assert "No space left" in (bench.state.reason or "")


async def test_a_result_whose_logs_nobody_takes_is_not_committed(bench: Bench) -> None:
    """The handler raises, so that the message comes back, rather than committing half."""
    bench.store.refuse = PermanentError("S3 refused")
    with pytest.raises(PermanentError):
        await bench.run(bench.delivery())
    assert (bench.result, bench.next_attempts, bench.causes) == (None, [], [])


async def test_a_refused_worker_spends_nobodys_attempts(bench: Bench) -> None:
    """The cluster refuses this worker's credentials: the message comes back as it was, and nothing is a dead letter."""
    with pytest.raises(AccessRefusedError):
        await bench.run(bench.delivery(environment="Refused", attempt=3))
    assert (bench.result, bench.next_attempts, bench.causes) == (None, [], [])
    assert bench.state is not None
    assert bench.state.phase is Phase.HANDED_BACK
    assert bench.store.expiring == [bench.state.logs]


async def test_a_failure_goes_its_way_without_logs(bench: Bench) -> None:
    """That the logs cannot be kept does not keep the next attempt."""
    bench.store.refuse = PermanentError("S3 refused")
    await bench.run(bench.delivery(environment="LosingPods"))
    assert [message.attempt for message in bench.next_attempts] == [2]


@pytest.mark.parametrize("agent", ["Endless", "Stubborn"])
async def test_a_drained_trial_is_handed_back(bench: Bench, agent: str) -> None:
    """Cancelled, also where the agent swallows that: no result, no retry, no dead letter."""
    running = asyncio.create_task(bench.run(bench.delivery(agent=agent)))
    await until_agent_runs(bench)
    running.cancel("drain")
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (bench.result, bench.next_attempts, bench.causes) == (None, [], [])


@pytest.mark.parametrize("agent", ["Endless", "Stubborn"])
async def test_a_trial_whose_lease_is_lost_says_nothing(bench: Bench, agent: str) -> None:
    """What is to be said of the trial is the next owner's to say."""
    running = asyncio.create_task(bench.run(bench.delivery(agent=agent)))
    await until_agent_runs(bench)
    running.cancel("lease-lost")
    await asyncio.wait({running})
    assert running.cancelled()
    assert bench.state is not None
    assert (bench.state.phase, bench.store.expiring) == (Phase.AGENT, [])


async def test_what_lost_the_race_expires(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive of an attempt whose trial another one committed is left to the bucket's life-cycle rule."""
    monkeypatch.setattr(bench.store, "put_if_absent", lambda _key, _body: False)
    await bench.run(bench.delivery())
    (archive,) = bench.store.expiring
    assert "/attempts/" in archive
    assert bench.store.exists(archive)


@pytest.mark.parametrize("agent", ["Endless", "Stubborn"])
async def test_a_drained_trial_says_so(bench: Bench, agent: str) -> None:
    """Its state is handed-back and names the logs so far, which are left to the bucket's life-cycle rule; also where
    the agent swallowed the cancellation, and with it the reason."""
    running = asyncio.create_task(bench.run(bench.delivery(agent=agent)))
    await until_agent_runs(bench)
    running.cancel("drain")
    await asyncio.gather(running, return_exceptions=True)
    assert bench.state is not None
    assert (bench.state.phase, bench.store.exists(bench.state.logs or "")) == (Phase.HANDED_BACK, True)
    assert bench.store.expiring == [bench.state.logs]


async def test_an_ending_is_not_cut_in_two(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation that comes while the result is committed finds the trial ended."""
    running: asyncio.Task[None]
    loop = asyncio.get_running_loop()
    upload = bench.store.upload

    def cancel_and_upload(key: str, path: Path) -> None:
        loop.call_soon_threadsafe(running.cancel, "drain")
        upload(key, path)

    monkeypatch.setattr(bench.store, "upload", cancel_and_upload)
    running = asyncio.create_task(bench.run(bench.delivery()))
    await running
    assert bench.result is not None


@pytest.mark.parametrize(
    ("agent", "attempt"), [("Idle", 1), ("Failing", 1), ("Uninstallable", 1), ("Uninstallable", 3)]
)
async def test_a_pod_that_harbor_forgot_is_deleted(bench: Bench, agent: str, attempt: int) -> None:
    """Whether the trial ends by a result, another attempt or a dead letter; what Harbor stopped is not touched."""
    await bench.run(bench.delivery(agent=agent, environment="ForgottenPods", attempt=attempt))
    assert bench.pods.deleted == ["forgotten"]


async def test_a_pod_that_harbor_forgot_is_deleted_in_the_end(bench: Bench) -> None:
    """The same where the attempt ran out of time."""
    bench.agent_seconds = 3600.0
    bench.settings = Settings(trial_deadline_seconds=0.5)
    await bench.run(bench.delivery(agent="Endless", environment="ForgottenPods"))
    assert bench.pods.deleted == ["forgotten"]


@pytest.mark.parametrize("reason", ["drain", "lease-lost"])
async def test_a_cancelled_trial_leaves_no_pod(bench: Bench, reason: str) -> None:
    """Nor is the deletion of what Harbor forgot cut off by being cancelled once more."""
    bench.pods.api_answers.clear()
    running = asyncio.create_task(bench.run(bench.delivery(agent="Endless", environment="ForgottenPods")))
    await until_agent_runs(bench)
    running.cancel(reason)
    async with asyncio.timeout(20):
        while bench.pods.known:
            await asyncio.sleep(0.02)
    running.cancel(reason)
    await asyncio.sleep(0.05)
    bench.pods.api_answers.set()
    await asyncio.wait({running})
    assert (running.cancelled(), bench.pods.deleted) == (True, ["forgotten"])
    assert bench.result is None


async def test_an_attempt_has_an_end(bench: Bench) -> None:
    """Before SQS shows its message again an endless trial becomes a dead letter."""
    bench.agent_seconds = 3600.0
    bench.settings = Settings(trial_deadline_seconds=0.5)
    await bench.run(bench.delivery(agent="Endless"))
    assert bench.causes == ["TrialTooLongError"]


@pytest.mark.parametrize(("phase", "attempt"), [(Phase.RETRYING, 1), (Phase.STARTING, 2), (Phase.AGENT, 3)])
async def test_an_old_message_is_dropped(bench: Bench, phase: Phase, attempt: int) -> None:
    """One that comes back after its trial's next attempt was sent disturbs nobody's pod."""
    bench.say(phase, attempt)
    await bench.run(bench.delivery(receive_count=2))
    assert (bench.result, bench.pods.leftovers_deleted) == (None, 0)


async def test_a_dead_letters_message_that_was_not_deleted_is_dropped(bench: Bench) -> None:
    """It comes again although the letter was sent; nothing is sent twice."""
    await bench.run(bench.delivery(environment="LosingPods", attempt=3))
    await bench.run(bench.delivery(environment="LosingPods", attempt=3, receive_count=2))
    assert len(bench.dead_letters.sent) == 1
    assert bench.state is not None
    assert (bench.state.phase, bench.state.message_id) == (Phase.DEAD, "m1")


async def test_a_replay_runs_after_its_trial_was_dead(bench: Bench) -> None:
    """What its attempts left in the cluster is removed first; a second message of the replay is dropped."""
    bench.say(Phase.DEAD, 3)
    await bench.run(bench.delivery(environment="LosingPods", replay=1))
    assert (bench.pods.leftovers_deleted, [message.attempt for message in bench.next_attempts]) == (1, [2])
    await bench.run(bench.delivery(environment="LosingPods", replay=1, message_id="m2"))
    assert (bench.result, bench.pods.leftovers_deleted) == (None, 1)
    await bench.run(Delivery(bench.next_attempts[0], "body", 1, "m3"))
    assert bench.state is not None
    assert (bench.state.replay, bench.state.attempt) == (1, 2)


async def test_the_marked_message_is_the_replay(bench: Bench) -> None:
    """Whichever comes first, only the one that the replayer marked runs, and that one however often it comes."""
    marker = ReplayMarker(message_id="m2", marked_at=datetime.now(UTC))
    bench.store.put(replay_key(JOB, TRIAL, 1), marker.model_dump_json().encode())
    bench.say(Phase.QUEUED, 1, replay=1)
    await bench.run(bench.delivery(replay=1, message_id="m1"))
    assert bench.result is None
    await bench.run(bench.delivery(replay=1, message_id="m2", receive_count=2))
    assert bench.result is not None


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.AGENT, Phase.HANDED_BACK, Phase.COLLECTING])
async def test_a_message_that_comes_again_runs_again(bench: Bench, phase: Phase) -> None:
    """Its worker died or handed it back: what it left in the cluster is removed first."""
    bench.say(phase, 1)
    await bench.run(bench.delivery(receive_count=2))
    assert bench.result is not None
    assert bench.pods.leftovers_deleted == 1


async def test_a_failure_beside_a_result_is_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that another worker committed meanwhile is neither tried again nor a dead letter."""
    put = bench.store.put_if_unchanged

    def commit_elsewhere(key: str, body: bytes, *, etag: str | None) -> str | None:
        if b'"agent"' in body:
            bench.store.objects[result_key(JOB, TRIAL)] = b"{}"
        return put(key, body, etag=etag)

    monkeypatch.setattr(bench.store, "put_if_unchanged", commit_elsewhere)
    await bench.run(bench.delivery(environment="LosingPods", attempt=3))
    assert (bench.next_attempts, bench.causes) == ([], [])


async def until_agent_runs(bench: Bench) -> None:
    async with asyncio.timeout(20):
        while bench.state is None or bench.state.phase is not Phase.AGENT:
            await asyncio.sleep(0.02)


async def test_waiting_to_launch_is_in_no_time_out(bench: Bench) -> None:
    """Harbor's clocks begin to run when the trial's turn has come: the task allows 0.2 s for its environment."""
    bench.pods.launches = Launches(per_second=1 / 3600, burst=1)
    async with bench.pods.launches.reserved():
        running = asyncio.create_task(bench.run(bench.delivery()))
        await asyncio.sleep(1)
        assert bench.state is not None
        assert (bench.state.phase, bench.result) == (Phase.STARTING, None)
    async with asyncio.timeout(30):
        await running
    assert bench.result is not None
    assert (bench.result["exception_type"], bench.result["rewards"]) == (None, {"reward": 1.0})


async def test_a_drain_while_it_waits_to_launch_hands_it_back(bench: Bench) -> None:
    """And the turn is another trial's."""
    bench.pods.launches = Launches(per_second=1 / 3600, burst=1)
    async with bench.pods.launches.reserved():
        running = asyncio.create_task(bench.run(bench.delivery()))
        await asyncio.sleep(0.5)
        running.cancel("drain")
        with pytest.raises(asyncio.CancelledError):
            await running
    assert bench.state is not None
    assert bench.state.phase is Phase.HANDED_BACK
    async with asyncio.timeout(30), bench.pods.launches.reserved():
        pass
