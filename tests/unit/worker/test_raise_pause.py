"""How long nothing is taken after trials that raised, and how that ends."""

from __future__ import annotations

from harbor_aws.infra.local.services import MAX_RECEIVES
from harbor_aws.worker.raise_pause import FIRST_PAUSE_SECONDS, IN_A_ROW_SECONDS, LONGEST_PAUSE_SECONDS, RaisePause
from harbor_aws.worker.settle import BACKOFF_SECONDS, backoff_seconds


def test_many_that_raise_at_once_make_one_pause() -> None:
    """All slots of a process are no more than one: what was received before the pause says nothing new."""
    pause = RaisePause()
    assert pause.seconds_left(now=10) == 0
    for number in range(32):
        pause.raised(received_at=number / 32, now=10 + number / 100)
    assert pause.seconds_left(now=10) == FIRST_PAUSE_SECONDS


def test_the_pause_doubles_up_to_a_bound() -> None:
    """With each trial that was taken after the last one, and raises too, however long that takes."""
    pause, now, pauses = RaisePause(), 0.0, []
    for _ in range(8):
        received_at = now
        now += 60
        pause.raised(received_at=received_at, now=now)
        pauses.append(pause.seconds_left(now=now))
        now += pauses[-1]
    assert pauses == [5, 10, 20, 40, 80, 160, 300, LONGEST_PAUSE_SECONDS]


def test_a_trial_that_returns_ends_it() -> None:
    """At once, and the next one is the first again."""
    pause = RaisePause()
    pause.raised(received_at=0, now=1)
    pause.raised(received_at=6, now=7)
    pause.returned()
    assert pause.seconds_left(now=7) == 0
    pause.raised(received_at=8, now=9)
    assert pause.seconds_left(now=9) == FIRST_PAUSE_SECONDS


def test_one_message_that_raises_each_time_holds_up_nobody_for_long() -> None:
    """It comes back too late to be in a row with itself, so it costs the first pause at each of its receives."""
    pause, now = RaisePause(), 0.0
    for receives in range(1, MAX_RECEIVES + 1):
        pause.raised(received_at=now, now=now + 1)
        assert pause.seconds_left(now=now + 1) == FIRST_PAUSE_SECONDS
        now += 1 + backoff_seconds(receives)
    assert FIRST_PAUSE_SECONDS + IN_A_ROW_SECONDS < BACKOFF_SECONDS
