"""Files up and down: time, memory, requests, and whether they arrived."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.content import (
    Content,
    in_pod,
    local_fingerprint,
    make_big_file,
    make_small_files,
    remote_fingerprint,
)
from tests.benchmarks.process import PeerGaveUpError, PeerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.sizes import Sizes
    from tests.benchmarks.target import Target

DIRECTIONS = ("upload", "download")
KINDS = ("big", "small")

_REMOTE = "/root/bench"
_IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer of one peer."""

    peer: str
    kind: str
    direction: str
    size_bytes: int
    files: int
    seconds: float
    rss_growth_mib: float
    requests: int | None
    error: str | None
    """Why the files did not arrive whole."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """A peer with the content that it moves."""

    peer: str
    kind: str
    content: Content
    seed: str
    """Where in the pod the same content is, to be downloaded."""
    rounds: int


async def measure_transfers(target: Target, sizes: Sizes, report: Callable[[str], None]) -> list[Transfer]:
    """Every peer's transfers, one after another, round by round.

    What is transferred stays until the end where it is many files: some file systems (ext4) are slow to create files
    for minutes after many were deleted.
    """
    measured = []
    with ExitStack() as stack:
        big_room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harbor-aws-bench-")))
        small_room = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="harbor-aws-bench-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None)
            )
        )
        lanes = await _lanes(target, sizes, big_room, small_room)
        for number in range(max(lane.rounds for lane in lanes)):
            for lane in lanes:
                if number >= lane.rounds:
                    continue
                room = big_room if lane.kind == "big" else small_room
                for direction in DIRECTIONS:
                    transfer = await _measure(target, lane, direction, number, room, seconds=sizes.peer_seconds)
                    report(_line(transfer))
                    measured.append(transfer)
    return measured


async def _lanes(target: Target, sizes: Sizes, big_room: Path, small_room: Path) -> list[_Lane]:
    await in_pod(target, f"mkdir -p {_REMOTE}")
    big = make_big_file(big_room / "big", mib=sizes.big_file_mib)
    small = make_small_files(small_room / "small", count=sizes.small_files, each_bytes=sizes.small_file_bytes)
    stream_big = make_big_file(big_room / "stream-big", mib=sizes.stream_file_mib)
    stream_small = make_small_files(
        small_room / "stream-small", count=sizes.stream_small_files, each_bytes=sizes.small_file_bytes
    )
    seeds = {content.path: await _seed(target, content) for content in (big, small, stream_big, stream_small)}
    lanes = [
        _Lane(peer, kind, content, seeds[content.path], sizes.transfer_rounds)
        for kind, content in (("big", big), ("small", small))
        for peer in ("ours", "kubectl")
    ]
    return [
        *lanes,
        _Lane("gke", "big", stream_big, seeds[stream_big.path], 1),
        _Lane("gke", "small", stream_small, seeds[stream_small.path], 1),
    ]


async def _seed(target: Target, content: Content) -> str:
    """Put what is to be downloaded into the pod, and make sure that it is there."""
    place = f"{_REMOTE}/seed-{content.path.name}"
    async with PeerProcess.start(
        "transfer_process", "ours", str(target.kubeconfig), target.namespace, target.pod
    ) as process:
        answer = await process.ask("upload", seconds=600, source=str(content.path), target=place)
    there = await remote_fingerprint(target, place, directory=content.is_directory)
    if there != content.fingerprint:
        raise RuntimeError(f"What is to be downloaded is not in the pod: {answer}")
    return place


async def _measure(target: Target, lane: _Lane, direction: str, number: int, room: Path, *, seconds: float) -> Transfer:
    name = f"{lane.peer}-{lane.kind}-{number}"
    local, remote = room / f"from-{name}", f"{_REMOTE}/to-{name}"
    places = (
        {"source": str(lane.content.path), "target": remote}
        if direction == "upload"
        else {"source": lane.seed, "target": str(local)}
    )
    try:
        async with PeerProcess.start(
            "transfer_process", lane.peer, str(target.kubeconfig), target.namespace, target.pod
        ) as process:
            answer = await process.ask(direction, seconds=seconds, directory=lane.content.is_directory, **places)
    except PeerGaveUpError as error:
        answer = {"seconds": seconds, "rss_growth_mib": 0.0, "requests": None, "error": str(error)}
    if direction == "upload":
        arrived = await remote_fingerprint(target, remote, directory=lane.content.is_directory)
        if lane.kind == "big":
            await in_pod(target, f"rm -f {remote}")
    else:
        arrived = local_fingerprint(local)
        if local.is_file():
            local.unlink()
    if arrived != lane.content.fingerprint:
        answer["error"] = answer["error"] or "not the same bytes"
    return Transfer(
        peer=lane.peer,
        kind=lane.kind,
        direction=direction,
        size_bytes=lane.content.size_bytes,
        files=lane.content.files,
        **answer,
    )


def _line(transfer: Transfer) -> str:
    outcome = transfer.error or "arrived"
    return (
        f"{transfer.direction} {transfer.kind} {transfer.peer}: {transfer.seconds:.2f} s, "
        f"{transfer.size_bytes / 2**20 / transfer.seconds:.0f} MiB/s, "
        f"RSS +{transfer.rss_growth_mib:.1f} MiB, {outcome}"
    )
