"""From a job's configuration to its trials: everything is checked before anything is sent, and said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from harbor.job_plan import JobPlan
from harbor.models.job.config import JobConfig
from tests.tiny_tasks import IMAGE_TOML, make_task

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer.plan import Prepared, prepare
from harbor_aws.producer.portable import ENVIRONMENT_IMPORT_PATH
from harbor_aws.producer.refusal import RefusedError
from harbor_aws.producer.tasks import DatasetError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

GPU_TOML = IMAGE_TOML + "gpus = 1\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three tasks, one of which needs a GPU."""
    for name, toml in (("one", IMAGE_TOML), ("two", IMAGE_TOML), ("graphics", GPU_TOML)):
        make_task(tmp_path / "dataset", name, toml=toml)
    return tmp_path / "dataset"


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    (tmp_path / "bundles").mkdir()
    return tmp_path / "bundles"


async def plan(
    bundles: Path,
    *,
    skip_unsupported: bool = False,
    missing: Callable[[frozenset[str]], Awaitable[frozenset[str]]] | None = None,
    **config: Any,
) -> Prepared:
    config.setdefault("job_name", "job")
    return await prepare(
        JobConfig.model_validate(config),
        directory=bundles,
        attempts=3,
        skip_unsupported=skip_unsupported,
        missing=missing,
    )


async def test_attempts_times_tasks_times_agents(dataset: Path, bundles: Path) -> None:
    """Every combination is one trial with a name of its own; a task is packed once; locks and trials go one to one."""
    prepared = await plan(
        bundles,
        datasets=[{"path": dataset, "exclude_task_names": ["graphics"]}],
        agents=[{"name": "oracle"}, {"name": "nop"}],
        n_attempts=2,
    )
    assert len({trial.trial for trial in prepared.trials}) == 8
    assert {trial.bundle for trial in prepared.trials} == {
        path.name.removesuffix(".tar.zst") for path in bundles.iterdir()
    }
    names = [trial.trial_config.get("agent", {}).get("name", "oracle") for trial in prepared.trials]
    assert [(trial.task, name) for trial, name in zip(prepared.trials, names, strict=True)] == [
        (lock.task.name, lock.agent.name) for lock in prepared.lock.trials
    ]
    assert [trial.task for trial in prepared.trials] == ["one", "one", "two", "two"] * 2
    assert prepared.images == {}


async def test_the_plan_is_harbors(dataset: Path, bundles: Path) -> None:
    """Harbor plans the very same trials and the very same lock from the prepared configuration."""
    prepared = await plan(
        bundles, datasets=[{"path": dataset, "task_names": ["one", "two"]}], n_attempts=3, jobs_dir=bundles
    )
    config = JobConfig.model_validate_json(prepared.config.model_dump_json(exclude_defaults=True))
    # Our environment is another package's, which need not be there to plan.
    tasks = await JobPlan.resolve_task_configs(config)
    harbors = JobPlan.from_resolved(
        config, task_configs=tasks, metrics={}, task_download_results=await JobPlan.cache_tasks(tasks)
    )
    assert harbors.job_lock == prepared.lock
    assert [trial.task.get_task_id().get_name() for trial in harbors.trial_configs] == [
        trial.task for trial in prepared.trials
    ]


