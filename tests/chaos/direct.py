"""Looking into a pod without the proxy, and without the code under test but its bare streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harbor_aws.worker.exec.channels import Channel, parse_status
from harbor_aws.worker.exec.stream import ExecStream

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster


async def output_of(cluster: Cluster, pod: str, *argv: str) -> bytes:
    """All that a process writes to stdout; it must succeed."""
    written = {Channel.STDOUT: bytearray(), Channel.STDERR: bytearray()}
    async with ExecStream.open(cluster, pod, argv) as stream:
        while (frame := await stream.receive()).channel is not Channel.ERROR:
            written[frame.channel] += frame.data
    assert parse_status(frame.data).exit_code == 0, (argv, frame.data, bytes(written[Channel.STDERR]))
    return bytes(written[Channel.STDOUT])


async def processes(cluster: Cluster, pod: str, words: str) -> int:
    """How many processes of the pod have these words in their command line."""
    script = """
    for f in /proc/[0-9]*/cmdline; do
      [ "$f" = "/proc/$$/cmdline" ] || { tr '\\0' ' ' <"$f"; echo; } 2>/dev/null
    done
    """
    listed = await output_of(cluster, pod, "sh", "-c", script)
    return sum(words in line for line in listed.decode(errors="replace").splitlines())


async def until_gone(cluster: Cluster, pod: str, words: str) -> None:
    """Wait until no process of the pod has these words in its command line any more."""
    while await processes(cluster, pod, words):
        await asyncio.sleep(0.1)
