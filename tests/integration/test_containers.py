"""Pods as process trees: isolation, statuses, exec, logs, limits, and that nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.local.kubernetes.pods.containers import ContainerRuntime
from harbor_aws.infra.local.kubernetes.runtime import ExecFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harbor_aws.infra.local.kubernetes.pods.exec_process import ContainerProcess

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers need root"),
]

SLEEP = ["sleep", "infinity"]

PYTHON = str(Path(sys.executable).resolve())
"""The real one: a virtual environment may lie below /tmp, which a pod has of its own."""


class Pods:
    """A runtime, and the last status that it reported of each pod."""

    def __init__(self, runtime: ContainerRuntime) -> None:
        self.runtime = runtime
        self.statuses: dict[str, dict[str, Any]] = {}
        self.history: list[dict[str, Any]] = []

    def report(self, uid: str, status: dict[str, Any]) -> None:
        self.statuses[uid] = status
        self.history.append(status)

    async def start(self, uid: str, command: list[str], *, container: Any = (), labels: Any = (), **spec: Any) -> None:
        main = {"name": "main", "image": "any", "command": command, **dict(container)}
        pod = {
            "metadata": {"name": f"pod-{uid}", "namespace": "tests", "uid": uid, "labels": {"a": "b", **dict(labels)}},
            "spec": {"restartPolicy": "Never", "containers": [main], **spec},
        }
        await self.runtime.start(pod, self.report)

    async def until(self, uid: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while not (uid in self.statuses and holds(self.statuses[uid])):
                await asyncio.sleep(0.005)
        return self.statuses[uid]

    async def running(self, uid: str, command: list[str] = SLEEP, **options: Any) -> None:
        await self.start(uid, command, **options)
        await self.until(uid, lambda status: status["phase"] == "Running")

    async def ended(self, uid: str, command: list[str], **options: Any) -> dict[str, Any]:
        """Run a pod to its end; its container's terminated state."""
        await self.start(uid, command, **options)
        status = await self.until(uid, lambda status: status["phase"] in {"Succeeded", "Failed"})
        state: dict[str, Any] = status["containerStatuses"][0]["state"]["terminated"]
        return state

    async def exec(self, uid: str, *command: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        process = await self.runtime.exec(uid, "main", command, stdin=stdin is not None, tty=False)
        if stdin is not None:
            await process.write(stdin)
            process.close_stdin()
        out, err = await asyncio.gather(collect(process.stdout()), collect(process.stderr()))
        return await process.wait(), out, err

    async def shell(self, uid: str, script: str) -> str:
        code, out, err = await self.exec(uid, "sh", "-c", script)
        assert code == 0, err.decode()
        return out.decode().strip()

    async def log(self, uid: str, *, follow: bool = False, tail: int | None = None, limit: int | None = None) -> bytes:
        return await collect(self.runtime.logs(uid, "main", follow=follow, tail_lines=tail, limit_bytes=limit))


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


@pytest.fixture
async def pods(tmp_path: Path) -> AsyncIterator[Pods]:
    runtime = ContainerRuntime(tmp_path / "state", {})
    yield Pods(runtime)
    await runtime.close()
    assert leftovers(tmp_path) == []


def leftovers(path: Path) -> list[str]:
    """Mounts, processes, and files of pods below ``path``."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(path) in line]
    files = [str(one) for name in ("pods", "builds", "stage", "lock", "cgroup") for one in path.glob(f"state/{name}")]
    return mounts + files


def processes_with(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker.encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


async def test_a_pod_has_its_own_processes_hostname_and_files(pods: Pods) -> None:
    """A pod sees its own processes, name, /tmp, /run and devices, and this machine's other files."""
    await pods.running("a")
    assert await pods.shell("a", "hostname; ls /tmp /run/lock | wc -l; set -- /proc/[0-9]*; echo $#") == "pod-a\n3\n2"
    with tempfile.NamedTemporaryFile(dir="/tmp") as outside:
        seen = await pods.shell("a", f"test -e {outside.name} || echo hidden; test -r {PYTHON} && echo seen")
    assert seen == "hidden\nseen"
    assert (
        await pods.shell("a", "stat -c %a /tmp; echo x > /dev/null; test -c /dev/zero; ls /dev | wc -l") == "1777\n13"
    )
    assert os.uname().nodename != "pod-a"


async def test_nothing_that_a_pod_writes_reaches_this_machine(pods: Pods) -> None:
    """Files made, changed and removed in one pod are so neither outside nor in another pod."""
    name = f"/var/tmp/harbor-aws-test-{time.monotonic_ns()}"
    await pods.running("a")
    await pods.running("b")
    await pods.shell("a", f"echo x > {name}; rm /etc/debian_version /etc/passwd; echo x > /etc/issue")
    assert (
        await pods.shell("b", f"test -e {name} || echo missing; test -s /etc/passwd && echo there") == "missing\nthere"
    )
    assert not Path(name).exists()
    assert "root" in Path("/etc/passwd").read_text()
    assert Path("/etc/issue").read_text() != "x\n"


async def test_a_pod_cannot_change_the_kernels_settings(pods: Pods) -> None:
    """/proc/sys and /sys are read-only and mounting is not allowed, as in any container."""
    await pods.running("a")
    for script in ("echo 1 > /proc/sys/vm/overcommit_memory", "mount -t tmpfs x /mnt", "mkdir /sys/fs/cgroup/x"):
        code, _, _ = await pods.exec("a", "sh", "-c", script)
        assert code != 0, script


@pytest.mark.parametrize(
    ("script", "code", "reason", "phase"),
    [
        ("exit 0", 0, "Completed", "Succeeded"),
        ("exit 7", 7, "Error", "Failed"),
        (f"ulimit -c 0; exec {PYTHON} -c 'import ctypes; ctypes.string_at(0)'", 139, "Error", "Failed"),
    ],
)
async def test_exit_codes_become_statuses(pods: Pods, script: str, code: int, reason: str, phase: str) -> None:
    """A container's end is reported with its exit code, its reason and the phase (``$$`` is Kubernetes' ``$``)."""
    state = await pods.ended("a", ["sh", "-c", script])
    assert (state["exitCode"], state["reason"], pods.statuses["a"]["phase"]) == (code, reason, phase)
    assert state["startedAt"] <= state["finishedAt"]


async def test_statuses_come_in_order(pods: Pods) -> None:
    """Pending with ContainerCreating, then Running and ready, then the end and not ready."""
    await pods.ended("a", ["sh", "-c", "sleep 0.1"])
    states = [next(iter(one["containerStatuses"][0]["state"])) for one in pods.history]
    ready = [{one["type"]: one["status"] for one in status["conditions"]}["Ready"] for status in pods.history]
    assert [one["phase"] for one in pods.history] == ["Pending", "Running", "Succeeded"]
    assert states == ["waiting", "running", "terminated"]
    assert ready == ["False", "True", "False"]
    assert pods.history[0]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"


async def test_a_missing_program_is_a_start_error(pods: Pods) -> None:
    """A command that does not exist ends the container with containerd's reason and code, and runc's text."""
    state = await pods.ended("a", ["nope"])
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert 'exec: "nope": executable file not found in $PATH' in state["message"]


async def test_environment_directory_and_user(pods: Pods) -> None:
    """env (with references), workingDir and runAsUser hold for the container and for what is exec'd in it."""
    container = {
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)2 $(C) $$(A)"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
        ],
        "workingDir": "/made/for/it",
        "securityContext": {"runAsUser": 1234, "runAsGroup": 4321},
    }
    await pods.running("a", ["sh", "-c", "id -u; pwd; exec sleep infinity"], container=container)
    assert await pods.shell("a", 'echo "$A $B $NAME $LABEL $HOSTNAME"; pwd; id -u; id -g; id -G') == (
        "1 12 $(C) $(A) pod-a b pod-a\n/made/for/it\n1234\n4321\n4321"
    )
    async with asyncio.timeout(10):
        while await pods.log("a") != b"1234\n/made/for/it\n":
            await asyncio.sleep(0.02)


