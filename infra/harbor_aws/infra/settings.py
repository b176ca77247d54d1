"""What a user may set, read from the environment at the entry point alone and then passed by keyword."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one process, from ``HARBOR_AWS_*`` variables."""

    model_config = SettingsConfigDict(env_prefix="HARBOR_AWS_", frozen=True, extra="ignore")

    stack: str = "local"
    """Name of the stack; ``local`` is the one that ``harbor-aws local up`` makes."""

    slots: int = Field(default=32, ge=1, le=1000)
    """Trials that one worker process runs at once."""

    attempts: int = Field(default=3, ge=1)
    """How often a trial is tried when the infrastructure fails it, before it becomes a dead letter."""

    visibility_timeout_seconds: int = Field(default=120, ge=10, le=43_200)
    """How long a received message stays hidden from other workers, counted from its last extension."""

    lease_interval_seconds: float = Field(default=40, gt=0)
    """How often a worker extends the visibility of what it runs."""

    drain_seconds: float = Field(default=60, ge=0)
    """After SIGTERM, how long running trials may go on before they are handed back to the queue."""

    pod_deadline_seconds: int = Field(default=43_200, ge=60)
    """``activeDeadlineSeconds`` of a trial's pod: the last resort against a pod that nobody deletes."""

    trial_deadline_seconds: float = Field(default=41_400, gt=0, le=42_900)
    """How long an attempt may take, from its receive; SQS hides no message for longer than 12 hours."""

    transfer_compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    """How files go to pods and back; ``auto``: as they are, but compressed where the link was measured to be slow."""

    alive_file: Path | None = None
    """A file that a worker touches whenever it received or had no need to; for a liveness probe."""

    pod_start_timeout_seconds: float = Field(default=600, gt=0)
    """How long a pod may take from creation until its container runs."""

    pod_launches_per_second: float = Field(default=0, ge=0)
    """Pods that all workers together launch a second; each keeps to its share. 0 for as many as anybody likes."""

    pod_launch_burst: float = Field(default=1, ge=1)
    """Pods that all workers together may launch at once after a pause; for a worker at least one."""
