"""A message turned into a trial of Harbor's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harbor.models.job.config import RetryConfig
from harbor.trial.trial import Trial

from harbor_aws.infra.errors import HarborAwsError, PermanentError
from harbor_aws.producer.portable import runnable_trial_config

if TYPE_CHECKING:
    from harbor.models.trial.config import TrialConfig

    from harbor_aws.producer.message import TrialMessage


class TrialNotMadeError(PermanentError):
    """Harbor could not make a trial of the message: the task, the agent or the configuration is at fault."""


async def make_trial(message: TrialMessage, *, task_directory: Path, trials_directory: Path) -> Trial:
    """Harbor's trial for a message.

    Raises:
        TrialNotMadeError: Harbor refuses the task, the agent or the configuration.
        OSError: the worker's disk or descriptors failed it, which says nothing of the trial.
    """
    try:
        RetryConfig(**message.retry)
        config: TrialConfig = runnable_trial_config(
            message, task_directory=task_directory, trials_directory=trials_directory
        )
        return await Trial.create(config)
    except (HarborAwsError, OSError):
        raise
    except Exception as error:  # Harbor raises whatever fits; all of it is the configuration's doing
        raise TrialNotMadeError(f"Harbor could not make the trial: {error}") from error


def task_name(message: TrialMessage) -> str:
    """The name of the task's directory, which Harbor shows as the environment's name."""
    task = message.trial_config["task"]
    return Path(task.get("path") or task["name"]).name
