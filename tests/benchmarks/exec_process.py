"""One client of exec in a process: ``python -m tests.benchmarks.exec_process PEER KUBECONFIG NAMESPACE POD``.

Each peer is a process of its own, so that none pays for another's memory, threads or garbage. A line on stdin asks
(``{"order": …}``), a line on stdout answers.
"""

from __future__ import annotations

import asyncio
import gc
import json
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.exec_peers.choice import open_exec_peer
from tests.benchmarks.memory import resident_kib, thread_count
from tests.benchmarks.target import Target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.benchmarks.exec_peers.peer import ExecPeer

COMMAND_SECONDS = 120.0
"""How long one command may take before it counts as an error."""

_GATE_SECONDS = 3
"""How long the gate stays open for commands that are late for it."""


async def one_by_one(peer: ExecPeer, *, count: int) -> dict[str, Any]:
    """``true``, so many times, one after another."""
    seconds, errors, requests = [], 0, peer.requests()
    for _ in range(count):
        started = time.perf_counter()
        ended_well = await _true(peer)
        seconds.append(time.perf_counter() - started)
        errors += not ended_well
    return {"seconds": seconds, "errors": errors, "requests": _since(peer, requests)}


async def at_once(peer: ExecPeer, *, count: int, width: int) -> dict[str, Any]:
    """``true``, ``count`` times, ``width`` of them at any time."""
    left = count
    errors = 0

    async def slot() -> None:
        nonlocal left, errors
        while left:
            left -= 1
            errors += not await _true(peer)

    started = time.perf_counter()
    await asyncio.gather(*(slot() for _ in range(width)))
    return {"seconds": time.perf_counter() - started, "errors": errors}


async def hold(peer: ExecPeer, *, count: int) -> dict[str, Any]:
    """What ``count`` commands that are open at the same time cost this process.

    Each says that it runs, then waits for a FIFO that nobody writes to yet.
    """
    gate = f"/tmp/gate-{secrets.token_hex(4)}"
    await peer.run(f"mkfifo {gate}")
    await _true(peer)
    gc.collect()
    memory, threads = resident_kib(), thread_count()
    running = 0

    def heard() -> None:
        nonlocal running
        running += 1

    commands = [
        asyncio.ensure_future(_ended_well(peer, f"echo ready; read line <{gate}; true", heard)) for _ in range(count)
    ]
    while running + sum(command.done() for command in commands) < count:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    measured = {
        "kib_each": (resident_kib() - memory) / count,
        "threads": thread_count() - threads,
        "open": sum(not command.done() for command in commands),
    }
    await peer.run(f"sleep {_GATE_SECONDS} >{gate}")
    ended = await asyncio.gather(*commands)
    return {**measured, "errors": ended.count(False)}


ORDERS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "one_by_one": one_by_one,
    "at_once": at_once,
    "hold": hold,
}


async def _true(peer: ExecPeer) -> bool:
    return await _ended_well(peer, "true", lambda: None)


async def _ended_well(peer: ExecPeer, text: str, on_output: Callable[[], None]) -> bool:
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            exit_code = await peer.run(text, on_output=on_output)
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is an error to count
        print(f"{type(error).__name__}: {error}"[:300], file=sys.stderr, flush=True)
        return False
    if exit_code != 0:
        print(f"exit code {exit_code}", file=sys.stderr, flush=True)
    return exit_code == 0


def _since(peer: ExecPeer, before: int | None) -> int | None:
    now = peer.requests()
    return None if now is None or before is None else now - before


async def _serve(name: str, target: Target) -> None:
    loop = asyncio.get_running_loop()
    async with open_exec_peer(name, target) as peer:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            answer = await ORDERS[order.pop("order")](peer, **order)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    peer_name, kubeconfig, namespace, pod = sys.argv[1:]
    asyncio.run(_serve(peer_name, Target(Path(kubeconfig), namespace, pod)))
