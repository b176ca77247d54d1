"""Messages that somebody else than the producer put on the queue."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.worker.test_trial import JOB, TRIAL, Bench
from tests.unit.worker.trial_fakes import MemoryStore

from harbor_aws.infra.layout import PLAN_NAME, job_key, results_prefix, states_prefix
from harbor_aws.producer.celery_message import UndecodableMessageError, decode, encode
from harbor_aws.producer.message import AttemptRecord, TrialMessage
from harbor_aws.producer.planfile import PlannedTrial, dump_plan
from harbor_aws.worker import admission
from harbor_aws.worker.admission import Admission, NotAdmittedError
from harbor_aws.worker.delivery import Delivery

if TYPE_CHECKING:
    from pathlib import Path

# Harbor itself calls what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

UNWANTED_MODULE = "this"
"""Of the standard library: harmless, imported by nothing, and told of by ``sys.modules``."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def changed(delivery: Delivery, *, config: dict[str, Any] | None = None, **fields: Any) -> Delivery:
    """The message as a stranger would send it."""
    message = delivery.message
    said = {**message.model_dump(), **fields, "trial_config": {**message.trial_config, **(config or {})}}
    return Delivery(TrialMessage.model_validate(said), "a stranger's body", 1)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"agent": {"import_path": f"{UNWANTED_MODULE}:Agent"}}, "trial_config.agent.import_path"),
        ({"environment": {"import_path": f"{UNWANTED_MODULE}:Environment"}}, "trial_config.environment.import_path"),
        ({"environment": {"type": "docker"}}, "trial_config.environment.import_path, trial_config.environment.type"),
        ({"verifier": {"import_path": f"{UNWANTED_MODULE}:Verifier"}}, "trial_config.verifier"),
        ({"task": {"path": "/etc"}}, "trial_config.task.path"),
        ({"task": {"path": ".."}}, "trial_config.task.path"),
        ({"task": {"name": "org/other"}}, "trial_config.task.name"),
        ({"user_agent": {"user_persona_path": "/etc/passwd"}}, "trial_config.user_agent"),
        ({"source_trial": {"action": "regrade", "type": "local", "path": "/"}}, "trial_config.source_trial"),
        ({"extra_instruction_paths": ["/etc/passwd"]}, "trial_config.extra_instruction_paths"),
        ({"artifacts": ["/etc"]}, "trial_config.artifacts"),
        ({"trials_dir": "/etc"}, "trial_config.trials_dir"),
    ],
)
async def test_what_the_plan_does_not_say_is_refused(bench: Bench, config: dict[str, Any], place: str) -> None:
    """No local path, no code, no other task: the message is a dead letter that names the place, before anything is
    imported, read, or written about the trial."""
    delivery = changed(bench.delivery(), config=config)
    before = dict(bench.store.objects)
    await bench.run(delivery)
    (letter,) = bench.dead_letters.sent
    assert letter.attributes["cause"] == "NotAdmittedError"
    assert place in letter.attributes["reason"]
    assert letter.body == "a stranger's body"
    assert UNWANTED_MODULE not in sys.modules
    assert bench.store.objects == before
    assert bench.pods.leftovers_deleted == 0


@pytest.mark.parametrize(
    "agent",
    [
        {"kwargs": {"config_file": "/etc/passwd"}},
        {"skills": ["/etc"]},
        {"load_trajectory": "/etc/passwd"},
        {"env": {"KEY": "${AWS_SECRET_ACCESS_KEY}"}},
        {"mcp_servers": [{"name": "x", "transport": "stdio", "command": "sh"}]},
    ],
)
async def test_nothing_is_slipped_into_an_agent_that_was_planned(bench: Bench, agent: dict[str, Any]) -> None:
    """Neither files of the worker nor its variables."""
    honest = bench.delivery()
    await bench.run(changed(honest, config={"agent": {**honest.message.trial_config["agent"], **agent}}))
    assert bench.causes == ["NotAdmittedError"]


@pytest.mark.parametrize(
    "fields", [{"bundle": "0" * 64}, {"retry": {"max_retries": 10**6}}, {"trial": "another"}, {"job": "another"}]
)
async def test_neither_another_bundle_nor_another_trial(bench: Bench, fields: dict[str, Any]) -> None:
    """What is not in the plan of the job that the message names does not run, and no other job's prefix is written."""
    delivery = changed(bench.delivery(), **fields)
    await bench.run(delivery)
    assert bench.causes == ["NotAdmittedError"]
    written = {key for key in bench.store.objects if key.startswith((states_prefix("another"), results_prefix(JOB)))}
    assert written == set()


