"""Where things are in the bucket, the only shared state. Pure: names in, keys out.

The states and the results of a job lie side by side, one object a trial, so that listing them costs one request per
thousand trials and ``status`` never has to read past what the attempts left.
"""

from __future__ import annotations

PLAN_NAME = "plan.jsonl"


def bundle_key(digest: str) -> str:
    """A task's files, ``digest`` being the SHA-256 (hex) of the archive: ``tasks/sha256/<digest>.tar.zst``."""
    return f"tasks/sha256/{digest}.tar.zst"


def worker_context_key(digest: str) -> str:
    """What the workers' image is built from, ``digest`` being the SHA-256 (hex) of the tar inside."""
    return f"images/worker/sha256/{digest}.tar.gz"


def environment_context_key(content_hash: str) -> str:
    """What a task's image is built from, ``content_hash`` being Harbor's of the environment, and the image's tag."""
    return f"images/environments/{content_hash}.tar.gz"


def job_prefix(job: str) -> str:
    return f"jobs/{job}/"


def job_key(job: str, name: str) -> str:
    """``config.json``, ``lock.json`` or ``plan.jsonl`` of a job."""
    return f"jobs/{job}/{name}"


def states_prefix(job: str) -> str:
    return f"jobs/{job}/states/"


def state_key(job: str, trial: str) -> str:
    """Where a trial is now: a :class:`~harbor_aws.producer.state.TrialState`, overwritten as it moves."""
    return f"{states_prefix(job)}{trial}.json"


def results_prefix(job: str) -> str:
    return f"jobs/{job}/results/"


def result_key(job: str, trial: str) -> str:
    """The committed result, a :class:`~harbor_aws.producer.state.CommittedResult`: written once, last."""
    return f"{results_prefix(job)}{trial}.json"


def replay_key(job: str, trial: str, generation: int) -> str:
    """Which message is the trial's ``generation``-th replay: a :class:`~harbor_aws.producer.state.ReplayMarker`,
    written once. Where it is, that replay was sent."""
    return f"jobs/{job}/replays/{trial}-{generation}.json"


def attempt_key(job: str, trial: str, attempt: str) -> str:
    """All that an attempt left in its trial directory, as one archive."""
    return f"jobs/{job}/attempts/{trial}/{attempt}.tar.zst"


def trial_of(key: str) -> str:
    """The trial that a state's or a result's key names."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")
