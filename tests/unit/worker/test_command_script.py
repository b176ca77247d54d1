"""The scripts that start, follow and end a command, in this machine's own shells."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.unit.worker.shell_pod import SHELLS, Pod, close, played, until

from harbor_aws.worker.exec.command_script import Command, start_script
from harbor_aws.worker.exec.end_script import end_argv
from harbor_aws.worker.exec.follow_script import attach_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=SHELLS)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pod]:
    with played(request.param, tmp_path / "files") as pod:
        yield pod


def test_a_command_reports_its_start_and_its_end(pod: Pod) -> None:
    """The start marker comes before the output, the end marker behind it, on both streams."""
    out, err = pod.run(pod.start("printf out; printf err >&2; exit 7"))
    assert (out, err) == ("[start:0]out[end:7]", "err[end:7]")


@pytest.mark.parametrize("missing", [2, 5, 100, 1000])
def test_a_command_that_did_not_come_whole_is_not_run(pod: Pod, missing: int) -> None:
    """A stream that is cut within the command runs nothing of it."""
    out, _ = pod.run(pod.start("echo ran")[:-missing])
    assert out == ""
    assert pod.journal() == ""


def test_a_command_is_started_once(pod: Pod, tmp_path: Path) -> None:
    """The same command sent again only brings what the first one printed."""
    script = pod.start(f"echo x >>{tmp_path}/runs; echo out; exit 3")
    assert pod.run(script) == ("[start:0]out\n[end:3]", "[end:3]")
    assert pod.run(script) == ("[start:0]out\n[end:3]", "[end:3]")
    assert (tmp_path / "runs").read_text() == "x\n"


def test_output_is_taken_up_at_an_offset(pod: Pod) -> None:
    """Whoever comes later is given all, or what is behind the bytes that are known."""
    pod.run(pod.start("printf 0123456789; printf abcdef >&2; exit 5"))
    assert pod.attach() == ("[start:0]0123456789[end:5]", "abcdef[end:5]")
    assert pod.attach(stdout_bytes=4, stderr_bytes=6) == ("[start:0]456789[end:5]", "[end:5]")


def test_a_command_outlives_its_stream(pod: Pod, tmp_path: Path) -> None:
    """With its stream and the exec's own process gone, a command prints on and ends as it would have."""
    go = tmp_path / "go"
    text = f"echo one; while [ ! -e {go} ]; do sleep 0.05; done; head -c 300000 /dev/zero | tr '\\0' x; exit 9"
    leader = pod.begin(pod.start(text))
    until(lambda: "shell" in pod.journal())
    close(leader)
    go.touch()
    assert pod.attach(stdout_bytes=4) == (f"[start:0]{'x' * 300000}[end:9]", "[end:9]")


def test_one_that_runs_is_followed_by_whoever_comes(pod: Pod, tmp_path: Path) -> None:
    """A second follower sees what is printed after it came, and the end."""
    go = tmp_path / "go"
    leader = pod.begin(pod.start(f"echo one; while [ ! -e {go} ]; do sleep 0.05; done; echo two"))
    until(lambda: "shell" in pod.journal())
    follower = pod.begin(attach_script(pod.command_id, stdout_bytes=0, stderr_bytes=0))
    time.sleep(0.3)
    go.touch()
    assert follower.stdout
    assert pod.readable(follower.stdout.read()) == "[start:0]one\ntwo\n[end:0]"
    close(follower)
    close(leader)


def test_a_background_child_keeps_nothing_open(pod: Pod) -> None:
    """With a child that holds its output, a command ends all the same, with all that it printed itself."""
    out, err = pod.run(pod.start(f"sleep {pod.forever} & echo out; echo err >&2"))
    assert (out, err) == ("[start:0]out\n[end:0]", "err\n[end:0]")
    until(lambda: bool(pod.sleepers()))
    assert pod.attach() == (out, err)


def test_opening_stdout_anew_loses_nothing(pod: Pod) -> None:
    """What a script writes to /dev/stdout and /dev/stderr is added to what it has printed."""
    out, err = pod.run(pod.start("echo 1; echo 2 >/dev/stdout; echo 3; echo e >&2; echo f | tee /dev/stderr"))
    assert (out, err) == ("[start:0]1\n2\n3\nf\n[end:0]", "e\nf\n[end:0]")


def test_time_is_kept_in_the_pod(pod: Pod) -> None:
    """A command that runs out of time is ended though nobody is connected, with 124 and what it printed."""
    leader = pod.begin(pod.start("echo begun; trap '' TERM; while :; do sleep 0.2; done", timeout_seconds=1))
    until(lambda: "shell" in pod.journal())
    close(leader)
    until(lambda: "exit" in pod.journal())
    assert pod.attach() == ("[start:0]begun\n[end:124]", "[end:124]")


def test_a_command_within_its_time_leaves_no_timer(pod: Pod) -> None:
    """A command's own exit code counts, and what would have ended it is gone."""
    out, _ = pod.run(pod.start("exit 4", timeout_seconds=pod.forever))
    assert out == "[start:0][end:4]"
    until(lambda: not pod.sleepers())


def test_a_command_is_ended_by_its_id(pod: Pod) -> None:
    """It and all below it end, and a code says by what signal; to end it again is no error."""
    leader = pod.begin(pod.start(f"echo begun; sleep {pod.forever} & sleep {pod.forever}"))
    until(lambda: "begun" in pod.printed())
    assert pod.end() == 0
    assert not pod.sleepers()
    until(lambda: "exit" in pod.journal())
    assert pod.attach()[0] == "[start:0]begun\n[end:143]"
    assert pod.end() == 0
    close(leader)


