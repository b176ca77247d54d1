"""The probe in real network namespaces: with a network, without one, by every program that it knows how to ask."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from tests.integration.network_ground import CLOSED, NOWHERE, OPEN, SILENT, alone, programs, with_neighbour

from harbor_aws.worker.network_probe import NetworkNotIsolatedError, confirm_no_network
from harbor_aws.worker.network_report import objections, parse_report
from harbor_aws.worker.network_script import network_script
from harbor_aws.worker.network_targets import NetworkTargets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.network_ground import Ground

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")]

NAME = "name.invalid"
"""Reserved, and never there (RFC 6761)."""

SECONDS = 2
"""For an attempt: what is not answered at once in here never is."""

SHELLS = [("bash",), ("dash",), ("busybox", "sh")]

BUSYBOX = ("busybox:sh", "busybox:sleep")
TOOLS = {
    "python3": ("sh", "sleep", "python3"),
    "perl": ("sh", "sleep", "perl"),
    "bash": ("sh", "sleep", "bash"),
    "busybox_nc": (*BUSYBOX, "busybox:nc"),
    "curl": ("sh", "sleep", "curl"),
}


@pytest.fixture(scope="module")
def joined() -> Iterator[Ground]:
    """A namespace with a network."""
    with with_neighbour() as ground:
        yield ground


def targets(*places: tuple[str, int]) -> NetworkTargets:
    return NetworkTargets(places=places, name=NAME)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
async def test_no_interface_proves_it(shell: tuple[str, ...]) -> None:
    """In a namespace of its own nothing is to be tried, whatever the shell and without any tool."""
    with alone() as ground:

        async def run(script: str) -> str:
            return ground.run(script, by=shell)

        await confirm_no_network(run, pod="p", targets=targets(OPEN), try_seconds=SECONDS)
        report = parse_report(await run(network_script([OPEN], name=NAME, try_seconds=SECONDS)))
    assert (report.is_alone, report.attempts, report.is_whole) == (True, (), True)


async def test_every_tool_tells_what_it_reaches(joined: Ground, tmp_path: Path) -> None:
    """Who answers, who refuses, who is silent, where no way leads: each as it is."""

    def ask(tool: str) -> tuple[str, str]:
        path = programs(tmp_path / tool, *TOOLS[tool])
        script = network_script([OPEN, CLOSED, SILENT, NOWHERE], name=NAME, try_seconds=SECONDS)
        return tool, joined.run(script, by=(str(path / "sh"),), path=path)

    for tool, output in await asyncio.gather(*(asyncio.to_thread(ask, tool) for tool in TOOLS)):
        report = parse_report(output)
        outcomes = {(each.host, each.port): each.outcome.value for each in report.attempts}
        assert outcomes.pop(SILENT) in {"silent", "unreachable"}, output
        assert outcomes == {OPEN: "reached", CLOSED: "refused", NOWHERE: "unreachable"}, output
        assert (report.tool, report.resolution, report.is_whole) == (tool, "unresolved", True), output
        found = ["it was refused by 10.99.0.1:81", "it reached 10.99.0.1:443"]
        assert objections(report, targets(OPEN, CLOSED, SILENT, NOWHERE)) == found
        assert objections(report, targets(SILENT, NOWHERE)) == found  # more was tried than had to be


async def test_a_network_that_leads_nowhere(joined: Ground) -> None:
    """An interface from which nothing is reached is confirmed, as it is with a security group, whatever the shell."""

    async def check(shell: tuple[str, ...]) -> None:
        async def run(script: str) -> str:
            return await asyncio.to_thread(joined.run, script, by=shell)

        nowhere, somewhere = targets(SILENT, NOWHERE), targets(OPEN, SILENT)
        await confirm_no_network(run, pod="p", targets=nowhere, try_seconds=SECONDS)
        with pytest.raises(NetworkNotIsolatedError, match=r"pod p has none: it reached 10\.99\.0\.1:443\. Nothing"):
            await confirm_no_network(run, pod="p", targets=somewhere, try_seconds=SECONDS)

    await asyncio.gather(*(check(shell) for shell in SHELLS))


def test_nobody_to_try(joined: Ground, tmp_path: Path) -> None:
    """With an interface, and nothing in the image to try it with, nothing is confirmed."""
    path = programs(tmp_path / "bin", "sh", "sleep")
    report = parse_report(
        joined.run(network_script([NOWHERE], name=NAME, try_seconds=SECONDS), by=(str(path / "sh"),), path=path)
    )
    (reason,) = objections(report, targets(NOWHERE))
    assert "interfaces (eth0)" in reason
    assert "nothing to try" in reason


def test_a_name_that_is_found(joined: Ground) -> None:
    """An address for a name is contact with a name server; here it is the machine's own table that has it."""
    report = parse_report(joined.run(network_script([NOWHERE], name="localhost", try_seconds=SECONDS)))
    (reason,) = objections(report, NetworkTargets(places=(NOWHERE,), name="localhost"))
    assert reason == "it found an address of localhost, so a name server answers"


def test_somebody_on_the_loopback_interface(tmp_path: Path) -> None:
    """Where nobody can be left by, but somebody listens, it may be a machine's own network: it is tried."""
    listen = (
        'python3 -c "import socket, subprocess, sys; '
        "server = socket.create_server(('127.0.0.1', 8700)); "
        "subprocess.run(['sh', '-c', sys.stdin.read()])\""
    )
    with alone() as ground:
        output = ground.run(
            network_script([("127.0.0.1", 8700)], name=NAME, try_seconds=SECONDS), by=("sh", "-c", listen)
        )
    report = parse_report(output)
    assert (report.interfaces, report.listening, report.is_alone) == (("lo",), 1, False), output
    assert objections(report, targets(("127.0.0.1", 8700))) == ["it reached 127.0.0.1:8700"], output