async def test_secret_environment_is_refused_by_name(pods: Pods) -> None:
    """What this runtime has not is a configuration error that names it."""
    secret = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
    await pods.start("a", SLEEP, container=secret)
    status = await pods.until(
        "a", lambda one: "waiting" in one["containerStatuses"][0]["state"] and one is not pods.history[0]
    )
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert "secretKeyRef" in waiting["message"]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["nope"], 'exec: "nope": executable file not found in $PATH'),
        (["/nope"], 'exec: "/nope": stat /nope: no such file or directory'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
    ],
)
async def test_exec_of_what_cannot_be_executed(pods: Pods, command: list[str], text: str) -> None:
    """The error is runc's."""
    await pods.running("a")
    with pytest.raises(ExecFailedError) as raised:
        await pods.exec("a", *command)
    assert text in raised.value.message


async def test_exec_needs_a_running_container(pods: Pods) -> None:
    """An unknown pod, an unknown container and one that has ended are told."""
    await pods.ended("a", ["true"])
    await pods.running("b")
    for uid, container in (("nope", "main"), ("b", "nope"), ("a", "main")):
        with pytest.raises(ExecFailedError):
            await pods.runtime.exec(uid, container, ["true"], stdin=False, tty=False)


async def test_exec_exit_codes(pods: Pods) -> None:
    """An exec'd process's exit code is its own, 128 + n after a signal; its outputs are told apart."""
    await pods.running("a")
    assert await pods.exec("a", "sh", "-c", "echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")
    assert (await pods.exec("a", "sh", "-c", "kill -9 $$"))[0] == 137
    assert (await pods.exec("a", "sh", "-c", "kill -15 $$"))[0] == 143
    assert await pods.exec("a", "cat") == (0, b"", b"")


