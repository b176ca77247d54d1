"""Who is ended with a command, and who is not, on this machine's shells."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from tests.unit.worker.shell_pod import SHELLS, Pod, close, played, until

from harbor_aws.worker.exec.command_script import Command, start_script
from harbor_aws.worker.exec.end_script import OVER_EXIT_CODE, end_argv

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=SHELLS)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pod]:
    with played(request.param, tmp_path / "files") as pod:
        yield pod


def test_children_that_lead_sessions_are_ended(pod: Pod) -> None:
    """However fast they are born: the newest, which nobody has looked at, is no daemon for being left without one."""
    leader = pod.begin(pod.start(f"echo begun; while :; do setsid sleep {pod.forever} & sleep 0.01; done"))
    until(lambda: "begun" in pod.printed())
    assert pod.end() == 0
    assert not pod.sleepers()
    close(leader)


def test_a_daemon_is_spared(pod: Pod) -> None:
    """What had made a session of its own and had given itself to pid 1 before."""
    leader = pod.begin(pod.start(f"(setsid sleep {pod.forever} &); echo begun; sleep 60"))
    until(lambda: "begun" in pod.printed() and bool(pod.sleepers()))
    assert pod.end() == 0
    assert pod.sleepers()
    close(leader)


def test_a_name_may_hold_anything(pod: Pod, tmp_path: Path) -> None:
    """A new line, what a shell would take for a pattern, and what stands behind names."""
    program = tmp_path / "a * *\nb) Z sleep"
    shutil.copy(shutil.which("sleep") or "sleep", program)
    leader = pod.begin(pod.start(f"echo begun; {shlex.quote(str(program))} {pod.forever}; echo unreachable"))
    until(lambda: "begun" in pod.printed() and bool(pod.sleepers()))
    assert pod.end() == 0
    assert not pod.sleepers()
    assert "unreachable" not in pod.printed()
    close(leader)


def test_threads_that_outlive_their_first_are_ended(pod: Pod) -> None:
    """Such a process has the state of one that has ended, and runs."""
    program = """if True:
        import ctypes, os, threading, time
        threading.Thread(target=time.sleep, args=(600,)).start()
        print(os.getpid(), flush=True)
        ctypes.CDLL(None).pthread_exit(None)
    """
    leader = pod.begin(pod.start(f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"))
    until(lambda: pod.printed().endswith("\n"))
    process = Path("/proc") / pod.printed().strip()
    until(lambda: len(list(process.glob("task/*"))) == 2 and state(process) == "Z")
    assert pod.end() == 0
    until(lambda: not process.exists())
    close(leader)


def state(process: Path) -> str:
    return (process / "stat").read_text().rpartition(") ")[2][0]


def test_what_takes_in_the_output_is_spared(pod: Pod) -> None:
    """Also when whoever started it is gone: what a command prints as it is ended is kept."""
    text = f"trap 'echo saved; exit 3' TERM; echo begun; sleep {pod.forever} & wait"
    leader = pod.begin(pod.start(text))
    until(lambda: "begun" in pod.printed() and "sink 2" in pod.journal())
    close(leader)
    assert pod.end() == 0
    assert not pod.sleepers()
    until(lambda: "saved" in pod.printed())


@pytest.mark.root
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_who_stops_with_its_child_goes_on(tmp_path: Path, shell: str) -> None:
    """`runuser` is above the command's shell, and stops itself when that is stopped."""
    if shutil.which("runuser") is None:
        pytest.skip("there is no runuser on this machine")
    with played(shell, tmp_path / "files") as pod, TemporaryDirectory() as path:
        tools = Path(path)
        tools.chmod(0o755)  # for the other user
        for directory in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
            for program in Path(directory).iterdir():
                if program.name != "setpriv" and not (tools / program.name).exists():
                    (tools / program.name).symlink_to(program)
        pod.env["PATH"] = str(tools)
        command = Command(f"sleep {pod.forever}", {}, user="nobody")
        out, _ = pod.run(start_script(command, pod.command_id, timeout_seconds=1))
        assert out == "[start:0][end:124]"


def test_a_command_that_has_ended(pod: Pod) -> None:
    """Whoever comes to end it is told that it had ended by itself, and so may have an exit code of its own."""
    pod.run(pod.start("exit 3"))
    assert pod.end() == OVER_EXIT_CODE


def test_a_command_whose_journal_is_gone(pod: Pod) -> None:
    """It cannot be found, and is not said to have ended if it is known to have begun."""
    leader = pod.begin(pod.start(f"echo begun; sleep {pod.forever}"))
    until(lambda: "begun" in pod.printed() and bool(pod.sleepers()))
    shutil.rmtree(pod.directory)
    _, _, script, *arguments = end_argv(pod.command_id, has_begun=True)
    argv = [pod.shell, "-c", pod.here(script.encode()).decode(), *arguments]
    assert subprocess.run(argv, timeout=30, check=False, env=pod.env).returncode == 1
    assert pod.sleepers()
    close(leader)
