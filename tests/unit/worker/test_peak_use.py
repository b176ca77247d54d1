"""What a container's control group says of its peak use, and what is believed of it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.unit.worker.fake_kubernetes import FakeKubernetes, exit_status, refusal, serve

from harbor_aws.infra.cluster import Cluster
from harbor_aws.worker import peak_use as module
from harbor_aws.worker.peak_use import PeakUse, parse, peak_use, script

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web
    from tests.unit.worker.fake_kubernetes import Exec

MIB = 1024 * 1024
LIMIT = f"{2048 * MIB}\n"

CONTAINERS_OWN_V2 = {
    "membership": "0::/\n",
    "memory.peak": f"{300 * MIB + 1}\n",
    "memory.max": LIMIT,
    "cpu.stat": "usage_usec 12500000\nuser_usec 12000000\nsystem_usec 500000\n",
}
CONTAINERS_OWN_V1 = {
    "membership": "5:memory:/kubepods/pod1/main\n4:cpu,cpuacct:/kubepods/pod1/main\n0::/\n",
    "memory/memory.max_usage_in_bytes": f"{300 * MIB + 1}\n",
    "memory/memory.limit_in_bytes": LIMIT,
    "cpu/cpu.cfs_quota_us": "100000\n",
    "cpuacct/cpuacct.usage": "12500000000\n",
}
WHOLE_MACHINE_V1 = {
    "membership": "5:memory:/kubepods/pod1/main\n4:cpu:/\n3:cpuacct:/\n",
    "memory/memory.max_usage_in_bytes": f"{9000 * MIB}\n",
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/kubepods/pod1/main/memory.max_usage_in_bytes": f"{300 * MIB + 1}\n",
    "memory/kubepods/pod1/main/memory.limit_in_bytes": LIMIT,
    "cpuacct/cpuacct.usage": "999999999999\n",
}

FOUND = PeakUse(memory_mib=301, cpu_seconds=12.5)


def made(directory: Path, files: dict[str, str]) -> tuple[str, str]:
    """The control groups as a container sees them, and its membership."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return str(directory), str(directory / "membership")


@pytest.mark.parametrize("shell", [("dash",), ("bash", "--posix"), ("busybox", "sh")], ids=lambda argv: argv[0])
@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param(CONTAINERS_OWN_V2, FOUND, id="v2"),
        pytest.param({**CONTAINERS_OWN_V2, "memory.max": "max\n"}, PeakUse(), id="v2 without a limit"),
        pytest.param(
            {name: text for name, text in CONTAINERS_OWN_V2.items() if name != "memory.peak"} | {"memory.current": "1"},
            PeakUse(cpu_seconds=12.5),
            id="v2 before Linux 5.19",
        ),
        pytest.param(
            {"membership": "0::/a/b\n", "memory.peak": "1\n", "memory.max": LIMIT}
            | {f"a/b/{name}": text for name, text in CONTAINERS_OWN_V2.items()},
            FOUND,
            id="v2 with all groups in sight",
        ),
        pytest.param(CONTAINERS_OWN_V1, FOUND, id="v1"),
        pytest.param({**CONTAINERS_OWN_V1, "cpu/cpu.cfs_quota_us": "-1\n"}, PeakUse(memory_mib=301), id="v1, no quota"),
        pytest.param(WHOLE_MACHINE_V1, PeakUse(memory_mib=301), id="v1 with all groups in sight"),
        pytest.param({"membership": ""}, PeakUse(), id="none"),
    ],
)
def test_the_script_by_any_shell(tmp_path: Path, shell: tuple[str, ...], files: dict[str, str], found: PeakUse) -> None:
    """POSIX shells without any program find the container's own group, in both versions, and never another's."""
    groups, membership = made(tmp_path, files)
    argv = [*shell, "-c", script(groups, membership)]
    ran = subprocess.run(argv, capture_output=True, timeout=30, env={"PATH": "/nowhere"}, executable=_path(shell[0]))
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert parse(ran.stdout, memory_mib=3072, age_seconds=60) == found


