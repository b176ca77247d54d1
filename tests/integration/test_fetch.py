"""A fetched job directory is one of Harbor's own: viewed, aggregated, resumed."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest
import typer
from harbor.job import Job
from harbor.models.job.config import JobConfig
from harbor.models.job.lock import JobLock, TrialLock
from harbor.models.job.result import JobResult
from harbor.models.trial.config import TrialConfig
from harbor.models.trial.result import TrialResult
from harbor.viewer.server import create_app
from tests.integration.moto_stack import make_stack, moto_server
from tests.integration.producer_fakes import ENVIRONMENT, FakeWorker
from tests.tiny_tasks import make_task
from tests.unit.producer.letter_fakes import KilledError
from typer.testing import CliRunner

from harbor_aws.infra.layout import job_key, trial_of
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.producer import fetch as fetch_module
from harbor_aws.producer.cli import fetch as fetch_command
from harbor_aws.producer.enqueue import claim, send, upload_bundles
from harbor_aws.producer.fetch import Fetched, JobFetcher
from harbor_aws.producer.plan import prepare
from harbor_aws.producer.state import CommittedResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.infra.stack import Stack

# Harbor's own, about what it does itself.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

JOB = "job"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


class CountingStore(ObjectStore):
    """The bucket, counting what is read."""

    reads: Counter[str]

    def get(self, key: str) -> bytes | None:
        self.reads[key] += 1
        return super().get(key)

    def download(self, key: str, path: Path) -> None:
        self.reads[key] += 1
        super().download(key, path)


@pytest.fixture
def moto(server: str, tmp_path: Path) -> Stack:
    return make_stack(server, kubeconfig=tmp_path / "no-cluster")


@pytest.fixture
def store(moto: Stack) -> CountingStore:
    store = CountingStore.of(moto)
    store.reads = Counter()
    return store


@pytest.fixture
async def enqueued(moto: Stack, store: CountingStore, tmp_path: Path) -> Stack:
    """Two tasks, one agent, three attempts: six trials on the queue."""
    for name in ("one", "two"):
        make_task(tmp_path / "dataset", name)
    config = JobConfig.model_validate(
        {
            "job_name": JOB,
            "n_attempts": 3,
            "agents": [{"name": "nop"}],
            "datasets": [{"path": tmp_path / "dataset"}],
            "environment": {"env": {"GREETING": "hello"}},
            "verifier": {"env": {"JUDGE_TOKEN": "${JUDGE_TOKEN:-none}"}},
        }
    )
    (tmp_path / "bundles").mkdir()
    prepared = await prepare(config, directory=tmp_path / "bundles", attempts=3)
    await asyncio.to_thread(upload_bundles, store, prepared.bundles, advance=lambda: None)
    await asyncio.to_thread(claim, store, prepared)
    await asyncio.to_thread(send, store, Queue.trials(moto), JOB, prepared.trials, advance=lambda: None)
    return moto


def fetch(store: ObjectStore, jobs: Path) -> Fetched:
    return JobFetcher(store, JOB, jobs_directory=jobs).fetch(on_total=lambda _total: None, on_trial=lambda: None)


async def run_trials(stack: Stack, directory: Path, limit: int = 1000) -> None:
    assert await asyncio.to_thread(FakeWorker(stack, directory).drain, limit=limit)


async def test_a_job_directory_of_harbors(enqueued: Stack, store: CountingStore, tmp_path: Path) -> None:
    """Every file of a trial arrives, its configuration is the planned one, and the job's result is Harbor's."""
    await run_trials(enqueued, tmp_path)
    fetched = fetch(store, tmp_path / "jobs")
    assert (fetched.directory, fetched.new, fetched.present, fetched.total) == (tmp_path / "jobs" / JOB, 6, 6, 6)
    lock = JobLock.model_validate_json((fetched.directory / "lock.json").read_text())
    for trial in fetched.result.trial_results:
        directory = fetched.directory / trial.trial_name
        files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
        assert files >= {"config.json", "lock.json", "result.json", "trial.log", "verifier/reward.txt"}
        config = TrialConfig.model_validate_json((directory / "config.json").read_text())
        assert config == trial.config
        assert config.trials_dir == fetched.directory
        assert config.task.path in (tmp_path / "dataset/one", tmp_path / "dataset/two")
        assert trial.task_id == config.task.get_task_id()
        assert trial.trial_uri == directory.as_uri()
        assert TrialLock.model_validate_json((directory / "lock.json").read_text()) in lock.trials
    result = JobResult.model_validate_json((fetched.directory / "result.json").read_text())
    evaluation = result.stats.evals["nop__dataset"]
    assert (result.n_total_trials, result.stats.n_completed_trials, result.stats.n_errored_trials) == (6, 6, 0)
    assert evaluation.metrics == [{"mean": 1.0}]
    assert evaluation.pass_at_k == {2: 1.0}
    assert result.finished_at is not None
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [JOB]


async def test_a_second_fetch_moves_only_what_is_new(enqueued: Stack, store: CountingStore, tmp_path: Path) -> None:
    """Each result and each archive is read once, in whichever fetch comes after its commit."""
    jobs = tmp_path / "jobs"
    await run_trials(enqueued, tmp_path, limit=1)
    first = fetch(store, jobs)
    assert first.new == first.present < first.total
    assert first.result.finished_at is None
    assert first.result.stats.n_pending_trials == first.total - first.present
    store.reads.clear()
    again = fetch(store, jobs)
    assert again.result.model_dump() == first.result.model_dump()
    assert list(store.reads) == [job_key(JOB, "config.json")]
    await run_trials(enqueued, tmp_path)
    second = fetch(store, jobs)
    assert (second.new, second.present) == (6 - first.new, 6)
    store.reads.clear()
    assert fetch(store, jobs).new == 0
    assert list(store.reads) == [job_key(JOB, "config.json")]


async def test_harbor_resumes_exactly_the_missing_trials(
    enqueued: Stack, store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Harbor's own Job accepts the directory, plans what is missing, runs that, and ends with a whole job."""
    await run_trials(enqueued, tmp_path)
    # The environment of this test instead of pods; the plan and its comparison are Harbor's.
    for key in (job_key(JOB, name) for name in ("config.json", "lock.json", "plan.jsonl")):
        body = store.get(key) or b""
        store.put(key, body.replace(b"harbor_aws.worker.environment:FargateEnvironment", ENVIRONMENT.encode()))
    directory = fetch(store, tmp_path / "jobs").directory
    results = sorted(directory.glob("*/result.json"))
    task = TrialResult.model_validate_json(results[0].read_text()).task_name
    shutil.rmtree(results[0].parent)
    (results[1].parent / "result.json").unlink()
    monkeypatch.setenv("HARBOR_TELEMETRY", "0")
    job = await Job.create(JobConfig.model_validate_json((directory / "config.json").read_text()))
    remaining = job._remaining_trial_configs
    assert len(remaining) == 2
    assert task in {config.task.get_task_id().get_name() for config in remaining}
    result = await job.run()
    assert (result.stats.n_completed_trials, result.stats.n_pending_trials) == (6, 0)
    assert result.stats.evals["nop__dataset"].metrics == [{"mean": 1.0}]