async def test_a_refusal_tells_no_strangers_values(bench: Bench) -> None:
    """Only places, few and short, whatever their names are made of."""
    config = {f"\x1b[31m{n}" + "x" * 1000: "a stranger's value" for n in range(50)}
    await bench.run(changed(bench.delivery(), config=config))
    reason = bench.dead_letters.sent[0].attributes["reason"]
    assert "a stranger's value" not in reason
    assert "45 more" in reason
    assert reason.isprintable()
    assert len(reason) < 1000


async def test_what_a_message_may_say_by_itself(bench: Bench) -> None:
    """Its attempt, its budget, its replay and its history are no part of the plan."""
    record = AttemptRecord(attempt=1, cause="PodGoneError")
    await bench.run(changed(bench.delivery(), attempt=2, attempts=7, agent_retries=1, history=(record,)))
    assert bench.result is not None
    assert bench.causes == []


@pytest.mark.parametrize("name", ["../other", "/etc", "a/b", "..", ".hidden", "a\n", "a\0b", "", "ü", "x" * 201])
@pytest.mark.parametrize("field", ["job", "trial"])
def test_names_that_leave_their_prefix_are_not_even_decoded(field: str, name: str) -> None:
    """They are parts of keys in the bucket and of paths on the worker's disk."""
    fields: dict[str, Any] = {"job": JOB, "trial": TRIAL, "bundle": "0" * 64, "trial_config": {}, field: name}
    with pytest.raises(UndecodableMessageError, match=f"does not fit the schema: {field}"):
        decode(encode(TrialMessage.model_construct(**fields)))


@pytest.mark.parametrize("bundle", ["../../x", "0" * 63, "0" * 64 + "\n", "G" * 64])
def test_a_bundle_is_named_by_a_digest_alone(bundle: str) -> None:
    """It is part of a key, and of a path."""
    fields: dict[str, Any] = {"job": JOB, "trial": TRIAL, "bundle": bundle, "trial_config": {}}
    with pytest.raises(UndecodableMessageError, match="does not fit the schema: bundle"):
        decode(encode(TrialMessage.model_construct(**fields)))


class CountingStore(MemoryStore):
    """A bucket that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gets: Counter[str] = Counter()

    def get(self, key: str) -> bytes | None:
        self.gets[key] += 1
        return super().get(key)


def a_job(store: MemoryStore, job: str, *, trials: int = 1) -> list[TrialMessage]:
    """The messages of a job with its plan in the store."""
    config = {"agent": {"name": "oracle", "kwargs": {"ratio": 0.1, "list": [1, None, "ü"]}}}
    planned = [
        PlannedTrial(trial=f"t{n}", task="task", bundle="0" * 64, trial_config=config, attempts=3)
        for n in range(trials)
    ]
    store.objects[job_key(job, PLAN_NAME)] = dump_plan(planned)
    return [decode(encode(trial.message(job))) for trial in planned]


async def test_a_plan_is_read_once_a_process() -> None:
    """And what travelled through the queue still says what the plan says."""
    store = CountingStore()
    messages = a_job(store, "j", trials=20)
    checks = Admission(cast("Any", store))
    for message in messages:
        await checks.check(message)
    assert store.gets == {job_key("j", PLAN_NAME): 1}


async def test_plans_that_nobody_asks_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs a worker sees in its life; the one in use stays."""
    monkeypatch.setattr(admission, "KEPT_JOBS", 2)
    store = CountingStore()
    first, *others = [a_job(store, f"j{n}")[0] for n in range(4)]
    checks = Admission(cast("Any", store))
    for other in others:
        await checks.check(first)
        await checks.check(other)
    assert store.gets[job_key("j0", PLAN_NAME)] == 1
    await checks.check(others[0])
    assert store.gets[job_key("j1", PLAN_NAME)] == 2


async def test_a_job_that_is_not_there_yet_is_looked_for_again() -> None:
    """That there is none is not remembered."""
    store = CountingStore()
    checks = Admission(cast("Any", store))
    (message,) = a_job(MemoryStore(), "j")
    with pytest.raises(NotAdmittedError, match="There is no job 'j' in the bucket"):
        await checks.check(message)
    a_job(store, "j")
    await checks.check(message)
