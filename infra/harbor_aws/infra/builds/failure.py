"""Why a build came to nothing, and what to do. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.builds.build import Build


class BuildFailedError(PermanentError):
    """What was built is at fault, or took too long: building the same again fails again."""


class BuildBrokenOffError(TransientError):
    """CodeBuild, somebody, a registry or the network broke it off, or it got no machine: building it again may do."""


MORE_BUILDS = (
    "Wait for the account's other builds, or raise its builds at once (new accounts may have one, or none) at "
    "https://console.aws.amazon.com/servicequotas/home/services/codebuild/quotas, then run the command again."
)

type _Kind = type[BuildFailedError | BuildBrokenOffError]

_BY_STATUS: dict[str, tuple[_Kind, str]] = {
    "FAILED": (BuildFailedError, "Put right what the log says, then run the command again."),
    "FAULT": (BuildBrokenOffError, "CodeBuild itself failed; run the command again."),
    "STOPPED": (BuildBrokenOffError, "Somebody stopped it; run the command again."),
    "TIMED_OUT": (
        BuildFailedError,
        "It was not done when the project's time was over; what takes so long is in the log.",
    ),
}

_OTHERWISE = (BuildBrokenOffError, "Run the command again.")

_BY_LOG: tuple[tuple[str, _Kind, str], ...] = (
    (
        r"toomanyrequests|pull rate limit",
        BuildBrokenOffError,
        "The base image's registry gives no more to CodeBuild's addresses, which many share; run the command again "
        "later. Docker Hub's images come through a cache after `harbor-aws deploy --docker-hub-secret`.",
    ),
    (
        r"no match for platform|no matching manifest for|exec format error",
        BuildFailedError,
        "A base image, or a program in one, is not for linux/amd64, which Fargate alone runs: name another.",
    ),
    (
        r"no space left on device",
        BuildFailedError,
        "The image is too large for the disk of the project's compute type.",
    ),
    (
        r"temporary failure in name resolution|could not resolve|connection (reset|timed out)|i/o timeout",
        BuildBrokenOffError,
        "The network failed while it was built; run the command again.",
    ),
)
"""Words in a log or in what CodeBuild says, what they come to, and what to do; the first that is found."""


def failure(build: Build, *, what: str, log: Sequence[str]) -> BuildFailedError | BuildBrokenOffError:
    """The error of a build that ended without success.

    Args:
        what: what was built, in words such as ``the workers' image``.
        log: the last lines that it printed.
    """
    kind, advice = _judged(build, log)
    return kind("\n".join([_headline(build, what), *_log_lines(build, log), f"→ {advice}"]))


def _headline(build: Build, what: str) -> str:
    line = f"The build of {what} ended as {build.status}"
    if build.failed is None:
        return f"{line} ({build.id})."
    return f"{line} in phase {build.failed.name} ({build.id})" + (
        f": {build.failed.message}" if build.failed.message else "."
    )


def _log_lines(build: Build, log: Sequence[str]) -> list[str]:
    if build.log is None:
        return ["It has no log."]
    lines = ["The end of its log:", *(f"  {line}" for line in log)] if log else []
    return [*lines, f"All of it: log group {build.log.group}, stream {build.log.stream}; {build.log.url}"]


def _judged(build: Build, log: Sequence[str]) -> tuple[_Kind, str]:
    """The kind of error, and what to do, which go together."""
    if build.is_unbegun:
        return BuildBrokenOffError, MORE_BUILDS
    text = "\n".join([build.failed.message if build.failed else "", *log])
    known = ((kind, advice) for words, kind, advice in _BY_LOG if re.search(words, text, re.IGNORECASE))
    return next(known, _BY_STATUS.get(build.status, _OTHERWISE))
