"""Commands in real pods."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest

from harbor_aws.infra.errors import ExecError, OutOfMemoryError, PodFailedError, PodGoneError
from harbor_aws.worker.exec.command import CommandResult, run_command
from harbor_aws.worker.exec.command_script import Command
from harbor_aws.worker.exec.output import LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from harbor_aws.worker.pod import Pod
    from harbor_aws.worker.pods import PodKeeper

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

GENEROUS_SECONDS = 30
"""Far above what anything here takes, and far below the command's own time."""


async def run(
    keeper: PodKeeper, pod: Pod, text: str, *, timeout_seconds: float | None = 60, **command: Any
) -> CommandResult:
    return await run_command(
        keeper.cluster,
        pod.name,
        Command(text, command.pop("env", {}), **command),
        timeout_seconds=timeout_seconds,
        can_be_ended=lambda: not pod.is_over,
    )


async def count(keeper: PodKeeper, pod: Pod, pattern: str) -> int:
    """How many processes of the pod have this in their command line."""
    script = f"""
    n=0
    for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f 2>/dev/null | grep -q '{pattern}' && n=$((n + 1)); done
    echo $n
    """
    return int((await run(keeper, pod, script)).stdout)


@pytest.mark.parametrize("code", [0, 1, 2, 124, 137, 255])
async def test_an_exit_code_is_the_commands_own(keeper: PodKeeper, debian: Pod, code: int) -> None:
    """Every exit code comes back as it is, also those that mean something to others."""
    assert (await run(keeper, debian, f"exit {code}")).exit_code == code


async def test_stdout_and_stderr_come_apart_and_whole(keeper: PodKeeper, debian: Pod) -> None:
    """Both streams arrive byte for byte, without an end of line being added or lost."""
    result = await run(keeper, debian, "printf 'out'; printf 'err\\n\\n' >&2; printf ' ü\\n\\n'")
    assert result == CommandResult(exit_code=0, stdout="out ü\n\n", stderr="err\n\n")


async def test_busybox_alone_is_enough(keeper: PodKeeper, busybox: Pod) -> None:
    """Without bash a command runs by sh."""
    result = await run(keeper, busybox, "echo $0; pwd; exit 3", cwd="/tmp")
    assert (result.exit_code, result.stdout) == (3, "/bin/sh\n/tmp\n")


@pytest.mark.parametrize("user", [None, "root", "nobody"])
async def test_bash_runs_a_command_where_there_is_bash(keeper: PodKeeper, debian: Pod, user: str | None) -> None:
    """Agents begin their commands with `set -o pipefail`, whoever they run as."""
    result = await run(keeper, debian, "set -euo pipefail; x=(1 2); false | true; echo unreachable", user=user)
    assert (result.exit_code, result.stdout) == (1, "")


async def test_a_command_has_nothing_on_stdin(keeper: PodKeeper, debian: Pod) -> None:
    """A command that reads stdin is at its end at once, rather than waiting or reading its own text."""
    assert (await run(keeper, debian, "cat; echo done")).stdout == "done\n"


async def test_odd_commands_arrive_as_they_are(keeper: PodKeeper, debian: Pod) -> None:
    """Quotes, here-documents, comments, backslashes and other scripts' characters are the command's own."""
    text = "cat <<'EOF'\n'\"$HOME\\n`id` %s @COMMAND@ #end\nEOF\necho \"it's\" # a comment"
    assert (await run(keeper, debian, text)).stdout == "'\"$HOME\\n`id` %s @COMMAND@ #end\nit's\n"


async def test_a_syntax_error_is_the_commands_failure(keeper: PodKeeper, debian: Pod) -> None:
    """A command that no shell can read fails by itself, as with `bash -c`."""
    result = await run(keeper, debian, "if then")
    assert result.exit_code != 0
    assert "syntax error" in result.stderr