async def test_exec_moves_fifty_mebibytes_each_way(pods: Pods) -> None:
    """Stdin and stdout are binary-safe and whole at any size."""
    data = os.urandom(1 << 20) * 50
    digest = hashlib.sha256(data).hexdigest()
    await pods.running("a")
    _, out, _ = await pods.exec("a", "sha256sum", stdin=data)
    assert out.split()[0].decode() == digest
    _, echoed, _ = await pods.exec("a", "cat", stdin=b"")
    assert echoed == b""
    process = await pods.runtime.exec("a", "main", ["cat"], stdin=True, tty=False)
    writing = asyncio.create_task(write_all(process, data))
    received = await collect(process.stdout())
    await writing
    assert hashlib.sha256(received).hexdigest() == digest


async def write_all(process: ContainerProcess, data: bytes) -> None:
    for start in range(0, len(data), 65536):
        await process.write(data[start : start + 65536])
    process.close_stdin()


async def test_exec_waits_for_whoever_does_not_read(pods: Pods) -> None:
    """Writing to a process that reads nothing waits; it ends, without an error, when the process does."""
    await pods.running("a")
    began = time.monotonic()
    process = await pods.runtime.exec("a", "main", ["sleep", "0.5"], stdin=True, tty=False)
    await process.write(bytes(1 << 20))
    assert time.monotonic() - began > 0.3
    assert await process.wait() == 0
    process.detach()


async def test_a_terminal(pods: Pods) -> None:
    """With a terminal the process has a controlling one of the given size, and both outputs come through it."""
    await pods.running("a")
    process = await pods.runtime.exec("a", "main", ["sh"], stdin=True, tty=True)
    process.resize(width=101, height=37)
    await process.write(b"stty size; tty; echo $TERM; echo err >&2; exit 5\n")
    out = (await collect(process.stdout())).decode()
    assert "37 101" in out
    assert "/dev/pts/0" in out
    assert "xterm" in out
    assert "err" in out
    assert await process.wait() == 5


async def test_a_process_outlives_its_client(pods: Pods) -> None:
    """A client that goes away leaves the process running, as in Kubernetes."""
    await pods.running("a")
    process = await pods.runtime.exec("a", "main", ["sh", "-c", "sleep 0.2; touch /tmp/done"], stdin=True, tty=False)
    process.detach()
    assert await process.wait() == 0
    assert await pods.shell("a", "ls /tmp") == "done"


async def test_orphans_are_the_programs_to_reap(pods: Pods) -> None:
    """Orphans of exec'd processes become children of the container's program, and are gone when it has waited."""
    await pods.running("a", ["sh", "-c", "while :; do sleep 0.05; done"])
    await asyncio.gather(
        *(pods.exec("a", "sh", "-c", "sh -c 'sleep 0.05; true' > /dev/null 2>&1 &") for _ in range(20))
    )
    async with asyncio.timeout(10):
        while int(await pods.shell("a", "set -- /proc/[0-9]*; echo $#")) > 3:
            await asyncio.sleep(0.05)


