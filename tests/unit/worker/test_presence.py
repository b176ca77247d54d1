"""A process's sign of life in the cluster."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from tests.unit.worker.embedded_api import Faults, serve_api
from tests.unit.worker.fake_kubernetes import refusal

from harbor_aws.infra.cluster import AccessRefusedError, Cluster
from harbor_aws.infra.presence import Presence, leases_path
from harbor_aws.infra.settings import Settings
from harbor_aws.worker.exec.command import FOLLOW_SECONDS
from harbor_aws.worker.presence import PresenceTerms, keep_presence, process_name, seconds_until_renewal
from harbor_aws.worker.reaper import GAP_INTERVALS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GENEROUS_SECONDS = 30
QUICK = PresenceTerms(interval_seconds=0.02, duration_seconds=60)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Cluster, Faults]]:
    async with serve_api(tmp_path) as (access, faults), Cluster.open(access) as cluster:
        yield cluster, faults


async def presences(cluster: Cluster) -> list[Presence]:
    answer = await cluster.request("GET", leases_path(cluster.namespace))
    return [Presence.of(item) for item in answer["items"]]


async def renewal(cluster: Cluster, *, after: str | None) -> Presence:
    """The next version of the one presence that there is."""
    async with asyncio.timeout(GENEROUS_SECONDS):
        while True:
            for presence in await presences(cluster):
                if presence.version != after:
                    return presence
            await asyncio.sleep(0.01)


async def test_it_is_there_before_the_first_pod_renewed_and_taken_back(server: tuple[Cluster, Faults]) -> None:
    """In a namespace that is not there yet as well."""
    cluster, _ = server
    async with keep_presence(cluster, stack="s", worker="Host.w-1", terms=QUICK):
        (first,) = await presences(cluster)
        assert (first.worker, first.duration_seconds) == ("Host.w-1", 60)
        assert first.is_current(datetime.now(UTC))
        assert not first.is_current(datetime.now(UTC) + timedelta(seconds=120))
        second = await renewal(cluster, after=first.version)
        assert second.uid == first.uid
    assert await presences(cluster) == []


async def test_one_that_was_taken_for_dead_comes_back(server: tuple[Cluster, Faults]) -> None:
    """A process that wakes up after its sign was removed makes a new one."""
    cluster, _ = server
    async with keep_presence(cluster, stack="s", worker="w", terms=QUICK):
        (first,) = await presences(cluster)
        await cluster.request("DELETE", f"{leases_path(cluster.namespace)}/{first.name}")
        assert (await renewal(cluster, after=first.version)).worker == "w"


async def test_an_outage_is_outlived(server: tuple[Cluster, Faults], caplog: pytest.LogCaptureFixture) -> None:
    """Renewing goes on after any number of failures, and says so once; whoever asks is told of each renewal."""
    cluster, faults = server
    told: list[str | None] = []
    async with keep_presence(cluster, stack="s", worker="w", terms=QUICK, on_renewal=told.append):
        (first,) = await presences(cluster)
        faults.interfere = lambda request: refusal(403) if request.method == "PATCH" else None
        seen = len(faults.requests)
        async with asyncio.timeout(GENEROUS_SECONDS):
            while len(faults.requests) < seen + 5:
                await asyncio.sleep(0.01)
        faults.interfere = lambda _request: None
        second = await renewal(cluster, after=first.version)
        await renewal(cluster, after=second.version)
    assert caplog.text.count("does not take this process's sign of life") == 1
    failed = [why for why in told if why is not None]
    assert len(failed) >= 4
    assert all("403" in why for why in failed)
    assert told[-1] is None


def test_after_a_failure_it_is_renewed_sooner() -> None:
    """Within seconds, so that a short outage is soon known to be over; in a long one as often as ever."""
    terms = PresenceTerms(interval_seconds=40, duration_seconds=320)
    assert [seconds_until_renewal(failures, terms=terms) for failures in range(8)] == [40, 2, 4, 8, 16, 32, 40, 40]
    assert seconds_until_renewal(100_000, terms=QUICK) == QUICK.interval_seconds


async def test_who_may_not_show_itself_must_not_make_pods(server: tuple[Cluster, Faults]) -> None:
    """A role without leases is an error at once, and not pods that others remove later."""
    cluster, faults = server
    faults.interfere = lambda _request: refusal(403)
    with pytest.raises(AccessRefusedError):
        async with keep_presence(cluster, stack="s", worker="w", terms=QUICK):
            pass


@pytest.mark.parametrize(
    "settings", [{}, {"visibility_timeout_seconds": 10, "lease_interval_seconds": 3}, {"lease_interval_seconds": 1}]
)
def test_the_times_fit_each_other(settings: dict[str, Any]) -> None:
    """A sign outlasts the lease on messages by two renewals at least, and any gap that counts as watched."""
    terms = PresenceTerms.of(made := Settings(**settings))
    assert terms.duration_seconds >= made.visibility_timeout_seconds + 2 * terms.interval_seconds
    assert terms.duration_seconds > (GAP_INTERVALS + 1) * terms.interval_seconds


def test_by_default_a_command_is_given_up_before_its_pod() -> None:
    """A worker that is cut off from the cluster tries for so long to follow a command."""
    assert PresenceTerms.of(Settings()).duration_seconds > FOLLOW_SECONDS


def test_a_process_that_was_started_again_is_another() -> None:
    """In a restarted container the host's name and the process's number are the old ones."""
    assert process_name() != process_name()