async def test_a_command_of_two_mebibytes(keeper: PodKeeper, debian: Pod, busybox: Pod) -> None:
    """A command is not bound by the length of an argument (128 KiB)."""
    text = f"x='{'a' * 2 * 1024 * 1024}'; echo ${{#x}}"
    for pod in (debian, busybox):
        assert (await run(keeper, pod, text)).stdout == f"{2 * 1024 * 1024}\n"


async def test_variables_and_directory(keeper: PodKeeper, debian: Pod) -> None:
    """Variables of any content and the working directory reach the command."""
    env = {"PLAIN": "1", "ODD": "a'b\"c\n$d `e` ü"}
    result = await run(keeper, debian, 'printf "%s|%s|" "$PLAIN" "$ODD"; pwd', env=env, cwd="/usr/share")
    assert result.stdout == f"1|{env['ODD']}|/usr/share\n"


async def test_a_missing_directory_is_the_commands_failure(keeper: PodKeeper, debian: Pod) -> None:
    """A working directory that is not there fails the command and is not taken for an infrastructure failure."""
    result = await run(keeper, debian, "echo ran", cwd="/nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "/nowhere" in result.stderr


async def test_no_secret_shows_in_any_command_line(keeper: PodKeeper, debian: Pod) -> None:
    """Neither a command nor its variables can be read in /proc/*/cmdline, whoever runs it."""
    for user in (None, "nobody"):
        result = await run(
            keeper,
            debian,
            "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c 's3cr[e]t'; : s3cret-text",
            env={"KEY": "s3cret-value"},
            user=user,
        )
        assert result.stdout == "0\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [(None, "0:0"), ("root", "0:0"), (0, "0:0"), ("nobody", "65534:65534"), (65534, "65534:65534")],
)
async def test_users_of_debian(keeper: PodKeeper, debian: Pod, user: str | int | None, expected: str) -> None:
    """A user is given by name or by uid, with its group and its home."""
    result = await run(keeper, debian, "echo $(id -u):$(id -g); echo $V", user=user, env={"V": "kept"})
    assert result.stdout == f"{expected}\nkept\n"


async def test_a_uid_without_a_name(keeper: PodKeeper, debian: Pod) -> None:
    """A uid that is in no passwd file runs with the root group, as with docker."""
    assert (await run(keeper, debian, "id -u; id -g; echo $HOME", user=4242)).stdout == "4242\n0\n/\n"


async def test_a_user_of_busybox(keeper: PodKeeper, busybox: Pod) -> None:
    """Without setpriv a user is reached by su, and keeps variables and directory."""
    result = await run(keeper, busybox, "id -u; echo $HOME $V; pwd; exit 5", user="user", env={"V": "kept"}, cwd="/tmp")
    assert (result.exit_code, result.stdout) == (5, "1000\n/tmp kept\n/tmp\n")


async def test_an_unknown_user_is_the_commands_failure(keeper: PodKeeper, debian: Pod) -> None:
    """A user that the image does not have fails the command by 126, as with docker."""
    result = await run(keeper, debian, "echo ran", user="nosuchuser")
    assert (result.exit_code, result.stdout) == (126, "")
    assert "nosuchuser" in result.stderr


async def test_output_comes_while_the_command_runs(keeper: PodKeeper, debian: Pod) -> None:
    """The callback gets text before the command has ended, split nowhere within a character."""
    pieces: list[tuple[str, str]] = []
    first = asyncio.Event()

    async def on_output(text: str, stream: Literal["stdout", "stderr"]) -> None:
        pieces.append((stream, text))
        first.set()

    text = "printf 'a\\303'; sleep 0.3; printf '\\274'; echo e >&2; while [ ! -e /tmp/go ]; do sleep 0.1; done"
    running = asyncio.create_task(
        run_command(keeper.cluster, debian.name, Command(text, {}), timeout_seconds=60, on_output=on_output)
    )
    async with asyncio.timeout(GENEROUS_SECONDS):
        await first.wait()
    assert not running.done()
    await run(keeper, debian, "touch /tmp/go")
    assert (await running).stdout == "aü"
    assert "".join(text for stream, text in pieces if stream == "stdout") == "aü"
    assert ("stderr", "e\n") in pieces


