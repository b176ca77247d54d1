"""The local stack's own life: found again, taken down, whatever was done to its parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.conftest import RunningStack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]

MARK = "HARBOR_AWS_LOCAL_PART"


@pytest.fixture
def own() -> Iterator[RunningStack]:
    """A place for a local stack of the test's own; nothing of it may be left at the end."""
    if os.geteuid() != 0:
        pytest.skip("pods as processes need root")
    with tempfile.TemporaryDirectory(prefix="harbor-aws-own-") as home:
        running = RunningStack(home=Path(home), cluster="embedded", has_built_images=True)
        try:
            yield running
        finally:
            groups = memory_groups(running)
            running.run("local", "down", check=False)
        assert processes_of(running) == []
        assert mount_points(below=home) == []
        assert [group for group in groups if group.exists()] == []
        assert list(Path(home).iterdir()) == []


def processes_of(stack: RunningStack) -> list[int]:
    """Every process that has the stack's home in its environment: servers, workers and what they started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(stack.home).encode() in environment and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def part(stack: RunningStack, name: str) -> int:
    """The pid of a part's first process."""
    mark = f"{MARK}={stack.home.resolve()}/harbor-aws/local:{name}".encode()
    return min(pid for pid in processes_of(stack) if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


def mount_points(*, below: str) -> list[str]:
    """The rest of the machine's are nobody's business here."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if point.startswith(below)]


def memory_groups(stack: RunningStack) -> list[Path]:
    """The control group that the stack's pods have theirs below, once one of them had a limit."""
    record = stack.home / "harbor-aws/local/kubernetes/containers/cgroup"
    return [Path(record.read_text())] if record.exists() else []


def test_a_second_up_finds_the_first(own: RunningStack) -> None:
    """The queue stays the same, and so what is in it."""
    own.run("local", "up", "--detach", "--workers", "0")
    first = own.json("local", "status")
    own.run("local", "up", "--workers", "1")
    assert own.json("local", "status")["stack"] == first["stack"]


@pytest.mark.parametrize("name", ["aws", "kubernetes"])
def test_down_cleans_up_after_a_part_that_was_killed(own: RunningStack, name: str) -> None:
    """kill -9 of a server: `status` says so, and `down` leaves no process, mount, cgroup or file."""
    own.run("local", "up", "--detach", "--workers", "1")
    limited = {
        "name": "limited",
        "image": "any",
        "command": ["sleep", "600"],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    own.kubectl("run", "limited", "--image=any", "--overrides", json.dumps({"spec": {"containers": [limited]}}))
    wait_until(lambda: own.kubectl("get", "pod", "limited", "-o", "jsonpath={.status.phase}") == "Running")
    os.kill(part(own, name), signal.SIGKILL)
    wait_until(lambda: own.run("local", "status", check=False).returncode == 1)
    assert json.loads(own.run("local", "status", "--json", check=False).stdout)["parts"][name] is False


def test_up_after_a_part_was_killed_starts_anew(own: RunningStack) -> None:
    """What was half there is replaced by a whole stack."""
    own.run("local", "up", "--detach", "--workers", "0")
    os.kill(part(own, "aws"), signal.SIGKILL)
    wait_until(lambda: own.run("local", "status", check=False).returncode == 1)
    own.run("local", "up", "--detach", "--workers", "0")
    assert own.json("local", "status")["up"]
    assert own.json("status")["jobs"] == []


def test_ctrl_c_takes_a_stack_in_the_foreground_down(own: RunningStack) -> None:
    """`local up` without --detach ends with 130 on Ctrl-C, and nothing runs any more."""
    program = str(Path(sys.executable).with_name("harbor-aws"))
    command = [program, "local", "up", "--workers", "0"]
    # Whoever runs the tests in the background has them ignore SIGINT, and every process after them.
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    with subprocess.Popen(command, env=own.environment, preexec_fn=heed) as foreground:
        wait_until(lambda: own.run("local", "status", check=False).returncode == 0)
        foreground.send_signal(signal.SIGINT)
        assert foreground.wait(60) == 130


def test_without_a_stack_a_command_says_what_to_do(own: RunningStack) -> None:
    """Exit code 2 and one line that names the command that starts it."""
    done = own.run("status", check=False)
    assert done.returncode == 2
    assert done.stderr == "Error: There is no stack 'local' on this machine; start it with `harbor-aws local up`.\n"


def wait_until(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)
