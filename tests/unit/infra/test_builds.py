"""Builds as CodeBuild tells of them, their logs, and why they failed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from harbor_aws.infra.builds import follow as following
from harbor_aws.infra.builds import many
from harbor_aws.infra.builds.build import Build, FailedPhase, LogPlace, build_of
from harbor_aws.infra.builds.builder import BuildLimitError, NoBuildsError
from harbor_aws.infra.builds.failure import BuildBrokenOffError, BuildFailedError, failure
from harbor_aws.infra.builds.follow import UnknownBuildError, follow
from harbor_aws.infra.builds.logs import last_lines
from harbor_aws.infra.builds.many import Builds, build_all
from harbor_aws.infra.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from harbor_aws.infra.builds.builder import Builder

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
LOG = LogPlace("/harbor-aws/team/worker-builds", "1234", "https://console.example/1234")
COMMAND = "Error while executing command: docker build /tmp/context. Reason: exit status 1"


def row(**more: Any) -> Any:
    """A build that waits for a machine."""
    return {"id": "p:1", "buildStatus": "IN_PROGRESS", "currentPhase": "QUEUED", **more}


def test_a_build_that_begins() -> None:
    """It has a phase before it has anything else."""
    assert build_of(row()) == Build("p:1", "IN_PROGRESS", "QUEUED")
    assert not build_of(row()).has_ended


def test_a_build_that_runs() -> None:
    """Since when it is at its phase, what it was started with, and where its log is."""
    build = build_of(
        row(
            currentPhase="BUILD",
            phases=[
                {"phaseType": "SUBMITTED", "phaseStatus": "SUCCEEDED"},
                {"phaseType": "BUILD", "startTime": AT},
            ],
            environment={"environmentVariables": [{"name": "TAG", "value": "1"}, {"name": "BUCKET", "value": "b"}]},
            logs={"groupName": LOG.group, "streamName": LOG.stream, "deepLink": LOG.url},
        )
    )
    assert (build.phase_since, build.log, build.failed) == (AT, LOG, None)
    assert build.has({"TAG": "1"})
    assert not build.has({"TAG": "2"})
    assert not build.has({"TAG": "1", "DIGEST": "d"})


def test_the_first_phase_that_failed_tells_why() -> None:
    """Those after it fail because of it, or clean up."""
    build = build_of(
        row(
            buildStatus="FAILED",
            currentPhase="COMPLETED",
            phases=[
                {"phaseType": "INSTALL", "phaseStatus": "SUCCEEDED", "contexts": [{"message": "", "statusCode": ""}]},
                {"phaseType": "BUILD", "phaseStatus": "FAILED", "contexts": [{"message": COMMAND}]},
                {"phaseType": "POST_BUILD", "phaseStatus": "FAILED", "contexts": [{"message": "no image"}]},
                {"phaseType": "COMPLETED"},
            ],
        )
    )
    assert build.failed == FailedPhase("BUILD", COMMAND)
    assert (build.has_ended, build.has_succeeded) == (True, False)


def test_the_end_of_a_log() -> None:
    """What the commands printed, in order, without CodeBuild's own lines, without what a terminal would obey."""
    messages = [
        "[Container] 2026/11/22 12:00:00.000000 Running command docker build /tmp/context\n",
        "#5 RUN \x1b[31mpip\x1b[0m install\r\n",
        "\n",
        "#5 1.2\tERROR: no\x07 matching \x1b]0;title\x07distribution\n#5 two in one",
        "[Container] 2026/11/22 12:00:09.000000 Phase complete: BUILD State: FAILED",
    ]
    assert last_lines(messages) == [
        "#5 RUN pip install",
        "#5 1.2  ERROR: no  matching  ]0;title distribution",
        "#5 two in one",
    ]
    assert last_lines([f"{number}\n" for number in range(100)], most=3) == ["97", "98", "99"]