async def test_a_containers_program_is_process_1(pods: Pods) -> None:
    """The program is process 1 of its container, with no parent there, nothing open but its own, signals at their
    defaults, and death only by its own doing: not by ``kill -9 -1``, nor by signals that it does not handle."""
    await pods.running("a", ["sleep", "1000"], container={"securityContext": {"runAsUser": 1234}})
    assert await pods.shell("a", "tr '\\0' ' ' < /proc/1/cmdline") == "sleep 1000"
    assert await pods.shell("a", "ls /proc/1/fd") == "0\n1\n2"
    lines = (await pods.shell("a", "cat /proc/1/status")).splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert (status["Pid"], status["PPid"], status["Uid"]) == (["1"], ["0"], ["1234"] * 4)
    settable = ~(0b11 << 31)  # 32 and 33 are glibc's own, and nobody can set them
    assert {int(status[mask][0], 16) & settable for mask in ("SigBlk", "SigIgn", "SigCgt")} == {0}
    assert (await pods.exec("a", "sh", "-c", "kill -TERM 1; kill -KILL 1; kill -9 -1; kill -9 $$"))[0] == 137
    assert await pods.shell("a", "tr '\\0' ' ' < /proc/1/cmdline") == "sleep 1000"
    assert pods.statuses["a"]["phase"] == "Running"
    state = await pods.ended("b", ["sh", "-c", "kill -TERM $$$$; kill -KILL $$$$; exit 6"])
    assert state["exitCode"] == 6


async def test_stop_sends_term_and_then_kill(pods: Pods) -> None:
    """TERM reaches the program, which may end by itself; one that does not handle it is killed after the grace."""
    await pods.running("kind", ["sh", "-c", "trap 'exit 5' TERM; echo set; while :; do sleep 0.02; done"])
    await pods.running("deaf", ["sh", "-c", "echo set; exec sleep infinity"])
    async with asyncio.timeout(10):
        while not (await pods.log("kind") and await pods.log("deaf")):
            await asyncio.sleep(0.02)
    began = time.monotonic()
    await asyncio.gather(*(pods.runtime.stop(uid, grace_seconds=1) for uid in ("kind", "deaf", "unknown")))
    assert time.monotonic() - began >= 1
    codes = {
        uid: pods.statuses[uid]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for uid in ("kind", "deaf")
    }
    assert codes == {"kind": 5, "deaf": 137}


async def test_too_much_memory_is_reported(pods: Pods) -> None:
    """A container over its limit is killed by the kernel, and its reason is OOMKilled."""
    eat = [PYTHON, "-c", "x = bytearray(200 << 20)"]
    state = await pods.ended("a", eat, container={"resources": {"limits": {"memory": "64Mi"}}})
    if state["exitCode"] == 0:
        pytest.skip("this machine does not let us limit memory")
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")


async def test_an_execed_process_counts_towards_the_limit(pods: Pods) -> None:
    """What is exec'd in a container is limited with it."""
    await pods.running("a", container={"resources": {"limits": {"memory": "64Mi"}}})
    if await pods.shell("a", "grep -c harbor-aws /proc/self/cgroup || true") == "0":
        pytest.skip("this machine does not let us limit memory")
    code, _, _ = await pods.exec("a", PYTHON, "-c", "x = bytearray(200 << 20)")
    assert code == 137


async def test_a_container_sees_its_own_control_group(pods: Pods) -> None:
    """With a limit it is at the place where runtimes show it, cannot be written to, and no other is there."""
    await pods.running("a", container={"resources": {"limits": {"memory": "64Mi"}}})
    if await pods.shell("a", "grep -c harbor-aws /proc/self/cgroup || true") == "0":
        pytest.skip("this machine does not let us limit memory")
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    assert await pods.shell("a", f"{script}; true") == str(64 << 20)
    for refused in ("mkdir /sys/fs/cgroup/x", "mkdir /sys/fs/cgroup/memory/x", "echo 0 > /sys/fs/cgroup/cgroup.procs"):
        code, _, _ = await pods.exec("a", "sh", "-c", refused)
        assert code != 0, refused
    await pods.runtime.stop("a", grace_seconds=5)


async def test_restarts(pods: Pods) -> None:
    """With restartPolicy Always a container is started again, first at once and then after a back-off."""
    await pods.start("a", ["sh", "-c", "echo again; exit 3"], restartPolicy="Always")
    status = await pods.until(
        "a",
        lambda one: (
            "waiting" in one["containerStatuses"][0]["state"] and one["containerStatuses"][0]["restartCount"] >= 2
        ),
    )
    container = status["containerStatuses"][0]
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert status["phase"] == "Running"
    await pods.runtime.stop("a", grace_seconds=5)


