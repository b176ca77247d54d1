"""One transfer in a process: ``python -m tests.benchmarks.transfer_process PEER KUBECONFIG NAMESPACE POD``.

Each transfer has a process of its own, because memory that was used once is not given back. A line of JSON on stdin
says which, a line on stdout how it went.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.target import Target
from tests.benchmarks.transfer_peers.choice import open_transfer_peer

if TYPE_CHECKING:
    from tests.benchmarks.transfer_peers.peer import TransferPeer


async def measure(peer: TransferPeer, order: dict[str, Any]) -> dict[str, Any]:
    """Time, memory and requests of one transfer; what it raises is its ``error``."""
    await peer.warm_up()
    gc.collect()
    requests, error = peer.requests(), None
    peer.memory.begin()
    started = time.perf_counter()
    try:
        if order["order"] == "upload":
            await peer.upload(Path(order["source"]), order["target"])
        else:
            await peer.download(order["source"], Path(order["target"]), directory=order["directory"])
    except Exception as failure:  # noqa: BLE001 - whatever a peer raises means that the files did not arrive
        error = f"{type(failure).__name__}: {failure}"[:300]
    seconds = time.perf_counter() - started
    now = peer.requests()
    return {
        "seconds": seconds,
        "rss_growth_mib": peer.memory.growth_kib() / 1024,
        "requests": None if now is None or requests is None else now - requests,
        "error": error,
    }


async def _serve(name: str, target: Target) -> None:
    order = json.loads(await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline))
    async with open_transfer_peer(name, target) as peer:
        print(json.dumps(await measure(peer, order)), flush=True)


if __name__ == "__main__":
    peer_name, kubeconfig, namespace, pod = sys.argv[1:]
    asyncio.run(_serve(peer_name, Target(Path(kubeconfig), namespace, pod)))