@pytest.mark.parametrize(
    ("status", "phase", "log", "kind", "words"),
    [
        ("FAILED", "BUILD", ["no such package"], BuildFailedError, "Put right what the log says"),
        ("FAILED", "BUILD", ["toomanyrequests: You have reached your pull rate limit"], BuildBrokenOffError, "later"),
        ("FAILED", "BUILD", ["write /var/lib/docker: no space left on device"], BuildFailedError, "too large"),
        ("FAILED", "BUILD", ["toomanyrequests: retry-after: 1ms"], BuildBrokenOffError, "--docker-hub-secret"),
        ("FAILED", "BUILD", ["exec /bin/sh: exec format error"], BuildFailedError, "linux/amd64"),
        ("FAILED", "BUILD", ["dial tcp: lookup ghcr.io: i/o timeout"], BuildBrokenOffError, "network"),
        ("TIMED_OUT", "BUILD", ["read: connection reset by peer"], BuildBrokenOffError, "network"),
        ("FAULT", "PROVISIONING", [], BuildBrokenOffError, "CodeBuild itself failed"),
        ("STOPPED", "BUILD", [], BuildBrokenOffError, "Somebody stopped it"),
        ("TIMED_OUT", "BUILD", [], BuildFailedError, "time was over"),
        ("TIMED_OUT", "QUEUED", [], BuildBrokenOffError, "servicequotas"),
    ],
)
def test_how_a_build_fails(status: str, phase: str, log: list[str], kind: type[Exception], words: str) -> None:
    """Each ending has its kind, which says whether another try may do, as what it says to do does."""
    build = Build("p:1", status, "COMPLETED", failed=FailedPhase(phase, "" if log else "because"), log=LOG)
    error = failure(build, what="the workers' image", log=log)
    assert type(error) is kind
    assert words in str(error).splitlines()[-1]


def test_a_failure_says_all_that_there_is() -> None:
    """What, how, in which phase, CodeBuild's message, the log's end and its place."""
    build = Build("p:1", "FAILED", "COMPLETED", failed=FailedPhase("BUILD", COMMAND), log=LOG)
    assert str(failure(build, what="the workers' image", log=["line 1", "line 2"])).splitlines() == [
        f"The build of the workers' image ended as FAILED in phase BUILD (p:1): {COMMAND}",
        "The end of its log:",
        "  line 1",
        "  line 2",
        f"All of it: log group {LOG.group}, stream {LOG.stream}; {LOG.url}",
        "→ Put right what the log says, then run the command again.",
    ]
    bare = Build("p:1", "FAULT", "COMPLETED")
    assert str(failure(bare, what="it", log=[])).splitlines()[:2] == [
        "The build of it ended as FAULT (p:1).",
        "It has no log.",
    ]