async def test_several_containers_share_what_kubernetes_shares(pods: Pods) -> None:
    """Init containers run first and in order; containers share volumes and hostname, not files or processes."""
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/shared"}]}
    other = {"name": "other", "image": "any", "command": ["sh", "-c", "echo other >> /shared/log; exec sleep infinity"]}
    init = {"name": "init", "image": "any", "command": ["sh", "-c", "echo init > /shared/log; touch /only-in-init"]}
    await pods.start(
        "a",
        ["sh", "-c", "hostname >> /shared/log; exec sleep infinity"],
        container=mounts,
        initContainers=[{**init, **mounts}],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    await pods.until("a", lambda one: one["phase"] == "Running")
    async with asyncio.timeout(5):
        while await pods.shell("a", "cat /shared/log; test -e /only-in-init || echo gone") != "init\npod-a\ngone":
            await asyncio.sleep(0.02)
    assert pods.statuses["a"]["initContainerStatuses"][0]["ready"] is True
    spec = {"containers": [{"name": "main", "image": "any", "command": SLEEP, **mounts}, {**other, **mounts}]}
    await pods.start("b", SLEEP, volumes=[{"name": "v", "emptyDir": {}}], **spec)
    await pods.until("b", lambda one: all(state["ready"] for state in one["containerStatuses"]))
    async with asyncio.timeout(5):
        while await pods.shell("b", "cat /shared/log 2>/dev/null || true") != "other":
            await asyncio.sleep(0.02)
    assert await pods.shell("b", "set -- /proc/[0-9]*; echo $#") == "2"


async def test_logs(pods: Pods) -> None:
    """Stdout and stderr are one log, which can be followed, cut at the front and at the end."""
    await pods.running(
        "a", ["sh", "-c", "for i in 1 2 3; do echo out $i; echo err $i >&2; done; sleep 0.2; printf end"]
    )
    followed = await pods.log("a", follow=True)
    assert followed == b"out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nend"
    assert await pods.log("a", tail=2) == b"err 3\nend"
    assert await pods.log("a", tail=0) == b""
    assert await pods.log("a", tail=100, limit=7) == b"out 1\ne"


async def test_a_long_log_keeps_its_end(pods: Pods) -> None:
    """A log is bounded: of much output the last part is kept whole."""
    await pods.ended("a", ["sh", "-c", "seq 1 4000000; echo last"])
    log = await pods.log("a")
    assert len(log) < 25 << 20
    assert log.endswith(b"\n4000000\nlast\n")
    assert await pods.log("a", tail=3) == b"3999999\n4000000\nlast\n"


async def test_thirty_pods_at_once(pods: Pods) -> None:
    """Thirty pods started together all run, and a command in each is its own."""
    await asyncio.gather(*(pods.running(f"p{number}") for number in range(30)))
    names = await asyncio.gather(*(pods.shell(f"p{number}", "hostname") for number in range(30)))
    assert names == [f"pod-p{number}" for number in range(30)]


async def test_a_missing_image(tmp_path: Path) -> None:
    """Where images have names, an unknown one with the policy Never is waited for with Kubernetes' reasons."""
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    runtime = ContainerRuntime(tmp_path / "state", {"known:1": rootfs})
    pods = Pods(runtime)
    try:
        await pods.start("a", SLEEP, container={"image": "unknown:1", "imagePullPolicy": "Never"})
        reasons = []
        for reason in ("ErrImagePull", "ImagePullBackOff"):
            await pods.until("a", waits_for(reason))
            reasons.append(pods.statuses["a"]["phase"])
        assert reasons == ["Pending", "Pending"]
    finally:
        await runtime.close()


def waits_for(reason: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["containerStatuses"][0]["state"]["waiting"]["reason"] == reason


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """A root file system of nothing but BusyBox."""
    program = Path("/bin/busybox")
    if (
        not program.exists()
        or b"dynamically" in subprocess.run(["file", "-L", program], capture_output=True, check=False).stdout
    ):
        pytest.skip("there is no static BusyBox")
    directory = tmp_path / "busybox" / "bin"
    directory.mkdir(parents=True)
    (directory / "busybox").write_bytes(program.read_bytes())
    (directory / "busybox").chmod(0o755)
    for name in ("sh", "ls", "cat", "sleep", "id"):
        (directory / name).symlink_to("busybox")
    return directory.parent


async def test_another_root_file_system(tmp_path: Path, busybox: Path) -> None:
    """A pod of an image that is a directory sees that directory's files alone, and does not change them."""
    runtime = ContainerRuntime(tmp_path / "state", {"busybox": busybox})
    pods = Pods(runtime)
    try:
        await pods.running("a", container={"image": "docker.io/library/busybox:latest"})
        assert await pods.shell("a", "echo x > /new; ls /") == "bin\ndev\netc\nnew\nproc\nsys"
        assert sorted(path.name for path in busybox.iterdir()) == ["bin"]
        with pytest.raises(ExecFailedError):
            await pods.exec("a", "tar")
    finally:
        await runtime.close()


def test_a_state_directory_belongs_to_one_runtime(tmp_path: Path) -> None:
    """A second runtime in the same directory is refused, before it could sweep the first one's."""
    code = textwrap.dedent(f"""
        from pathlib import Path
        from harbor_aws.infra.local.kubernetes.pods.containers import ContainerRuntime
        runtime = ContainerRuntime(Path({str(tmp_path)!r}), {{}})
        print("mine", flush=True)
        input()
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(UsageError, match="in use"):
            ContainerRuntime(tmp_path, {})
        other.communicate(b"\n")


def test_nothing_outlives_a_killed_server(tmp_path: Path) -> None:
    """After kill -9 of the server no process, not even one that changed its user, no mount and no control group stays,
    and the next runtime sweeps its files."""
    marker = f"31{time.monotonic_ns() % 10**8}"
    code = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from harbor_aws.infra.local.kubernetes.pods.containers import ContainerRuntime
        async def main():
            runtime = ContainerRuntime(Path({str(tmp_path / "state")!r}), {{}})
            limit = {{"limits": {{"memory": "64Mi"}}}}
            running = asyncio.Semaphore(0)
            def report(uid, status):
                if status["phase"] == "Running":
                    running.release()
            for number in range(5):
                command = ["setpriv", "--reuid=1234", "--clear-groups", "--", "sleep", "{marker}"]
                container = {{"name": "c", "image": "i", "command": command, "resources": limit}}
                pod = {{"metadata": {{"name": "p", "uid": str(number)}}, "spec": {{"containers": [container]}}}}
                await runtime.start(pod, report)
            for number in range(5):
                await running.acquire()
            await runtime.exec("0", "c", ["setsid", "sleep", "{marker}"], stdin=False, tty=False)
            print("running", flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as server:
        assert server.stdout
        assert server.stdout.readline() == b"running\n"
        assert len(processes_with(marker)) >= 6
        server.send_signal(signal.SIGKILL)
        server.wait()
    deadline = time.monotonic() + 10
    while processes_with(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with(marker) == []
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tmp_path) in line]
    record = tmp_path / "state" / "cgroup"
    group = Path(record.read_text()) if record.exists() else None
    successor = ContainerRuntime(tmp_path / "state", {})
    assert list((tmp_path / "state" / "pods").iterdir()) == []
    assert group is None or not group.exists()
    asyncio.run(successor.close())


async def test_a_killed_launcher_ends_its_pods_and_is_replaced(pods: Pods) -> None:
    """When either of the two processes that start pods dies, the pods end, which is reported, and the next starts."""
    for uid, generation in (("a", 1), ("b", 2)):
        marker = f"31{time.monotonic_ns() % 10**8}"
        await pods.running(uid, ["setpriv", "--reuid=1234", "--clear-groups", "--", "sleep", marker])
        os.kill(launcher(generation), signal.SIGKILL)
        status = await pods.until(uid, lambda one: one["phase"] == "Failed")
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
        async with asyncio.timeout(10):
            while processes_with(marker):
                await asyncio.sleep(0.02)
    await pods.running("c")
    assert await pods.shell("c", "hostname") == "pod-c"


def launcher(generation: int) -> int:
    """Pid of this process's launcher: 1 is its child, which waits for 2, the one that starts pods."""
    pid = os.getpid()
    for _ in range(generation):
        (pid,) = [one for one in processes_with("kubernetes.pods.launcher") if parent(one) == pid]
    return pid


def parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def test_only_root_can_run_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root the runtime says so before it touches anything."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="as root"):
        ContainerRuntime(tmp_path / "state", {})
    assert not (tmp_path / "state").exists()