async def test_harbor_view_shows_it(enqueued: Stack, store: CountingStore, tmp_path: Path) -> None:
    """The viewer lists the job with its statistics, and each trial."""
    await run_trials(enqueued, tmp_path)
    fetch(store, tmp_path / "jobs")
    app = httpx.ASGITransport(create_app(tmp_path / "jobs"))
    async with httpx.AsyncClient(transport=app, base_url="http://viewer") as viewer:
        [job] = (await viewer.get("/api/jobs")).json()["items"]
        assert (job["name"], job["n_total_trials"], job["n_completed_trials"]) == (JOB, 6, 6)
        assert job["evals"]["nop__dataset"]["metrics"] == [{"mean": 1.0}]
        trials = (await viewer.get(f"/api/jobs/{JOB}/trials")).json()["items"]
        assert [trial["reward"] for trial in trials] == [1.0] * 6


async def test_a_directory_that_was_moved_becomes_right_again(
    enqueued: Stack, store: CountingStore, tmp_path: Path
) -> None:
    """Fetching into where a directory was moved to rewrites its paths and downloads nothing."""
    await run_trials(enqueued, tmp_path)
    fetch(store, tmp_path / "jobs")
    shutil.move(tmp_path / "jobs", tmp_path / "moved")
    store.reads.clear()
    fetched = fetch(store, tmp_path / "moved")
    assert fetched.new == 0
    assert not [key for key in store.reads if "/attempts/" in key or "/results/" in key]
    assert {trial.config.trials_dir for trial in fetched.result.trial_results} == {fetched.directory}