class Looks:
    """CodeBuild's answers, one after the other; the last for ever."""

    def __init__(self, *answers: list[Build] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[list[str]] = []

    def builds(self, ids: Iterable[str]) -> dict[str, Build]:
        self.asked.append(list(ids))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {build.id: build for build in answer if build.id in self.asked[-1]}


def builder(looks: Looks) -> Builder:
    return cast("Builder", looks)


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_SECONDS", 0)


RUNNING, DONE = (Build("a", "IN_PROGRESS", "BUILD"), Build("a", "SUCCEEDED", "COMPLETED"))
OTHER = Build("b", "FAILED", "COMPLETED")


@pytest.mark.usefixtures("_no_waiting")
def test_following_goes_on_to_the_end_of_the_last() -> None:
    """Every look is told; an ended build is not asked for again; a failed one is a result too."""
    looks, told = Looks([RUNNING, OTHER], [RUNNING], [DONE]), []
    ended = follow(builder(looks), ["b", "a"], on_look=lambda builds: told.append([each.phase for each in builds]))
    assert ended == [OTHER, DONE]
    assert told == [["COMPLETED", "BUILD"], ["COMPLETED", "BUILD"], ["COMPLETED", "COMPLETED"]]
    assert looks.asked == [["b", "a"], ["a"], ["a"]]


@pytest.mark.usefixtures("_no_waiting")
def test_silence_is_borne_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A throttled look is made again, and the patience counts from the last answer."""
    silence = TransientError("Rate exceeded")
    assert follow(builder(Looks([RUNNING], silence, silence, [DONE])), ["a"], on_look=lambda _: None) == [DONE]
    monkeypatch.setattr(following, "PATIENCE_SECONDS", -1)
    with pytest.raises(TransientError, match="Rate exceeded"):
        follow(builder(Looks([RUNNING], silence, [DONE])), ["a"], on_look=lambda _: None)


@pytest.mark.usefixtures("_no_waiting")
def test_an_unknown_build_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was just started may not be known at once; one that stays unknown is an error."""
    assert follow(builder(Looks([], [DONE])), ["a"], on_look=lambda _: None) == [DONE]
    monkeypatch.setattr(following, "UNKNOWN_SECONDS", -1)
    with pytest.raises(UnknownBuildError, match="does not know the build a"):
        follow(builder(Looks([])), ["a"], on_look=lambda _: None)


class Room:
    """CodeBuild with room for so many builds at once, each of which ends at the look after the one it began at."""

    def __init__(self, most: int, *, failures: Iterable[Exception] = ()) -> None:
        self._most = most
        self._failures = list(failures)
        self._running: dict[str, int] = {}

    def recent(self, _: str) -> list[Build]:
        if self._failures:
            raise self._failures.pop(0)
        return []

    def join_or_start(self, _: str, variables: Mapping[str, str], __: Sequence[Build], *, over: Container[str]) -> str:
        if len(self._running) >= self._most:
            raise BuildLimitError("no more")
        self._running[variables["TAG"]] = 0
        return variables["TAG"]

    def builds(self, ids: Iterable[str]) -> dict[str, Build]:
        asked = list(ids)
        for each in asked:
            self._running.pop(each, None)
        return {each: Build(each, "SUCCEEDED", "COMPLETED") for each in asked}


def begin_all(room: Room, tags: str) -> tuple[list[Build], list[Builds]]:
    """The builds as they ended, and what was told after each look."""
    told: list[Builds] = []
    wanted = [{"TAG": tag} for tag in tags]
    return build_all(cast("Builder", room), "p", wanted, over=(), on_look=told.append), told


@pytest.fixture
def _no_look_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "LOOK_SECONDS", 0)


@pytest.mark.usefixtures("_no_look_waits")
def test_more_builds_than_there_is_room_for() -> None:
    """They begin as others end, and are told in the order in which they were asked for."""
    ended, told = begin_all(Room(2), "abcde")
    assert [build.id for build in ended] == list("abcde")
    assert [sum(build is None for build in look.begun) for look in told] == [3, 1, 0, 0]


@pytest.mark.usefixtures("_no_look_waits")
def test_room_that_others_take_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as a build may last; where there will never be any, not at all."""
    monkeypatch.setattr(many, "ROOM_SECONDS", 0.05)
    with pytest.raises(BuildLimitError, match="no more"):
        begin_all(Room(0), "a")
    with pytest.raises(NoBuildsError, match="none at all"):
        begin_all(Room(1, failures=[NoBuildsError("none at all")]), "a")


@pytest.mark.usefixtures("_no_look_waits")
def test_silence_costs_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """A throttled request is made again at the next look; the patience counts from the last answer."""
    silence = [TransientError("Rate exceeded")] * 3
    ended, _ = begin_all(Room(1, failures=silence), "ab")
    assert len(ended) == 2
    monkeypatch.setattr(many, "PATIENCE_SECONDS", -1)
    with pytest.raises(TransientError, match="Rate exceeded"):
        begin_all(Room(1, failures=silence), "a")
