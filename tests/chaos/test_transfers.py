"""Hundreds of uploads and downloads through a connection that fails in all kinds of ways."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.chaos.direct import output_of
from tests.chaos.schedule import Weather
from tests.chaos.storm import storm
from tests.chaos.trees import make_source, snapshot, snapshot_of_tar

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.worker.transfer.download import download_directory, download_file
from harbor_aws.worker.transfer.scripts import ROOM_PREFIX
from harbor_aws.worker.transfer.upload import upload_directory, upload_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.conftest import Record
    from tests.chaos.proxy import ChaosProxy
    from tests.chaos.trees import Snapshot

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.pod import Pod
    from harbor_aws.worker.pods import PodKeeper

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

AT_ONCE = 8
STORM_SECONDS = 4.0
"""Between what happens to all streams at once, on the average."""

TARGET = "/chaos-files"
STAGED = f"find {TARGET} /tmp -name '{ROOM_PREFIX}*' -prune 2>/dev/null || true"
"""Finds what uploads have not yet put into its place, and what downloads could not send from where it is."""

STAGED_SECONDS = 60.0
"""For scripts whose stream was cut to find that out, and to remove what they had staged."""


@dataclass(frozen=True)
class RoundTrip:
    """Something that goes into a pod and comes back."""

    number: int
    source: Path
    back: Path

    @property
    def target(self) -> str:
        return f"{TARGET}/{self.number}"

    async def up(self, cluster: Cluster, pod: Pod) -> None:
        upload = upload_directory if self.source.is_dir() else upload_file
        await upload(cluster, pod.name, self.source, self.target)

    async def down(self, cluster: Cluster, pod: Pod) -> None:
        download = download_directory if self.source.is_dir() else download_file
        await download(cluster, pod.name, self.target, self.back)


@pytest.mark.timeout(600)
async def test_transfers_survive_everything(
    keeper: PodKeeper,
    debian: Pod,
    busybox: Pod,
    direct: Cluster,
    proxy: ChaosProxy,
    record: Record,
    tmp_path: Path,
    chaos_seed: int,
    *,
    is_real: bool,
) -> None:
    """Every byte, mode and link is right on both sides, and nothing else is left on either."""
    count = 20 if is_real else 200
    pods = {"debian": debian, "busybox": busybox}
    draw = random.Random(chaos_seed)  # noqa: S311 - repeatable, not secret
    trips = {name: _round_trips(tmp_path / name, draw, count=count // 4) for name in pods}
    places = asyncio.Semaphore(AT_ONCE)

    async def there_and_back(name: str, trip: RoundTrip) -> list[str]:
        async with places:
            try:
                await keeper.while_running(pods[name], trip.up(keeper.cluster, pods[name]))
                await keeper.while_running(pods[name], trip.down(keeper.cluster, pods[name]))
            except HarborAwsError as error:
                return [f"{name} {trip.number}: {error!r}"]
            there, right = snapshot(trip.back), snapshot(trip.source)
            return [f"{name} {trip.number} came back: {_difference(there, right)}"] if there != right else []

    proxy.schedule = Weather(chaos_seed, half_open_share=0.01)
    async with storm(proxy, seed=chaos_seed, every_seconds=STORM_SECONDS):
        outcomes = await asyncio.gather(*(there_and_back(name, trip) for name in pods for trip in trips[name]))
    problems = [problem for outcome in outcomes for problem in outcome]
    for name, pod in pods.items():
        problems += [f"{name}: {problem}" for problem in await _left_wrong(direct, pod, trips[name], tmp_path / name)]
    record({"seed": chaos_seed, "transfers": count, "wrong": len(problems)})
    assert not problems, "\n".join([f"seed {chaos_seed}: {len(problems)} problems", *problems[:50]])


def _round_trips(place: Path, draw: random.Random, *, count: int) -> list[RoundTrip]:
    (place / "source").mkdir(parents=True)
    (place / "back").mkdir()
    trips = [RoundTrip(number, place / "source" / f"{number}", place / "back" / f"{number}") for number in range(count)]
    for trip in trips:
        make_source(trip.source, draw)
    return trips


async def _left_wrong(direct: Cluster, pod: Pod, trips: list[RoundTrip], place: Path) -> list[str]:
    """What is wrong with what the transfers left in the pod and here."""
    found = []
    if staged := await _staged(direct, pod):
        found.append(f"staged in the pod: {staged}")
    everything = await output_of(direct, pod.name, "tar", "-cf", "-", "-C", TARGET, ".")
    for trip in trips:
        there, right = snapshot_of_tar(everything, f"{trip.number}"), snapshot(trip.source)
        if there != right:
            found.append(f"{trip.number} in the pod: {_difference(there, right)}")
    names = {f"{trip.number}" for trip in trips}
    in_pod = set((await output_of(direct, pod.name, "ls", "-A", TARGET)).decode().split())
    here = {path.name for path in (place / "back").iterdir()}
    found += [f"left in the pod: {name}" for name in in_pod - names]
    found += [f"left here: {name}" for name in here - names]
    return found


async def _staged(direct: Cluster, pod: Pod) -> str:
    """What is still staged when that should have been removed."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + STAGED_SECONDS
    while True:
        staged = (await output_of(direct, pod.name, "sh", "-c", STAGED)).decode().split()
        if not staged or clock() > deadline:
            return " ".join(staged)
        await asyncio.sleep(1)


def _difference(there: Snapshot, right: Snapshot) -> str:
    pairs = [(name, there.get(name), right.get(name)) for name in sorted({*there, *right})]
    wrong = [f"{name!r} is {one}, not {other}" for name, one, other in pairs if one != other]
    return f"{len(wrong)} of {len(right)} wrong: {'; '.join(wrong[:3])}"
