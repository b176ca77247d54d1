"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Every peer gets the same, but where a peer's own bound is named."""

    latency_rounds: int = 200
    """Commands of each peer, one after another."""

    at_once: tuple[int, ...] = (1, 10, 100, 500)
    """How many commands run at the same time."""

    batch_commands: int = 200
    """Commands of a peer in one round of throughput, if not more run at once."""

    batch_rounds: int = 3

    kubectl_at_once: int = 10
    """The most for ``kubectl exec``, each of which is a process of 50 MiB."""

    held: int = 500
    """Commands that are open at the same time while memory is measured."""

    big_file_mib: int = 1024
    small_files: int = 20_000
    small_file_bytes: int = 2048

    transfer_rounds: int = 3
    """Transfers of each peer, size and direction; of ``kubernetes.stream`` one."""

    stream_file_mib: int = 16
    stream_small_files: int = 2_000
    """Less for ``kubernetes.stream``, whose downloads take time that grows with the square of the size."""

    peer_seconds: float = 180.0
    """After how long a peer is given up for what it was asked for."""


QUICK = Sizes(
    latency_rounds=50,
    batch_commands=50,
    batch_rounds=1,
    big_file_mib=64,
    small_files=2_000,
    stream_file_mib=4,
    stream_small_files=500,
    peer_seconds=120.0,
)
