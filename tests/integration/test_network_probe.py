"""The probe in real network namespaces: with a network, without one, by every program that it knows how to ask."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.integration.network_ground import (
    CLOSED,
    NAME_SERVER,
    NOWHERE,
    OPEN,
    SILENT,
    alone,
    answering_names,
    dead_end,
    programs,
    with_neighbour,
)

from harbor_aws.worker.network_probe import NetworkNotIsolatedError, confirm_no_network
from harbor_aws.worker.network_report import objections, parse_report
from harbor_aws.worker.network_script import network_script
from harbor_aws.worker.network_targets import NetworkTargets, network_targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.network_ground import Ground

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")]

NAME = "name.invalid"
"""Reserved, and never there (RFC 6761)."""

SECONDS = 2
"""For an attempt: what is not answered at once in here never is."""

PATIENT_SECONDS = 3
"""The same, where every tool is started several times at once."""

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


def like_those_of_aws() -> NetworkTargets:
    """Places of the same kinds as are tried there, in ranges for documentation and of the link."""

    def alike(number: int, host: str) -> str:
        if ":" in host:
            return f"2001:db8::{number}"
        return f"169.254.99.{number}" if host.startswith("169.254.") else f"192.0.2.{number}"

    places = network_targets("security-group", api="https://10.99.0.1").places
    return targets(*((alike(number, host), port) for number, (host, port) in enumerate(places, start=1)))


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


@pytest.mark.parametrize("has_ipv6", [False, True])
async def test_every_tool_confirms_a_good_pod(tmp_path: Path, has_ipv6: bool) -> None:
    """With AWS's kinds of places, IPv6 with and without a way for it, and a name server that does not answer."""
    wanted = like_those_of_aws()
    assert any(":" in host for host, _ in wanted.places)
    (tmp_path / "resolv.conf").write_text(f"nameserver {SILENT[0]}\n")

    async def check(tool: str, ground: Ground) -> None:
        path = programs(tmp_path / tool, *TOOLS[tool])
        outputs: list[str] = []

        async def run(script: str) -> str:
            ask = partial(ground.run, by=(str(path / "sh"),), path=path, resolv_conf=tmp_path / "resolv.conf")
            outputs.append(await asyncio.to_thread(ask, script))
            return outputs[-1]

        await confirm_no_network(run, pod="p", targets=wanted, try_seconds=PATIENT_SECONDS)
        report = parse_report(outputs[-1])
        assert (report.tool, report.routed_ipv6, report.resolution) == (tool, int(has_ipv6), "unresolved"), outputs

    with dead_end(has_ipv6=has_ipv6) as ground:
        await asyncio.gather(*(check(tool, ground) for tool in TOOLS))


async def test_a_name_server_that_answers(tmp_path: Path) -> None:
    """It is a way out though nothing else answers; of the tools only nc cannot tell."""
    (tmp_path / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
    script = network_script([SILENT], name=NAME, try_seconds=PATIENT_SECONDS)

    def ask(tool: str, ground: Ground) -> tuple[str, str]:
        path = programs(tmp_path / tool, *TOOLS[tool])
        return tool, ground.run(script, by=(str(path / "sh"),), path=path, resolv_conf=tmp_path / "resolv.conf")

    with dead_end(has_ipv6=False) as ground, answering_names(ground):
        asked = await asyncio.gather(*(asyncio.to_thread(ask, tool, ground) for tool in TOOLS))
    for tool, output in asked:
        report = parse_report(output)
        assert report.tool == tool, output
        assert (report.resolution == "resolved") is (tool != "busybox_nc"), output


def test_nobody_to_try(joined: Ground, tmp_path: Path) -> None:
    """With an interface, and nothing in the image to try it with, nothing is confirmed."""
    path = programs(tmp_path / "bin", "sh", "sleep")
    report = parse_report(
        joined.run(network_script([NOWHERE], name=NAME, try_seconds=SECONDS), by=(str(path / "sh"),), path=path)
    )
    (reason,) = objections(report, targets(NOWHERE))
    assert "interfaces (eth0)" in reason
    assert "nothing to try" in reason


@pytest.mark.parametrize(("others", "tool", "is_late"), [((), None, True), (("bash",), "bash", False)])
def test_a_program_that_does_not_start(
    joined: Ground, tmp_path: Path, others: tuple[str, ...], tool: str | None, is_late: bool
) -> None:
    """It is passed over for another; without one the image is not said to have nothing to try with."""
    path = programs(tmp_path / "bin", "sh", "sleep", *others)
    (path / "python3").write_text("#!/bin/sh\nexec sleep 60\n")
    (path / "python3").chmod(0o755)
    report = parse_report(
        joined.run(network_script([NOWHERE], name=NAME, try_seconds=SECONDS), by=(str(path / "sh"),), path=path)
    )
    assert (report.tool, report.is_tool_late, report.is_whole) == (tool, is_late, True)
    assert not report.is_final


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
