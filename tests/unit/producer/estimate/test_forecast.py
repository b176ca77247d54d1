"""From durations of earlier runs to those of trials."""

from __future__ import annotations

import pytest
from tests.unit.producer.estimate.estimate_fakes import planned, run

from harbor_aws.producer.estimate.forecast import TrialTimes, forecast


def test_one_trial_takes_the_median() -> None:
    """Of an even number of runs the middle of the two."""
    found = forecast([planned("a")], [run(10), run(500), run(30), run(20, verifier=4)])
    assert found is not None
    assert found.times == {"a": TrialTimes(agent=25, verifier=2, start=0)}


def test_many_trials_are_the_whole_distribution() -> None:
    """They add up to the mean of what was measured, with its slowest among them."""
    trials = [planned(f"t{number}") for number in range(400)]
    found = forecast(trials, [run(seconds) for seconds in (10, 20, 30, 1000)])
    assert found is not None
    times = [found.times[trial.trial].agent for trial in trials]
    assert sum(times) / 400 == pytest.approx(265, rel=0.01)
    assert (min(times), max(times)) == (10, 1000)
    (task,) = found.tasks
    assert (task.trials, task.runs, task.median_seconds, task.p95_seconds) == (400, 4, 25, 1000)


def test_the_95th_percentile() -> None:
    """Of a hundred runs the 95th."""
    found = forecast([planned("a")], [run(seconds) for seconds in range(1, 101)])
    assert found is not None
    assert found.tasks[0].p95_seconds == 95


def test_the_same_files_before_the_same_name_before_the_others() -> None:
    """A task that was changed is like its former self; one that is new is like the middle of all."""
    runs = [run(10), run(100, bundle="older"), run(1000, task="other", bundle="others")]
    trials = [planned("same"), planned("changed", bundle="newer"), planned("new", task="new", bundle="new")]
    found = forecast(trials, runs)
    assert found is not None
    assert {name: times.agent for name, times in found.times.items()} == {"same": 10, "changed": 55, "new": 100}
    assert [(task.task, task.runs) for task in found.tasks] == [("task", 1), ("task", 2), ("new", 0)]


def test_another_agents_runs_count_only_if_asked() -> None:
    """An oracle is done in seconds where a model takes an hour."""
    other = run(5, agent="oracle", job="easy")
    assert forecast([planned("a")], [other]) is None
    found = forecast([planned("a")], [other], any_agent=True)
    assert found is not None
    assert (found.times["a"].agent, found.jobs) == (5, ["easy"])
    own = forecast([planned("a")], [other, run(50)], any_agent=True)
    assert own is not None
    assert own.times["a"].agent == 50


def test_an_agent_that_never_ran_is_like_no_other() -> None:
    """Its trials are not expected to take any time; a task that its agent never ran is like those that it ran."""
    trials = [planned("a"), planned("b", task="new", bundle="new"), planned("c", agent={"name": "claude-code"})]
    found = forecast(trials, [run(5), run(900, agent="aider")])
    assert found is not None
    assert {name: times.agent for name, times in found.times.items()} == {"a": 5, "b": 5}
    assert [(task.task, task.agent) for task in found.tasks] == [("task", "nop"), ("new", "nop")]


def test_nothing_known_is_no_forecast() -> None:
    """And no guess."""
    assert forecast([planned("a")], []) is None