async def test_every_offending_task_is_named_at_once(dataset: Path, bundles: Path) -> None:
    """One error names the unsupported, the invalid, the incomplete, and what is wrong with the job itself."""
    make_task(dataset, "incomplete", toml=IMAGE_TOML + '[verifier.env]\nJUDGE = "${NOT_SET_ANYWHERE}"\n')
    (dataset / "incomplete/tests/pipe").symlink_to("test.sh")
    make_task(dataset, "broken", toml="gpus = [")
    (make_task(dataset, "untested") / "tests/test.sh").unlink()
    (make_task(dataset, "linked") / "environment/out").symlink_to("/etc")
    make_task(dataset, "wordy", files={"instruction.md": "x"})
    with pytest.raises(RefusedError) as refused:
        await plan(
            bundles,
            datasets=[{"path": dataset}],
            agents=[{"name": "nobody", "env": {"A_TOKEN": "x"}, "skills": [str(dataset)]}],
            tasks=[{"path": dataset / "missing"}],
        )
    text = str(refused.value)
    for part in (
        "There is no agent 'nobody'",
        "--ae A_TOKEN",
        "--skill",
        "6 of 9 tasks cannot run here",
        "  graphics: its environment needs 1 GPU(s)",
        "  incomplete: [verifier.env] needs ${NOT_SET_ANYWHERE}",
        "  broken: it is not a valid task",
        "  untested: it is not a valid task",
        "  linked: environment/out links to /etc",
        f"  missing: there is no directory {dataset}/missing",
    ):
        assert part in text, text
    assert "  one:" not in text


async def test_variables_that_workers_alone_have(dataset: Path, bundles: Path) -> None:
    """They are asked for once, by name, and neither planning nor packing needs their values here."""
    make_task(dataset, "keyed", toml=IMAGE_TOML + '[environment.env]\nA = "${NOT_SET_HERE}"\nB = "${B:-b}"\n')
    asked: list[frozenset[str]] = []

    async def none_missing(names: frozenset[str]) -> frozenset[str]:
        asked.append(names)
        return frozenset()

    agent = {"name": "nop", "env": {"A_TOKEN": "${NOT_SET_EITHER}"}}
    tasks = {"path": dataset, "task_names": ["one", "keyed"]}
    prepared = await plan(bundles, missing=none_missing, datasets=[tasks], agents=[agent])
    assert {trial.task for trial in prepared.trials} == {"one", "keyed"}
    assert asked == [{"NOT_SET_HERE", "NOT_SET_EITHER"}]
    assert prepared.trials[0].trial_config["agent"]["env"] == {"A_TOKEN": "${NOT_SET_EITHER}"}


async def test_unsupported_tasks_can_be_left_out(dataset: Path, bundles: Path) -> None:
    """--skip-unsupported plans the rest, says what it left out, and a resumed job expands to the same tasks."""
    prepared = await plan(bundles, skip_unsupported=True, datasets=[{"path": dataset, "n_tasks": 2}])
    assert [trial.task for trial in prepared.trials] == ["one"]
    assert [line.partition(":")[0] for line in prepared.skipped] == ["graphics"]
    assert [task.path.name for task in await JobPlan.resolve_task_configs(prepared.config) if task.path] == ["one"]


async def test_nothing_left_is_an_error(dataset: Path, bundles: Path) -> None:
    """Leaving out every task leaves no job."""
    with pytest.raises(RefusedError, match="none is left"):
        await plan(bundles, skip_unsupported=True, datasets=[{"path": dataset, "task_names": ["graphics"]}])


