"""A build of CodeBuild as it is now. Pure.

https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Build.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_codebuild.type_defs import BuildPhaseTypeDef, BuildTypeDef

IN_PROGRESS = "IN_PROGRESS"
SUCCEEDED = "SUCCEEDED"

_QUEUED = "QUEUED"


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where a build's output is in CloudWatch."""

    group: str
    stream: str
    url: str
    """Of AWS's console."""


@dataclass(frozen=True, slots=True)
class FailedPhase:
    """The first phase that did not succeed."""

    name: str
    message: str
    """What CodeBuild says of it; mostly the command and its exit status."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build."""

    id: str
    """``<project>:<uuid>``."""
    status: str
    """``IN_PROGRESS``, ``SUCCEEDED``, ``FAILED``, ``FAULT``, ``TIMED_OUT`` or ``STOPPED``."""
    phase: str
    """What it is at: ``SUBMITTED``, ``QUEUED``, ``PROVISIONING``, ``DOWNLOAD_SOURCE``, ``INSTALL``, ``PRE_BUILD``,
    ``BUILD``, ``POST_BUILD``, ``UPLOAD_ARTIFACTS``, ``FINALIZING``, ``COMPLETED``."""
    phase_since: datetime | None = None
    """When that began (UTC)."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Its environment's: the project's and those it was started with."""
    failed: FailedPhase | None = None
    log: LogPlace | None = None
    """``None`` until it has one."""

    @property
    def has_ended(self) -> bool:
        return self.status != IN_PROGRESS

    @property
    def has_succeeded(self) -> bool:
        return self.status == SUCCEEDED

    @property
    def is_unbegun(self) -> bool:
        """Whether it never got a machine."""
        return self.failed is not None and self.failed.name == _QUEUED

    def has(self, variables: Mapping[str, str]) -> bool:
        """Whether it is one that was started with these."""
        return variables.items() <= self.variables.items()


def build_of(row: BuildTypeDef) -> Build:
    """What an answer of BatchGetBuilds says of a build."""
    phases, phase = row.get("phases", []), row.get("currentPhase", "SUBMITTED")
    return Build(
        id=row["id"],
        status=row["buildStatus"],
        phase=phase,
        phase_since=next((each.get("startTime") for each in phases if each.get("phaseType") == phase), None),
        variables={each["name"]: each["value"] for each in row.get("environment", {}).get("environmentVariables", [])},
        failed=_failed(phases),
        log=_log(row),
    )


def _failed(phases: Sequence[BuildPhaseTypeDef]) -> FailedPhase | None:
    for phase in phases:
        if phase.get("phaseStatus", SUCCEEDED) not in {SUCCEEDED, IN_PROGRESS}:
            messages = [context.get("message", "") for context in phase.get("contexts", [])]
            return FailedPhase(
                name=phase.get("phaseType", ""), message=" ".join(message for message in messages if message)
            )
    return None


def _log(row: BuildTypeDef) -> LogPlace | None:
    logs = row.get("logs", {})
    group, stream = logs.get("groupName"), logs.get("streamName")
    return LogPlace(group=group, stream=stream, url=logs.get("deepLink", "")) if group and stream else None
