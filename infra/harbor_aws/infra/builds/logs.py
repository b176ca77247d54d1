"""The door to what builds print. Blocking."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from harbor_aws.infra.aws import logs_client
from harbor_aws.infra.aws_errors import translated
from harbor_aws.infra.errors import HarborAwsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_logs import CloudWatchLogsClient

    from harbor_aws.infra.aws import Account
    from harbor_aws.infra.builds.build import Build

TAIL_LINES = 20
"""Lines of a log's end that tell why a build failed."""

_EVENTS = 200
"""Events that are read for them: CodeBuild's own lines are many at the end."""

_AGENT = "[Container] "
"""How the lines of CodeBuild itself begin, of which the build already says what matters."""

_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class BuildLogs:
    """CloudWatch's logs in one region."""

    def __init__(self, client: CloudWatchLogsClient) -> None:
        self._client = client

    @classmethod
    def of(cls, account: Account) -> Self:
        with translated("make a client"):
            return cls(logs_client(account))

    def tail(self, build: Build) -> list[str]:
        """The last lines that the build's commands printed; why not, if they cannot be read."""
        if build.log is None:
            return []
        try:
            with translated("read the build's log"):
                events = self._client.get_log_events(
                    logGroupName=build.log.group, logStreamName=build.log.stream, limit=_EVENTS, startFromHead=False
                )["events"]
        except HarborAwsError as error:
            return [f"(its log could not be read: {error})"]
        return last_lines(event.get("message", "") for event in events)


def last_lines(messages: Iterable[str], *, most: int = TAIL_LINES) -> list[str]:
    """The last lines of a log, safe to print: whoever wrote the Dockerfile wrote them."""
    lines = [line for message in messages for line in message.splitlines() if not line.startswith(_AGENT)]
    return [_printable(line) for line in lines if line.strip()][-most:]


def _printable(line: str) -> str:
    text = _CONTROL_SEQUENCE.sub("", line).expandtabs(4)
    return "".join(character if character.isprintable() else " " for character in text).rstrip()