async def test_the_jobs_own_faults_are_not_skipped(dataset: Path, bundles: Path) -> None:
    """An unknown agent is no task's fault."""
    with pytest.raises(RefusedError, match="There is no agent 'nobody'"):
        await plan(bundles, skip_unsupported=True, datasets=[{"path": dataset}], agents=[{"name": "nobody"}])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"agents": [{"name": "terminus-2", "kwargs": {"temperature": "warm"}}]}, "does not take its options"),
        ({"agents": [{"name": "nop", "env": {"A": "${NOT_SET_ANYWHERE}"}}]}, "--ae needs ${NOT_SET_ANYWHERE}"),
        ({"agents": [{"import_path": "no.such.module:Agent"}]}, "There is no agent 'no.such.module:Agent'"),
        ({"verifier": {"import_path": "no.such.module:Verifier"}}, "The verifier cannot be imported"),
        ({"environment": {"kwargs": {"colour": "blue"}}}, "Unknown environment option(s) --ek colour"),
        ({"environment": {"mounts": [{"type": "bind", "source": "/a", "target": "/b"}]}}, "--mounts"),
        ({"environment": {"extra_docker_compose": ["a.yaml"]}}, "--extra-docker-compose"),
        ({"environment": {"delete": False}}, "--no-delete"),
        ({"agents": [{"name": "nop", "load_trajectory": "/x.json"}]}, "--load-trajectory"),
        ({"agents": [{"name": "nop", "n_concurrent": 2}]}, "--n-concurrent-agents"),
        ({"source_jobs": [{"action": "regrade", "type": "local", "path": "/x"}]}, "source_jobs"),
    ],
)
async def test_what_a_job_may_not_ask(dataset: Path, bundles: Path, config: dict[str, Any], reason: str) -> None:
    """Options that a queue, a pod or a worker cannot honour are refused by name."""
    with pytest.raises(RefusedError) as refused:
        await plan(bundles, tasks=[{"path": dataset / "one"}], **config)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "There is no task"),
        ({"job_name": "a/b"}, "The job's name 'a/b'"),
        ({"datasets": [{"path": "/nowhere/at/all"}]}, "There is no directory /nowhere/at/all"),
        ({"extra_instruction_paths": ["/nowhere/at.all"]}, "/nowhere/at.all cannot be read"),
    ],
)
async def test_what_is_missing(bundles: Path, config: dict[str, Any], message: str) -> None:
    """Nothing to run, a name that makes no sense, a directory or a file that is not there."""
    with pytest.raises(UsageError, match=message):
        await plan(bundles, **config)


async def test_a_mistyped_directory_looks_like_a_dataset(bundles: Path, tmp_path: Path) -> None:
    """Harbor takes what is no directory for a dataset's name; the error says that it is neither."""
    (tmp_path / "registry.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"The dataset no-such was not found, and there is no directory /.*no-such"):
        await plan(bundles, datasets=[{"name": "no-such", "registry_path": str(tmp_path / "registry.json")}])


async def test_a_job_becomes_portable(
    dataset: Path, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instruction files are inlined in Harbor's order, relative paths become absolute, the environment is ours."""
    (tmp_path / "extra.md").write_text("From a file.")
    monkeypatch.chdir(dataset)
    prepared = await plan(
        bundles,
        tasks=[{"path": "one"}],
        extra_instruction_paths=[tmp_path / "extra.md"],
        extra_instructions=["From a flag."],
    )
    config = prepared.trials[0].trial_config
    assert config["extra_instructions"] == ["From a file.", "From a flag."]
    assert config["task"]["path"] == str(dataset / "one")
    assert config["environment"] == {"import_path": ENVIRONMENT_IMPORT_PATH}
    assert "trials_dir" not in config


async def test_a_message_that_is_too_large_is_refused(dataset: Path, bundles: Path) -> None:
    """64 KiB go, what is larger is named before anything is sent."""
    with pytest.raises(RefusedError, match=r"one: The configuration of trial one__\w+ makes a message of"):
        await plan(bundles, tasks=[{"path": dataset / "one"}], extra_instructions=["x" * 70_000])


async def test_images_are_named_by_content(tmp_path: Path, bundles: Path) -> None:
    """Two tasks with the same environment share an image; a separate verifier's own environment is another."""
    files = {"environment/Dockerfile": "FROM a"}
    make_task(tmp_path / "dataset", "one", toml="", files=files)
    make_task(tmp_path / "dataset", "two", toml="", files=files)
    separate = '[verifier]\nenvironment_mode = "separate"\n'
    make_task(tmp_path / "dataset", "three", toml=separate, files={**files, "tests/Dockerfile": "FROM b"})
    prepared = await plan(bundles, datasets=[{"path": tmp_path / "dataset"}])
    named = {image.directory.name: image.tasks for image in prepared.images.values()}
    assert named.keys() == {"environment", "tests"}
    assert sorted(named["environment"]) == ["one", "three", "two"]
    assert named["tests"] == ("three",)
