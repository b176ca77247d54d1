"""Following ends, whatever becomes of the trials."""

from __future__ import annotations

from itertools import chain, repeat

import pytest

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.queues import QueueCounts
from harbor_aws.producer.cost import cost
from harbor_aws.producer.follow import StrandedError, follow
from harbor_aws.producer.overview import Overview


class Reader:
    """A job of two trials whose endings come look by look, ``None`` being none; the last one stays."""

    def __init__(self, *phases: dict[str, int] | None) -> None:
        self._phases = chain(phases[:-1], repeat(phases[-1]))

    def read(self) -> Overview:
        phases = next(self._phases)
        if phases is None:
            raise TransientError("S3 did not answer.")
        return Overview(
            job="job",
            trials=2,
            phases=phases,
            in_flight=[],
            waiting=[],
            dead=[],
            rewards={},
            exceptions={},
            cost=cost([]),
        )


class Messages:
    """A queue with so many messages, look by look, ``None`` being no answer; the last number stays."""

    def __init__(self, *numbers: int | None) -> None:
        self._numbers = chain(numbers[:-1], repeat(numbers[-1]))

    def counts(self) -> QueueCounts:
        number = next(self._numbers)
        if number is None:
            raise TransientError("SQS did not answer.")
        return QueueCounts(visible=0, in_flight=number, delayed=0)


def looks(
    reader: Reader, messages: Messages, *, stranded_seconds: float = 0.2, patience_seconds: float = 60
) -> list[dict[str, int]]:
    seen: list[dict[str, int]] = []
    follow(
        reader,  # type: ignore[arg-type]  # it reads
        messages,  # type: ignore[arg-type]  # it counts
        on_look=lambda overview: seen.append(overview.phases),
        interval_seconds=0.01,
        stranded_seconds=stranded_seconds,
        patience_seconds=patience_seconds,
    )
    return seen


def test_it_ends_when_all_have_ended() -> None:
    """Results and dead letters are endings; every look is shown."""
    phases = [{"queued": 2}, {"agent": 1, "dead": 1}, {"committed": 1, "dead": 1}]
    assert looks(Reader(*phases), Messages(2)) == phases


def test_trials_that_nobody_will_run_are_not_waited_for() -> None:
    """When the queue has been empty for a while the rest has no message any more."""
    with pytest.raises(StrandedError, match="1 of 2 trials"):
        looks(Reader({"committed": 1, "agent": 1}), Messages(0))


def test_a_queue_that_is_empty_for_a_moment_is_no_reason() -> None:
    """Approximate counts that say 0 once do not end the following."""
    phases = [{"agent": 2}, {"agent": 2}, {"agent": 2}, {"committed": 2}]
    assert looks(Reader(*phases), Messages(0, 2, 0), stranded_seconds=60) == phases


def test_a_look_that_fails_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """While S3 or SQS does not answer nothing new is shown, one line says so, and following goes on."""
    reader = Reader({"agent": 2}, None, None, {"agent": 2}, {"agent": 2}, None, {"committed": 2})
    assert len(looks(reader, Messages(2, 2, None, 2))) == 4
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "S3 did not answer" in caplog.messages[0]


def test_an_outage_is_given_up_on() -> None:
    """When no look has worked for too long, the last failure is raised."""
    with pytest.raises(TransientError, match="S3 did not answer"):
        looks(Reader({"agent": 2}, None), Messages(2), patience_seconds=0.1)


def test_an_outage_does_not_strand_trials() -> None:
    """A queue that was empty before and after an outage may have been anything in between."""
    reader = Reader({"agent": 2}, *[None] * 30, {"agent": 2}, {"committed": 2})
    assert len(looks(reader, Messages(0, 0), stranded_seconds=0.2)) == 3
