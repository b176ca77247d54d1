"""Running checks: what rests on what, and how long anything may take."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from harbor_aws.infra.doctor.asking import MayNotAskError, MissingError, ask, in_background
from harbor_aws.infra.doctor.check import ON_AWS, Check, Kind
from harbor_aws.infra.doctor.finding import Finding, Outcome, Verdict
from harbor_aws.infra.doctor.run import examine
from harbor_aws.infra.doctor.subject import Question, Subject
from harbor_aws.infra.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SEEN = Outcome.ok("seen")
LOCAL = Subject(Question(stack="local", kind=Kind.LOCAL, account=None))


def check(
    name: str,
    outcome: Outcome | BaseException | Callable[[], Awaitable[Outcome]] = SEEN,
    *needs: str,
    **options: object,
) -> Check:
    async def look(_: Subject) -> Outcome:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome if isinstance(outcome, Outcome) else await outcome()

    return Check(id=name, title=name.title(), look=look, fix=f"mend {name}", needs=needs, **options)  # type: ignore[arg-type]  # fields of a check


async def found(*checks: Check, patience_seconds: float = 10) -> dict[str, Outcome]:
    return {each.id: each.outcome for each in await examine(checks, LOCAL, patience_seconds=patience_seconds)}


async def test_what_rests_on_a_failure_is_skipped() -> None:
    """However far away the failure is; what does not rest on it is looked at."""
    seen = await found(
        check("a", Outcome.failed("broken", "mend it")), check("b", SEEN, "a"), check("c", SEEN, "b"), check("d")
    )
    assert [seen[each].verdict for each in "abcd"] == [
        Verdict.FAILED,
        Verdict.SKIPPED,
        Verdict.SKIPPED,
        Verdict.OK,
    ]
    assert (seen["b"].evidence, seen["c"].evidence) == ("it rests on a", "it rests on b")


@pytest.mark.parametrize(
    "need",
    [
        check("need", Outcome.warning("odd", "look")),
        check("need", Outcome.skipped("nothing there")),
        check("need", MayNotAskError("sqs:GetQueueAttributes")),
        check("need", Outcome.failed("not to be seen", ""), applies_to=ON_AWS),
    ],
    ids=["a warning", "skipped", "not allowed", "not applicable"],
)
async def test_what_is_no_failure_holds_nothing_up(need: Check) -> None:
    """What rests on a check that warned, had nothing to see, may not ask or is for other stacks is looked at."""
    assert (await found(need, check("rest", Outcome.ok("seen"), "need")))["rest"].verdict is Verdict.OK


async def test_what_cannot_be_told_holds_up() -> None:
    """Skipped, but blocking: what rests on it has nothing to look at."""
    seen = await found(check("need", Outcome.blocked("no")), check("rest", Outcome.ok(""), "need"))
    assert seen["rest"].verdict is Verdict.SKIPPED


async def test_a_look_that_hangs_fails() -> None:
    """In its own time, and the others do not wait for it."""
    begun = time.monotonic()

    async def hang() -> Outcome:
        await asyncio.sleep(3600)
        raise AssertionError

    done: list[str] = []
    findings = await examine(
        [check("hangs", hang), check("quick"), check("later", hang, seconds=0.2)],
        LOCAL,
        on_finding=lambda each: done.append(each.id),
        patience_seconds=0.1,
    )
    assert done == ["quick", "hangs", "later"]
    assert findings[0].outcome == Outcome.failed("no answer within 0.1 s", "mend hangs")
    assert findings[2].outcome.evidence == "no answer within 0.2 s"
    assert time.monotonic() - begun < 60


async def test_a_thread_that_hangs_is_left_alone() -> None:
    """A blocking call without an end fails its check, and neither the loop nor the process waits for it."""
    release = threading.Event()

    async def block() -> Outcome:
        return await in_background(lambda: Outcome.ok(str(release.wait(60))))

    seen = await found(check("blocks", block), patience_seconds=0.1)
    assert seen["blocks"].verdict is Verdict.FAILED
    (thread,) = [each for each in threading.enumerate() if each.name == "harbor-aws-doctor"]
    assert thread.daemon
    release.set()
    await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()


async def test_errors_are_findings() -> None:
    """What the look raises on purpose is evidence, and the check's own fix goes with it; a missing right skips."""
    seen = await found(
        check("fails", TransientError("The API is away.")), check("asks", MayNotAskError("s3:ListBucket"))
    )
    assert seen["fails"] == Outcome.failed("The API is away.", "mend fails")
    assert seen["asks"] == Outcome.skipped("may not ask (s3:ListBucket)")


async def test_a_bug_hides_nothing_and_is_not_hidden(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody raises on purpose fails its check, with a traceback in the log; the others are found all the same."""
    seen = await found(check("bug", ZeroDivisionError("of ours")), check("sound"))
    assert [seen[each].verdict for each in ("bug", "sound")] == [Verdict.FAILED, Verdict.OK]
    assert "ZeroDivisionError('of ours')" in seen["bug"].evidence
    assert "Traceback" in caplog.text


async def test_findings_are_in_order() -> None:
    """As the checks are, whichever was done first."""

    async def slow() -> Outcome:
        await asyncio.sleep(0.05)
        return Outcome.ok("late")

    findings = await examine([check("first", slow), check("second")], LOCAL)
    assert [each.id for each in findings] == ["first", "second"]
    assert findings[0] == Finding("first", "First", Outcome.ok("late"))


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said"}}, "GetIt")


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (client_error("AccessDenied"), MayNotAskError, "may not it:Get"),
        (client_error("AccessDeniedException"), MayNotAskError, "may not it:Get"),
        (client_error("403"), MayNotAskError, "may not it:Get"),
        (client_error("QueueDoesNotExist"), MissingError, "QueueDoesNotExist: said"),
        (client_error("ExpiredToken"), PermanentError, "it:Get: ExpiredToken: said"),
        (EndpointConnectionError(endpoint_url="https://x"), TransientError, "it:Get: Could not connect"),
    ],
)
async def test_what_aws_says(raised: Exception, kind: type[Exception], text: str) -> None:
    """A missing right, a missing thing, another refusal and silence are told apart."""

    def call() -> None:
        raise raised

    with pytest.raises(kind, match=text):
        await ask("it:Get", call)