def test_whoever_ends_a_command_second_waits_for_what_its_shell_left(pod: Pod) -> None:
    """A child born as the shell died, deaf to TERM, has ended when either of those who end the command says so."""
    orphan = f"(trap '' TERM; exec sleep {pod.forever}) &"
    leader = pod.begin(pod.start(f'trap "{orphan} exit 1" TERM; echo begun; while :; do sleep 0.1; done'))
    until(lambda: "begun" in pod.printed())
    with ThreadPoolExecutor() as pool:
        first = pool.submit(pod.end)
        until(lambda: "exit" in pod.journal())
        assert pod.end() == 0
        assert not pod.sleepers()
        assert first.result() == 0
    close(leader)


def test_whoever_ends_a_command_second_may_come_before_the_first_noted_anything(pod: Pod) -> None:
    """It read no notes, and finds no shell: they were made, and that was ended, in between."""
    orphan = f"(trap '' TERM; exec sleep {pod.forever}) &"
    leader = pod.begin(pod.start(f'trap "{orphan} exit 1" TERM; echo begun; while :; do sleep 0.1; done'))
    until(lambda: "begun" in pod.printed())
    with ThreadPoolExecutor() as pool:
        second = pool.submit(pod.end, slowly=("look() {", "look() { sleep 0.8;"))
        first = pool.submit(pod.end)
        assert second.result() == 0
        assert not pod.sleepers()
        assert first.result() == 0
    close(leader)


def test_a_child_that_is_born_during_a_look_is_ended_by_the_next_one(pod: Pod) -> None:
    """The processes were listed before it was born, and its parent was gone before it was looked at."""
    deaf = "(trap '' TERM; exec sleep {})"
    leader = pod.begin(pod.start(f'trap "{deaf.format(pod.forever)} & exit 1" TERM; echo begun; {deaf.format(0.8)}'))
    until(lambda: "begun" in pod.printed())
    third_look = 'looks=$looks+; [ "$looks" != +++ ] || sleep 1.3; for directory; do'  # the first after they were told
    assert pod.end(slowly=("for directory; do", third_look)) == 0
    assert not pod.sleepers()
    close(leader)


@pytest.mark.root
def test_a_shell_that_is_ended_does_not_go_on_with_its_next_line(pod: Pod, tmp_path: Path) -> None:
    """Parents are told to end before their children, though a child has the pid that is listed first."""
    text = "echo 9999 >/proc/sys/kernel/ns_last_pid; echo begun; sleep 300; echo unreachable"
    (tmp_path / "start").write_bytes(pod.here(pod.start(text)))
    _, _, end, *arguments = end_argv(pod.command_id)
    slow_kill = 'kill() { how=$1; shift; for told; do command kill "$how" "$told"; sleep 0.3; done; }\n'
    (tmp_path / "end").write_text(slow_kill + pod.here(end.encode()).decode())
    both = f"""
        {pod.shell} <{tmp_path}/start >/dev/null 2>&1 &
        until grep -q begun {pod.directory}/{pod.command_id}.out; do sleep 0.1; done 2>/dev/null
        {pod.shell} {tmp_path}/end {" ".join(arguments[1:])}
        wait
    """
    own_pids = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    subprocess.run([*own_pids, pod.shell, "-c", both], timeout=30, check=True, env=pod.env)
    assert "unreachable" not in pod.printed()


def test_a_command_that_was_ended_before_it_began_never_begins(pod: Pod, tmp_path: Path) -> None:
    """A start that comes late, behind the end, runs nothing."""
    assert pod.end() == 0
    pod.run(pod.start(f"touch {tmp_path}/ran"))
    assert not (tmp_path / "ran").exists()
    assert "shell" not in pod.journal()


def test_a_command_that_nobody_knows_is_said_so(pod: Pod) -> None:
    """Following what was never started is told apart from one that has ended."""
    assert pod.attach() == ("[unknown:0]", "")


def test_a_command_whose_wrapper_was_killed_is_said_so(pod: Pod) -> None:
    """Where nobody is left to write down an exit code, that is said rather than waited for."""
    leader = pod.begin(pod.start("kill -9 $PPID $$"))
    until(lambda: "shell" in pod.journal())
    close(leader)
    assert pod.attach()[0] == "[start:0][killed:0]"


def test_what_is_printed_is_whole_however_short(pod: Pod) -> None:
    """Of a command that prints little and ends at once nothing is missing, NULs included, nor does it come twice."""
    for text, out in (("printf 'a\\0\\0b'", "a\0\0b"), ("printf '\\0'", "\0"), ("echo", "\n"), ("true", "")):
        pod.command_id = secrets.token_hex(16)
        assert pod.run(pod.start(f"{text}; {text} >&2")) == (f"[start:0]{out}[end:0]", f"{out}[end:0]")
        assert pod.attach() == (f"[start:0]{out}[end:0]", f"{out}[end:0]")


def test_what_no_shell_can_take_is_refused() -> None:
    """A NUL, or a variable's name that cannot be exported, is refused before anything is sent."""
    with pytest.raises(ValueError, match="NUL"):
        start_script(Command("echo \0", {}), "id")
    with pytest.raises(ValueError, match=r"'a\.b'"):
        start_script(Command("true", {"a.b": "1"}), "id")