def _path(shell: str) -> str:
    return shutil.which(shell) or pytest.skip(f"there is no {shell} on this machine")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"memory_peak=1048576\nmemory_limit=2097152\n", PeakUse(memory_mib=1)),
        (b"memory_peak=1048577\nmemory_limit=2097152\n", PeakUse(memory_mib=2)),
        (b"memory_peak=1048576\n", PeakUse()),
        (b"memory_peak=0\nmemory_limit=2097152\n", PeakUse()),
        (b"memory_peak=3145728\nmemory_limit=2097152\n", PeakUse()),  # more than it may have
        (b"memory_peak=1048576\nmemory_limit=10737418240\n", PeakUse()),  # the machine's, not the container's
        (b"memory_peak=1048576\nmemory_limit=2097152\nmemory_peak=2097152\n", PeakUse(memory_mib=1)),
        (b"memory_peak=-5\nmemory_limit=2097152\n", PeakUse()),
        (b"memory_peak=1e6\nmemory_limit=2097152\n", PeakUse()),
        (b"memory_peak= 1048576\nmemory_limit=2097152\n", PeakUse()),
        (b"memory_peak=1048576\r\nmemory_limit=2097152\r\n", PeakUse()),
        ("memory_peak=١\nmemory_limit=2097152\n".encode(), PeakUse()),
        (b"memory_peak=" + b"9" * 40 + b"\nmemory_limit=2097152\n", PeakUse()),
        (b"cpu_quota=1\ncpu_nsec=1500000000\n", PeakUse(cpu_seconds=1.5)),
        (b"cpu_nsec=1500000000\n", PeakUse()),
        (b"cpu_usec=1500000\n", PeakUse()),
        (b"cpu_quota=1\ncpu_nsec=999999999999999999\n", PeakUse()),  # more than any machine could do in that time
        (b"\xff\x00garbage" * 50, PeakUse()),
        (b"", PeakUse()),
    ],
)
def test_an_answer_is_read_to_the_letter(said: bytes, found: PeakUse) -> None:
    """What cannot be, or is not written as the script writes it, tells nothing."""
    assert parse(said, memory_mib=4, age_seconds=60) == found


async def _says(socket: web.WebSocketResponse, _argv: list[str]) -> None:
    await socket.send_bytes(b"\x01memory_peak=1048576\nmemory_")
    await socket.send_bytes(b"\x02memory_peak=7\n")
    await socket.send_bytes(b"\x01limit=2097152\n")
    await socket.send_bytes(exit_status(0))


async def _never_ends(socket: web.WebSocketResponse, _argv: list[str]) -> None:
    while not socket.closed:
        await socket.send_bytes(b"\x01" + b"y\n" * 2000)
        await asyncio.sleep(0)


async def _complains_for_ever(socket: web.WebSocketResponse, _argv: list[str]) -> None:
    while not socket.closed:
        await socket.send_bytes(b"\x02" + b"y\n" * 2000)
        await asyncio.sleep(0)


async def _is_cut(socket: web.WebSocketResponse, _argv: list[str]) -> None:
    await socket.send_bytes(b"\x01memory_peak=1048576\nmemory_limit=2097152\n")


async def _says_nothing(socket: web.WebSocketResponse, _argv: list[str]) -> None:
    await socket.receive()


@pytest.mark.parametrize(
    ("container", "found"),
    [
        (_says, PeakUse(memory_mib=1)),
        (_never_ends, PeakUse()),
        (_complains_for_ever, PeakUse()),
        (_is_cut, PeakUse()),
        (_says_nothing, PeakUse()),
    ],
)
async def test_asking_costs_one_request_and_little_time(
    container: Exec, found: PeakUse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the container does, the answer is there soon, and nothing is asked twice."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 1 if container is _says_nothing else 20)
    kubernetes = FakeKubernetes()
    kubernetes.exec = container
    began = time.monotonic()
    async with serve(kubernetes, tmp_path) as access, Cluster.open(access) as cluster:
        assert await peak_use(cluster, "pod", memory_mib=4, age_seconds=60) == found
    assert time.monotonic() - began < 15
    assert len([word for word in kubernetes.requests if word.endswith("/exec")]) == 1


async def test_a_cluster_that_refuses_is_no_error(tmp_path: Path) -> None:
    """No pod, no right to exec: nothing is known, and nothing fails."""
    kubernetes = FakeKubernetes()

    async def refuse(_word: str) -> web.Response:
        return refusal(403)

    kubernetes.interfere = refuse
    async with serve(kubernetes, tmp_path) as access, Cluster.open(access) as cluster:
        assert await peak_use(cluster, "pod", memory_mib=4, age_seconds=60) == PeakUse()
