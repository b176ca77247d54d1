"""The most that a pod's container used, as its control group says: one exec, just before the pod goes.

What it says comes out of a container that is not to be trusted, so it is bounded, and read to the letter. A number is
believed only of a group that has the container's own limit: some runtimes show the whole machine's.
https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.infra.fargate import LARGEST
from harbor_aws.worker.exec.channels import Channel
from harbor_aws.worker.exec.stream import ExecStream

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long a pod that could be deleted is kept waiting for its answer."""

OUTPUT_BYTES = 4096
"""Of an answer; the script's own has some hundred."""

_LINE = re.compile(r"([a-z_]{1,20})=([0-9]{1,18})")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PeakUse:
    """What a container used; ``None`` where nobody says it, or nobody can say it truly."""

    memory_mib: int | None = None
    """Its most memory, page cache included."""
    cpu_seconds: float | None = None


async def peak_use(cluster: Cluster, pod: str, *, memory_mib: int, age_seconds: float) -> PeakUse:
    """Ask a running pod. It takes one request and a few seconds at most, and nothing that goes wrong is an error.

    Args:
        memory_mib: what the pod is billed at, which its container cannot use more than.
        age_seconds: how long the pod has been there.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await _answer(cluster, pod)
    except (InfrastructureError, TimeoutError) as error:
        logger.debug("What pod %s used is not known: %r", pod, error)
        return PeakUse()
    return parse(said, memory_mib=memory_mib, age_seconds=age_seconds)


async def _answer(cluster: Cluster, pod: str) -> bytes:
    """What the script printed; nothing if something else prints more than that could be."""
    said, heard_bytes = b"", 0
    async with ExecStream.open(cluster, pod, ("sh", "-c", script()), patience_seconds=0) as stream:
        while (frame := await stream.receive()).channel is not Channel.ERROR:
            said += frame.data if frame.channel is Channel.STDOUT else b""
            heard_bytes += len(frame.data)
            if heard_bytes > OUTPUT_BYTES:
                return b""
    return said


def parse(said: bytes, *, memory_mib: int, age_seconds: float) -> PeakUse:
    """What an answer tells; see :func:`peak_use`."""
    lines = (_LINE.fullmatch(line) for line in said.decode("ascii", errors="replace").split("\n"))
    told: dict[str, int] = {}
    for line in filter(None, lines):
        told.setdefault(line[1], int(line[2]))
    peak, limit = told.get("memory_peak", 0), told.get("memory_limit", 0)
    is_limited = 0 < limit <= memory_mib * _MIB
    cpu_seconds: float | None = None
    if is_limited and "cpu_usec" in told:
        cpu_seconds = told["cpu_usec"] / 1e6
    elif told.get("cpu_quota") and "cpu_nsec" in told:
        cpu_seconds = told["cpu_nsec"] / 1e9
    if cpu_seconds is not None and cpu_seconds > age_seconds * LARGEST.cpu_millis / 1000:
        cpu_seconds = None
    return PeakUse(
        memory_mib=-(-peak // _MIB) if is_limited and 0 < peak <= limit else None,
        cpu_seconds=None if cpu_seconds is None else round(cpu_seconds, 3),
    )


def script(groups: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> str:
    """A POSIX shell's script that prints ``name=number`` lines, by builtins alone.

    A container's own group is at its path below ``groups`` where all groups are seen, and ``groups`` itself where only
    its own are.
    """
    return _SCRIPT.replace("@groups@", groups).replace("@membership@", membership)


_SCRIPT = r"""
groups=@groups@ own= memory= cpu= cpuacct=
while IFS=: read -r _ names path; do
  case ",$names," in (,,) own=$path;; esac
  case ",$names," in (*,memory,*) memory=$path;; esac
  case ",$names," in (*,cpu,*) cpu=$path;; esac
  case ",$names," in (*,cpuacct,*) cpuacct=$path;; esac
done <@membership@
first() {
  name=$1
  shift
  for file do
    if { read -r value <"$file"; } 2>/dev/null; then
      echo "$name=$value"
      return
    fi
  done
}
first memory_peak "$groups/memory$memory/memory.max_usage_in_bytes" "$groups/memory/memory.max_usage_in_bytes" \
  "$groups$own/memory.peak" "$groups/memory.peak"
first memory_limit "$groups/memory$memory/memory.limit_in_bytes" "$groups/memory/memory.limit_in_bytes" \
  "$groups$own/memory.max" "$groups/memory.max"
first cpu_nsec "$groups/cpuacct$cpuacct/cpuacct.usage" "$groups/cpuacct/cpuacct.usage"
first cpu_quota "$groups/cpu$cpu/cpu.cfs_quota_us" "$groups/cpu/cpu.cfs_quota_us"
for file in "$groups$own/cpu.stat" "$groups/cpu.stat"; do
  if [ -r "$file" ]; then
    while read -r name value; do
      [ "$name" != usage_usec ] || echo "cpu_usec=$value"
    done <"$file"
    break
  fi
done
"""