async def test_what_a_broken_fetch_left_is_replaced(enqueued: Stack, store: CountingStore, tmp_path: Path) -> None:
    """A trial's directory without a result, and files half written, do not stay."""
    await run_trials(enqueued, tmp_path)
    fetched = fetch(store, tmp_path / "jobs")
    trial = fetched.directory / fetched.result.trial_results[0].trial_name
    (trial / "result.json").unlink()
    (trial / "stray").touch()
    again = fetch(store, tmp_path / "jobs")
    assert (again.new, again.present) == (1, 6)
    assert not (trial / "stray").exists()


async def test_retries_are_counted_once(
    enqueued: Stack, store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all trials that are here, whichever fetch brought them and however it ended; of those that an older version
    brought as well, for one request each, once."""
    await run_trials(enqueued, tmp_path)
    for attempt, row in enumerate(list(store.list(f"jobs/{JOB}/results/")), start=1):
        committed = CommittedResult.model_validate_json(store.get(row.key) or b"")
        told = {"attempt": attempt} if attempt % 2 else {"attempt": attempt + 7, "retries": attempt - 1}  # it waited
        store.put(row.key, committed.model_copy(update=told).model_dump_json().encode())

    def die(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(fetch_module, "aggregate", die)
        with pytest.raises(KilledError):
            fetch(store, tmp_path / "jobs")
    fetched = fetch(store, tmp_path / "jobs")
    assert (fetched.new, fetched.present, fetched.result.stats.n_retries) == (0, 6, 0 + 1 + 2 + 3 + 4 + 5)

    path = fetched.directory / "result.json"
    path.write_text(path.read_text().replace('"n_retries": 15', '"n_retries": 30'))
    for trial in fetched.result.trial_results[:2]:
        (fetched.directory / trial.trial_name / fetch_module.RECORD_NAME).unlink()
    store.reads.clear()
    assert fetch(store, tmp_path / "jobs").result.stats.n_retries == 15
    assert len([key for key in store.reads if "/results/" in key]) == 2
    store.reads.clear()
    assert fetch(store, tmp_path / "jobs").result.stats.n_retries == 15
    assert list(store.reads) == [job_key(JOB, "config.json")]


async def test_one_bad_trial_does_not_keep_the_others(
    enqueued: Stack, store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged and missing archives and unreadable results are named, the rest arrives, and a later fetch mends it."""
    await run_trials(enqueued, tmp_path)
    keys = [row.key for row in store.list(f"jobs/{JOB}/results/")][:3]
    results = {trial_of(key): CommittedResult.model_validate_json(store.get(key) or b"") for key in keys}
    damaged, unreadable, missing = results
    archive = store.get(results[damaged].archive) or b""
    store.put(results[damaged].archive, b"damaged")
    result = store.get(keys[1]) or b""
    store.put(keys[1], b"{}")
    store.put(keys[2], results[missing].model_copy(update={"archive": "none"}).model_dump_json().encode())
    fetched = fetch(store, tmp_path / "jobs")
    assert (fetched.new, fetched.present, fetched.total) == (3, 3, 6)
    assert fetched.failed.keys() == results.keys()
    assert "cannot be unpacked" in fetched.failed[damaged]
    assert "validation error" in fetched.failed[unreadable]
    assert "There is no s3://" in fetched.failed[missing]
    assert fetched.result.finished_at is None
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == [JOB]

    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setattr(fetch_command, "chosen_stack", lambda _name: enqueued)
    app = typer.Typer()
    app.command()(fetch_command.fetch)
    done = CliRunner().invoke(app, [JOB, "--output", str(tmp_path / "jobs"), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["failed"] == fetched.failed
    assert f"Not fetched: {damaged}: " in done.stderr

    store.put(results[damaged].archive, archive)
    store.put(keys[1], result)
    store.put(keys[2], results[missing].model_dump_json().encode())
    again = fetch(store, tmp_path / "jobs")
    assert (again.new, again.present, again.failed) == (3, 6, {})
    assert again.result.finished_at is not None


async def test_a_job_without_results(enqueued: Stack, store: CountingStore, tmp_path: Path) -> None:
    """Before the first result there is a job directory that Harbor can read."""
    fetched = fetch(store, tmp_path / "jobs")
    assert (fetched.new, fetched.present, fetched.total) == (0, 0, 6)
    assert json.loads((fetched.directory / "result.json").read_text())["n_total_trials"] == 6
    assert len(await Job.create(JobConfig.model_validate_json((fetched.directory / "config.json").read_text()))) == 6