async def test_long_output_keeps_its_ends(keeper: PodKeeper, debian: Pod) -> None:
    """Of output beyond the limit the beginning and the end are kept, and a notice says so."""
    result = await run(keeper, debian, f"echo begin; head -c {2 * LIMIT_BYTES} /dev/zero | tr '\\0' x; echo end")
    assert result.stdout.startswith("begin\nxxx")
    assert result.stdout.endswith("xxxend\n")
    assert "bytes of output are left out" in result.stdout
    assert len(result.stdout) < LIMIT_BYTES + 200


async def test_a_background_child_does_not_hold_the_command(keeper: PodKeeper, debian: Pod) -> None:
    """A command is over when it exits; a child that holds its stdout lives on and may go on printing."""
    started = time.monotonic()
    tick = "echo tick; sleep 0.1; echo $((n=n+1)) >/tmp/tick; mv /tmp/tick /tmp/ticks"
    text = f"(while :; do {tick}; done) & echo started"
    result = await run(keeper, debian, text)
    assert result.exit_code == 0
    assert "started\n" in result.stdout
    assert time.monotonic() - started < GENEROUS_SECONDS
    before = int((await run(keeper, debian, "until [ -s /tmp/ticks ]; do sleep 0.1; done; cat /tmp/ticks")).stdout)
    after = int((await run(keeper, debian, "sleep 1; cat /tmp/ticks")).stdout)
    assert after > before


async def test_a_timeout_gives_124_and_what_was_printed(keeper: PodKeeper, debian: Pod) -> None:
    """A command that runs out of time is ended with its children, also those that ignore TERM."""
    text = "echo begun; (trap '' TERM; sleep 3601) & sleep 3602; echo unreachable"
    result = await run(keeper, debian, text, timeout_seconds=1)
    assert (result.exit_code, result.stdout) == (124, "begun\n")
    assert await count(keeper, debian, "sleep 360[12]") == 0


@pytest.mark.parametrize("user", [None, "nobody"])
async def test_a_timeout_ends_another_users_command(keeper: PodKeeper, debian: Pod, user: str | None) -> None:
    """Whoever the command runs as, nothing of it is left."""
    result = await run(keeper, debian, "sleep 3603 | sleep 3604", timeout_seconds=1, user=user)
    assert result.exit_code == 124
    assert await count(keeper, debian, "sleep 360[34]") == 0


@pytest.mark.parametrize("user", [None, "user"])
async def test_a_timeout_in_busybox(keeper: PodKeeper, busybox: Pod, user: str | None) -> None:
    """Ending a command needs nothing but BusyBox."""
    result = await run(keeper, busybox, "echo a; sleep 3605 & sleep 3606", timeout_seconds=1, user=user)
    assert (result.exit_code, result.stdout) == (124, "a\n")
    assert await count(keeper, busybox, "sleep 360[56]") == 0


async def test_a_timeout_spares_what_earlier_commands_left(keeper: PodKeeper, debian: Pod) -> None:
    """Ending a command ends nothing that another command has put in the background."""
    await run(keeper, debian, "sleep 3607 >/dev/null 2>&1 &")
    assert (await run(keeper, debian, "sleep 3608", timeout_seconds=1)).exit_code == 124
    assert await count(keeper, debian, "sleep 360[7]") == 1
    assert await count(keeper, debian, "sleep 360[8]") == 0


async def test_cancelling_ends_the_command(keeper: PodKeeper, debian: Pod) -> None:
    """When the caller is cancelled, the command has ended before the cancellation goes on."""
    running = asyncio.create_task(run(keeper, debian, "touch /tmp/begun; sleep 3609", timeout_seconds=None))
    await run(keeper, debian, "while [ ! -e /tmp/begun ]; do sleep 0.1; done")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await count(keeper, debian, "sleep 360[9]") == 0


