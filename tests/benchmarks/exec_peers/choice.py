"""The clients of exec that are compared, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.benchmarks.exec_peers.peer import ExecPeer
    from tests.benchmarks.target import Target

_CLASSES = {
    "ours": ("ours", "Ours"),
    "aiohttp": ("raw_aiohttp", "RawAiohttp"),
    "aiohttp_bare": ("raw_aiohttp", "BareAiohttp"),
    "aio": ("official_asyncio", "OfficialAsyncio"),
    "sync": ("official_sync", "OfficialSync"),
    "kubectl": ("kubectl", "Kubectl"),
}

LATENCY_PEERS = tuple(_CLASSES)
THROUGHPUT_PEERS = ("ours", "aiohttp", "aio", "sync", "kubectl")
HELD_PEERS = ("ours", "aiohttp", "aio", "sync")


def open_exec_peer(name: str, target: Target) -> AbstractAsyncContextManager[ExecPeer]:
    """A client, and nothing of the others: what their imports leave free would hide what a command takes."""
    module, class_name = _CLASSES[name]
    client = getattr(import_module(f"tests.benchmarks.exec_peers.{module}"), class_name)
    return cast("AbstractAsyncContextManager[ExecPeer]", client.open(target))
