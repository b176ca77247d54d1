"""How launches slow down while there is no room, and how that ends."""

from __future__ import annotations

from harbor_aws.worker.launch_pause import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LaunchPause


def test_a_first_refusal_pauses_and_others_change_nothing() -> None:
    """Thirty pods that are refused in one moment are no more than one."""
    pause = LaunchPause()
    assert [pause.refused(now=5 + n) for n in range(30)].count(True) == 1
    assert (pause.seconds, pause.seconds_until_next(now=5)) == (FIRST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS)


def test_a_burst_that_is_given_up_makes_the_pause_grow_once() -> None:
    """What was launched before it grew does not know how long it should be."""
    pause = LaunchPause()
    assert [pause.given_up(launched_at=n, now=120 + n) for n in range(30)].count(True) == 1
    assert pause.seconds == FIRST_PAUSE_SECONDS


def test_the_pause_doubles_up_to_a_bound() -> None:
    """With every pod that is given up and was launched since; in between, one is launched in a pause."""
    pause, now, pauses = LaunchPause(), 0.0, []
    pause.refused(now=now)
    for _ in range(6):
        now += pause.seconds_until_next(now=now)
        pause.launched(now=now)
        assert pause.seconds_until_next(now=now) == pause.seconds
        pause.given_up(launched_at=now, now=now + 120)
        pauses.append(pause.seconds)
        now += 120
    assert pauses == [30, 60, 120, 240, 300, LONGEST_PAUSE_SECONDS]
    assert not pause.given_up(launched_at=now, now=now + 1), "nothing to say"


def test_pods_that_get_room_bring_the_rate_back() -> None:
    """Each halves the pause, and the last one ends it; one from before the refusals proves nothing."""
    pause = LaunchPause()
    pause.refused(now=5)
    pause.given_up(launched_at=20, now=140)
    pause.admitted(since=0)
    assert pause.seconds == 30
    pause.launched(now=170)
    pause.admitted(since=170)
    assert (pause.seconds, pause.seconds_until_next(now=175)) == (15, 10)
    pause.admitted(since=190)
    assert (pause.seconds, pause.seconds_until_next(now=191)) == (0, 0)


def test_without_refusals_nothing_waits() -> None:
    """However many are launched."""
    pause = LaunchPause()
    for _ in range(100):
        assert pause.seconds_until_next(now=0) == 0
        pause.launched(now=0)


def test_a_turn_that_is_not_taken_is_the_next_ones() -> None:
    """Whose preparation failed launched nothing, and costs nobody the one launch in a while."""
    pause = LaunchPause()
    pause.refused(now=0)
    pause.launched(now=FIRST_PAUSE_SECONDS)
    assert pause.seconds_until_next(now=FIRST_PAUSE_SECONDS) == FIRST_PAUSE_SECONDS
    pause.not_launched()
    assert pause.seconds_until_next(now=FIRST_PAUSE_SECONDS) == 0