async def test_a_command_may_kill_all_it_can(keeper: PodKeeper, doomed: Pod) -> None:
    """A command that kills every process, its own wrapper too, ended by SIGKILL; the pod is as well as before."""
    assert (await run(keeper, doomed, "sleep 0.5; kill -9 -1")).exit_code == 137
    assert (await run(keeper, doomed, "echo still here")).stdout == "still here\n"


async def test_interrupts_are_not_ignored(keeper: PodKeeper, debian: Pod) -> None:
    """A command starts with the signals as a terminal would give them: SIGINT ends its children."""
    assert (await run(keeper, debian, "sleep 30 & p=$!; bash -c 'kill -INT $$; sleep 30'; echo $?")).stdout == "130\n"


async def test_many_commands_at_once(keeper: PodKeeper, debian: Pod) -> None:
    """Thirty commands of one process at once do not get into each other's way."""
    results = await asyncio.gather(*(run(keeper, debian, f"sleep 0.2; echo {number}") for number in range(30)))
    assert [result.stdout for result in results] == [f"{number}\n" for number in range(30)]


async def test_a_pod_that_never_was(keeper: PodKeeper) -> None:
    """A command for a pod that is not there is an error that names it, and no exit code."""
    with pytest.raises(PodGoneError, match="no-such-pod"):
        await run_command(keeper.cluster, "no-such-pod", Command("true", {}))


async def test_a_pod_that_ends_ends_the_command(keeper: PodKeeper, doomed: Pod) -> None:
    """When the container's first process ends, the command that runs is told so at once; and a dead letter would tell
    how the container ended, and the pod's events."""
    with pytest.raises((PodFailedError, ExecError)) as caught:
        await keeper.while_running(doomed, run(keeper, doomed, "kill -TERM 1; sleep 3600", timeout_seconds=600))
    error = caught.value
    if not isinstance(error, PodFailedError):
        explained = await keeper.explanation(doomed, within_seconds=GENEROUS_SECONDS)
        assert explained is not None
        error = explained
    assert error.pod == doomed.name
    assert doomed.is_over
    end = await keeper.last_look(doomed)
    assert end.container is not None
    assert (end.name, end.container.state) == (doomed.name, "terminated")
    assert end.container.exit_code is not None
    assert end.events
    assert all(event.reason and event.at for event in end.events)


async def test_a_pod_that_is_deleted_ends_the_command(keeper: PodKeeper, doomed: Pod) -> None:
    """When somebody deletes the pod, the command that runs is told so, with a reason."""
    running = asyncio.create_task(keeper.while_running(doomed, run(keeper, doomed, "sleep 3600", timeout_seconds=600)))
    await run(keeper, doomed, "true")
    await keeper.cluster.request("DELETE", f"{keeper.cluster.pods_path}/{doomed.name}")
    async with asyncio.timeout(GENEROUS_SECONDS):
        with pytest.raises(PodGoneError) as caught:
            await running
    assert caught.value.reason == "Deleted"


async def test_a_pod_that_runs_out_of_memory(
    keeper: PodKeeper, run_pod: Callable[..., AbstractAsyncContextManager[Pod]]
) -> None:
    """A command beyond the pod's memory gives SIGKILL's exit code, or an error that says OOMKilled; never success."""
    async with run_pod(keeper, "debian:bookworm", memory_mib=64) as pod:
        hog = 'python3 -c "x = bytearray(512 * 1024 * 1024); print(len(x))"'
        try:
            result = await keeper.while_running(pod, run(keeper, pod, hog))
        except (ExecError, PodFailedError):
            ended = await keeper.explanation(pod, within_seconds=GENEROUS_SECONDS)
            assert ended is not None
            assert ended.reason in ("OOMKilled", "Error")
            assert isinstance(ended, OutOfMemoryError) == (ended.reason == "OOMKilled")
        else:
            assert result.exit_code == 137
