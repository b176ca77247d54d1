"""Why a build came to nothing, and what to do. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.builds.build import Build


class BuildFailedError(PermanentError):
    """What was built is at fault, or took too long: building it again fails again."""


class BuildBrokenOffError(TransientError):
    """CodeBuild or somebody ended the build, or it got no machine: building it again may do."""


MORE_BUILDS = (
    "Wait for the account's other builds, or raise its builds at once (new accounts may have one, or none) at "
    "https://console.aws.amazon.com/servicequotas/home/services/codebuild/quotas, then run the command again."
)

_BY_STATUS = {
    "FAILED": "Put right what the log says, then run the command again.",
    "FAULT": "CodeBuild itself failed; run the command again.",
    "STOPPED": "Somebody stopped it; run the command again.",
    "TIMED_OUT": "It was not done when the project's time was over; what takes so long is in the log.",
}

_BY_LOG = (
    (
        r"toomanyrequests|pull rate limit",
        "The base image's registry gives no more to CodeBuild's addresses, which many share; run the command again "
        "later. Docker Hub's images come through a cache after `harbor-aws deploy --docker-hub-secret`.",
    ),
    (
        r"no match for platform|no matching manifest for|exec format error",
        "A base image, or a program in one, is not for linux/amd64, which Fargate alone runs: name another.",
    ),
    (r"no space left on device", "The image is too large for the disk of the project's compute type."),
    (
        r"temporary failure in name resolution|could not resolve|connection (reset|timed out)|i/o timeout",
        "The network failed while it was built; run the command again.",
    ),
)
"""What to do about words in a log or in what CodeBuild says, the first that is found."""


def failure(build: Build, *, what: str, log: Sequence[str]) -> BuildFailedError | BuildBrokenOffError:
    """The error of a build that ended without success.

    Args:
        what: what was built, in words such as ``the workers' image``.
        log: the last lines that it printed.
    """
    is_broken_off = build.status in {"FAULT", "STOPPED"} or build.is_unbegun
    kind = BuildBrokenOffError if is_broken_off else BuildFailedError
    return kind("\n".join([_headline(build, what), *_log_lines(build, log), _what_to_do(build, log)]))


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


def _what_to_do(build: Build, log: Sequence[str]) -> str:
    if build.is_unbegun:
        return f"→ {MORE_BUILDS}"
    text = "\n".join([build.failed.message if build.failed else "", *log])
    known = (advice for words, advice in _BY_LOG if re.search(words, text, re.IGNORECASE))
    return f"→ {next(known, _BY_STATUS.get(build.status, 'Run the command again.'))}"
