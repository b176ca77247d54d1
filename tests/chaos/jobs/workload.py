"""Small tasks, and what becomes of their trials when nothing goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.tiny_tasks import make_task

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "registry.invalid/nowhere:1"
"""An image that nobody can pull."""

_TOML = """\
version = "1.0"
[agent]
timeout_sec = {agent_seconds}
[verifier]
timeout_sec = 120.0
[environment]
docker_image = "{image}"
cpus = 1
memory_mb = 256
"""

_ANSWERS = {
    "right": ("sleep 3; echo 42 > /tmp/answer", 'test "$(cat /tmp/answer)" = 42 && reward 1', 1.0),
    "wrong": ("sleep 2; echo 41 > /tmp/answer", 'test "$(cat /tmp/answer)" = 42 && reward 1 || reward 0', 0.0),
    "half": (
        "for n in 1 2 3 4 5; do echo step $n; sleep 1; done; touch /tmp/half",
        "test -e /tmp/half && reward 0.5",
        0.5,
    ),
    "bulky": (
        "head -c 2000000 /dev/urandom > /logs/agent/noise; sha256sum < /logs/agent/noise > /tmp/sum; sleep 1",
        'test "$(sha256sum < /logs/agent/noise)" = "$(cat /tmp/sum)" && reward 1',
        1.0,
    ),
    "late": ("sleep 300; touch /tmp/late", "test -e /tmp/late && reward 1 || reward 0.25", 0.25),
}
"""Name: what the agent does, what the verifier does, and the reward."""

_LATE_SECONDS = 6.0
_AGENT_SECONDS = 200.0

REWARDS = {name: reward for name, (_, _, reward) in _ANSWERS.items()}


def make_tasks(directory: Path) -> Path:
    """The tasks that end with a reward; their directory."""
    for name, (agent, verifier, _) in _ANSWERS.items():
        seconds = _LATE_SECONDS if name == "late" else _AGENT_SECONDS
        make_task(
            directory,
            name,
            toml=_TOML.format(agent_seconds=seconds, image="debian:bookworm"),
            files={
                "solution/solve.sh": f"#!/bin/bash\n{agent}\n",
                "tests/test.sh": f'#!/bin/bash\nreward() {{ echo "$1" > /logs/verifier/reward.txt; }}\n{verifier}\n',
            },
        )
    return directory


def make_slow_task(directory: Path, *, seconds: int) -> Path:
    """A task whose agent takes so long, and whose reward is 1."""
    return make_task(
        directory,
        "slow",
        toml=_TOML.format(agent_seconds=_AGENT_SECONDS, image="debian:bookworm"),
        files={"solution/solve.sh": f"#!/bin/bash\nsleep {seconds}\n"},
    )


def make_poison(directory: Path) -> Path:
    """A task for an agent that kills its worker."""
    return make_task(directory, "poison", toml=_TOML.format(agent_seconds=_AGENT_SECONDS, image="debian:bookworm"))


def make_unpullable(directory: Path) -> Path:
    """A task whose image is nowhere."""
    return make_task(directory, "nowhere", toml=_TOML.format(agent_seconds=_AGENT_SECONDS, image=NOWHERE))
