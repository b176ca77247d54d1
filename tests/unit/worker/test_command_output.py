"""What a command prints arrives, whatever its disk, its children, its user or a slow pod do to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from tests.unit.worker.shell_pod import SHELLS, Pod, played, until

from harbor_aws.worker.exec.command_script import Command, start_script

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=SHELLS)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pod]:
    with played(request.param, tmp_path / "files") as pod:
        yield pod


def changed(script: bytes, old: str, new: str) -> bytes:
    """The script with a piece replaced, as a slow pod would have it."""
    assert script.count(old.encode()) == 1
    return script.replace(old.encode(), new.encode())


def run_on_small_disk(pod: Pod, text: str) -> tuple[str, str]:
    """What a command's streams bring where its files are on a disk of 64 KiB."""
    unshare, mount = (shutil.which(program) or program for program in ("unshare", "mount"))
    pod.directory.mkdir(mode=0o711)
    disk = f"{mount} -t tmpfs -o size=64k,mode=711 none {pod.directory} && exec {pod.shell}"
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", disk],
        input=pod.here(pod.start(text)),
        capture_output=True,
        timeout=10,
        check=False,
        env=pod.env,
    )
    return pod.readable(done.stdout), pod.readable(done.stderr)


@pytest.mark.root
@pytest.mark.parametrize("pause", ["", "sleep 0.1; "])
def test_a_command_on_a_full_disk_ends_though_a_child_holds_its_output(pod: Pod, pause: str) -> None:
    """Its end cannot be put behind what it printed, so it is said beside that, with a word of the disk."""
    fill = f"cat /dev/zero >{pod.directory}/fill 2>/dev/null"
    out, err = run_on_small_disk(pod, f"{pause}{fill}; sleep 2 & echo out; exit 3")
    assert (out, err) == ("[start:0][full:0][end:3]", "[end:3]")


@pytest.mark.root
def test_what_is_printed_after_the_disk_was_full_is_kept(pod: Pod) -> None:
    """What comes while it is full is lost, which is said; what comes once it has room again is not."""
    fill = pod.directory / "fill"
    text = f"""
        sleep 0.1; cat /dev/zero >{fill} 2>/dev/null; echo during
        n=0; until grep -q full {pod.directory}/*.run || [ $n = 10 ]; do sleep 0.05; n=$((n + 1)); done
        rm {fill}; echo after
    """
    out, err = run_on_small_disk(pod, text)
    assert (out.replace("[full:0]", "", 1), err) == ("[start:0]after\n[end:0]", "[end:0]")
    assert "[full:0]" in out


@pytest.mark.root
@pytest.mark.parametrize("shell", SHELLS)
def test_another_user_may_open_its_output_anew(shell: str) -> None:
    """A user's command writes to /dev/stdout and /dev/stderr as root's does."""
    command = Command("echo 1 >/dev/stdout; echo 2; echo 3 >/dev/stderr; id -u", {}, user="nobody")
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        pod = Pod(shell, Path(directory, "files"))
        out, err = pod.run(start_script(command, pod.command_id))
    assert (out, err) == ("[start:0]1\n2\n65534\n[end:0]", "3\n[end:0]")


def test_a_child_that_prints_faster_than_is_read_does_not_hide_the_end(pod: Pod, tmp_path: Path) -> None:
    """Whoever reads is never at the end of what is there, and yet is told that the command has ended."""
    seen, stop = tmp_path / "seen", tmp_path / "stop"
    flood = f"while [ ! -e {stop} ]; do head -c 300000 /dev/zero; sleep 0.01; done"
    process = pod.begin(pod.start(f"{{ {flood}; }} & until [ -e {seen} ]; do sleep 0.02; done; exit 5"))
    assert process.stdout
    until(lambda: "shell" in pod.journal())
    overdue = time.monotonic() + 10
    taken = b""
    while b":end:5:" not in taken[-100_000:] and time.monotonic() < overdue:
        if (pod.directory / f"{pod.command_id}.out").stat().st_size > len(taken) + 1024 * 1024:
            taken += os.read(process.stdout.fileno(), 65536)
        else:
            time.sleep(0.001)
        if b"\0" in taken[:1000]:
            seen.touch()
    stop.touch()
    process.communicate(timeout=10)
    assert b":end:5:" in taken


@pytest.mark.parametrize("pause", ["", "sleep 0.2; "])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_an_exit_code_that_comes_in_two_pieces_is_whole(tmp_path: Path, shell: str, pause: str) -> None:
    """Time may be up for bash's `read`, at once or later, in the middle of the line."""
    pod = Pod(shell, tmp_path / "files")
    slow = '{ printf "exit 1"; sleep 0.15; echo 37; } >&9'
    script = changed(pod.start(f"{pause}exit 137"), 'echo "exit $ha_code" >&9', slow)
    assert pod.run(script) == ("[start:0][end:137]", "[end:137]")


def test_a_second_start_waits_for_a_slow_first_one(pod: Pod, tmp_path: Path) -> None:
    """The first one has claimed the command, and takes a while until it can be followed."""
    go, naps = tmp_path / "go", tmp_path / "naps"
    slow = f"until [ -e {go} ]; do sleep 0.02; done; umask 077"
    first = pod.begin(changed(pod.start("echo once; exit 4"), "umask 077", slow))
    until(lambda: "umask" in pod.journal())
    short_naps = f"echo >>{naps}; [ $(wc -l <{naps}) -gt 20 ] || set -- 0.01; [ $1 = 0.01 ] || : >{go}"
    doze = f"sleep() {{ {short_naps}; command sleep $1; }}\n"
    assert pod.run(doze.encode() + pod.start("echo once; exit 4")) == ("[start:0]once\n[end:4]", "[end:4]")
    first.communicate(timeout=10)
