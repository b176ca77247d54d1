"""The clients of transfers that are compared, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.benchmarks.target import Target
    from tests.benchmarks.transfer_peers.peer import TransferPeer

_CLASSES = {
    "ours": ("ours", "Ours"),
    "kubectl": ("kubectl_cp", "KubectlCp"),
    "gke": ("harbor_gke", "HarborGke"),
}


def open_transfer_peer(name: str, target: Target) -> AbstractAsyncContextManager[TransferPeer]:
    """A client, and nothing of the others: what their imports leave free would hide what a transfer takes."""
    module, class_name = _CLASSES[name]
    client = getattr(import_module(f"tests.benchmarks.transfer_peers.{module}"), class_name)
    return cast("AbstractAsyncContextManager[TransferPeer]", client.open(target))
