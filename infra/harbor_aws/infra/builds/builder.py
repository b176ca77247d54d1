"""The door to CodeBuild. Blocking."""

from __future__ import annotations

import hashlib
import json
from itertools import batched
from typing import TYPE_CHECKING, Self

from harbor_aws.infra.aws import codebuild_client
from harbor_aws.infra.aws_errors import translated
from harbor_aws.infra.builds.build import build_of
from harbor_aws.infra.builds.failure import MORE_BUILDS
from harbor_aws.infra.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_codebuild import CodeBuildClient

    from harbor_aws.infra.aws import Account
    from harbor_aws.infra.builds.build import Build

MOST_PER_REQUEST = 100
"""Builds that one BatchGetBuilds tells of, and one page of a project's builds.
https://docs.aws.amazon.com/codebuild/latest/APIReference/API_BatchGetBuilds.html"""


_NONE_AT_ALL = "more than 0 builds"
"""How CodeBuild says that the account may have none; new ones may not."""


class BuildLimitError(TransientError):
    """The account may have no more builds at once; one that ends makes room, but where the quota is none."""


class NoBuildsError(BuildLimitError):
    """The quota is none: no build that ends makes room."""


class Builder:
    """CodeBuild in one region.

    Every method raises :class:`~harbor_aws.infra.aws_errors.CredentialsError`, :class:`TransientError` when AWS
    did not answer or asks to come again (after botocore's own retries), and :class:`PermanentError` when it refuses.
    """

    def __init__(self, client: CodeBuildClient) -> None:
        self._client = client

    @classmethod
    def of(cls, account: Account) -> Self:
        with translated("make a client"):
            return cls(codebuild_client(account))

    def begin(self, project: str, wanted: Sequence[Mapping[str, str]]) -> list[str]:
        """A build for each set of variables: the one that is under way, whoever started it, or a new one.

        Whoever asks at the same time gets the same builds; who asks after one ended gets a new one.

        Returns:
            The builds' ids, in the order of ``wanted``.

        Raises:
            BuildLimitError: the account may have no more builds at once. Those that were begun go on; asked for again,
                they are found.
        """
        recent = self.recent(project)
        over = ended(recent)
        return [self.join_or_start(project, variables, recent, over=over) for variables in wanted]

    def join_or_start(
        self, project: str, variables: Mapping[str, str], recent: Sequence[Build], *, over: Container[str]
    ) -> str:
        """The id of the last build with these variables, or of a new one if that is among ``over``.

        Args:
            recent: what :meth:`recent` has just said.
            over: builds that ended before it was seen that what is wanted is not there. Any other is as good as a new
                one, whoever began it and however it has ended since.
        """
        last = next((build for build in recent if build.has(variables)), None)
        if last and last.id not in over:
            return last.id
        return self.start(project, variables, token=_token(variables, after=last))

    def start(self, project: str, variables: Mapping[str, str], *, token: str) -> str:
        """Start a build; its id.

        Args:
            variables: of the build's environment, beside the project's own.
            token: the same one starts nothing anew for five minutes, but has the id of what it started.

        Raises:
            BuildLimitError: the account may have no more builds at once.
            NoBuildsError: it may have none at all.
        """
        with translated(f"start a build of {project}"):
            try:
                answer = self._client.start_build(
                    projectName=project,
                    environmentVariablesOverride=[
                        {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()
                    ],
                    idempotencyToken=token,
                )
            except self._client.exceptions.AccountLimitExceededException as error:
                message = error.response.get("Error", {}).get("Message", "")
                kind = NoBuildsError if _NONE_AT_ALL in message else BuildLimitError
                raise kind(f"CodeBuild starts no more builds: {message} → {MORE_BUILDS}") from error
        return answer["build"]["id"]

    def recent(self, project: str) -> list[Build]:
        """The project's builds, the newest first, as far back as there are any under way.

        That is told by the hundred. CodeBuild promises no order among those that wait, so one may go on behind a
        hundred younger ones that have ended; it is then begun again, which costs a machine and no more: tags are not
        moved.
        """
        found: list[Build] = []
        for ids in self._pages(project):
            known = self.builds(ids)
            page = [known[each] for each in ids if each in known]
            found += page
            if all(build.has_ended for build in page):
                break
        return found

    def builds(self, ids: Iterable[str]) -> dict[str, Build]:
        """Those that CodeBuild knows, by their ids; one request per hundred."""
        found: dict[str, Build] = {}
        with translated("look at the builds"):
            for some in batched(ids, MOST_PER_REQUEST):
                rows = self._client.batch_get_builds(ids=list(some))["builds"]
                found |= {row["id"]: build_of(row) for row in rows}
        return found

    def _pages(self, project: str) -> Iterator[list[str]]:
        """The ids of the project's builds, the newest first, by the hundred."""
        with translated(f"list the builds of {project}"):
            answer = self._client.list_builds_for_project(projectName=project, sortOrder="DESCENDING")
        yield answer["ids"]
        while token := answer.get("nextToken"):
            with translated(f"list the builds of {project}"):
                answer = self._client.list_builds_for_project(
                    projectName=project, sortOrder="DESCENDING", nextToken=token
                )
            yield answer["ids"]


def ended(builds: Iterable[Build]) -> set[str]:
    """Ids of those that have."""
    return {build.id for build in builds if build.has_ended}


def _token(variables: Mapping[str, str], *, after: Build | None) -> str:
    """The same for all who want this build and know of the same last one."""
    text = json.dumps([sorted(variables.items()), after.id if after else None])
    return hashlib.sha256(text.encode()).hexdigest()
