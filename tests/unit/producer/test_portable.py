"""What a worker runs is what was planned, but for the paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from harbor.models.job.config import JobConfig
from harbor.models.trial.config import TaskConfig, TrialConfig

from harbor_aws.producer.message import TrialMessage
from harbor_aws.producer.portable import (
    canonical_trial_config,
    dump_job_config,
    portable_trial_config,
    runnable_trial_config,
)

if TYPE_CHECKING:
    from pathlib import Path

JOB_ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "task",
    [
        {"path": "/home/someone/dataset/one", "source": "dataset"},
        {"path": "tasks/one", "git_url": "https://host.invalid/repo", "git_commit_id": "a" * 40, "source": "dataset"},
        {"name": "org/one", "ref": "sha256:" + "b" * 64, "source": "org/dataset"},
    ],
    ids=["local", "git", "package"],
)
def test_a_message_becomes_runnable(tmp_path: Path, task: dict[str, Any]) -> None:
    """Of whatever kind the task was, the worker runs its unpacked bundle, and all else is as planned."""
    planned = TrialConfig.model_validate(
        {
            "task": task,
            "trials_dir": "/home/someone/jobs/job",
            "job_id": JOB_ID,
            "agent": {"name": "nop", "env": {"A": "${A}"}, "kwargs": {"x": [1]}},
            "environment": {"import_path": "a.b:C", "override_cpus": 2},
            "extra_instructions": ["x"],
            "artifacts": ["/a", {"source": "/b", "exclude": ["*.pyc"]}],
        }
    )
    message = TrialMessage(
        job="job", trial=planned.trial_name, bundle="c" * 64, trial_config=portable_trial_config(planned)
    )
    runnable = runnable_trial_config(
        TrialMessage.model_validate_json(message.model_dump_json()),
        task_directory=tmp_path / "one",
        trials_directory=tmp_path / "trials",
    )
    assert runnable.task == TaskConfig(path=tmp_path / "one", source=task["source"])
    assert (runnable.trials_dir, runnable.trial_name) == (tmp_path / "trials", planned.trial_name)
    assert runnable.model_copy(update={"task": planned.task, "trials_dir": planned.trials_dir}) == planned
    canonical = canonical_trial_config(message.trial_config, trials_directory=planned.trials_dir)
    assert canonical.model_dump() == planned.model_dump()


def test_no_place_of_this_machine_but_the_tasks_travels() -> None:
    """The directory of results stays here."""
    config = TrialConfig.model_validate({"task": {"path": "/a/one"}, "trials_dir": "/home/someone/jobs"})
    assert portable_trial_config(config) == {"task": {"path": "/a/one"}, "trial_name": config.trial_name}


def test_a_job_keeps_its_name() -> None:
    """A job that is written in the second in which it got its default name keeps it."""
    config = JobConfig()
    assert JobConfig.model_validate_json(dump_job_config(config)).job_name == config.job_name
    assert f'"job_name": "{config.job_name}"' in dump_job_config(config)
