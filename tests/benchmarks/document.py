"""The page of the documentation, made from the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.tables import filled, markdown, tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.benchmarks.results import Results

_INTRODUCTION = """# Benchmarks

harbor-aws beside its peers: each measured in the same run, taking turns, because one machine's speed changes from
minute to minute. Compare the ratios; the figures themselves are the machine's. The commands named below write this
page, and the same numbers to `build/`.

What bounds the figures that one would like better:

- **Commands beside kubectl.** kubectl is a process each time, and yet only some seven times slower here than the
  floor: on an embedded cluster most of a command's time is the server's, and no client can be ten times faster than
  kubectl that is not faster than the floor.
- **Memory of an open command.** Nearly all is TLS: OpenSSL's own state is about 50 KiB a connection, and asyncio keeps
  a buffer that we cut from 256 to 16 KiB (raw aiohttp without that: 310 KiB).
- **Large files.** Both sides digest every byte by SHA-256, which kubectl does not, and client, server and pod share two
  processors: of 512 MiB that is about 0.7 s of processor time beside some 1.3 s for kubectl's whole transfer. Our
  connection alone, without digests and files, brings 410 MiB/s up and 511 down where kubectl brings 310 and 403.
- **Throughput of many commands at once.** Each starts a shell more in the pod than the bare exec, the one that stays
  with the command when the stream is cut; here the pods' processors are the client's.
"""


def document(chapters: Iterable[tuple[str, Results]]) -> str:
    """The page.

    Args:
        chapters: a title, and the results of one cluster.
    """
    return "\n".join([_INTRODUCTION, *(_chapter(title, results) for title, results in chapters)])


def _chapter(title: str, results: Results) -> str:
    commands = sorted({str(value) for key, value in results.items() if key.endswith("_command")})
    about = (
        f"{results['made_on']}, {results['machine']}. Kubernetes {results['kubernetes']}; {results['versions']}. "
        f"Made by {' and '.join(f'`{command}`' for command in commands)}."
    )
    return "\n".join([f"## {title}", "", filled(about), "", *(markdown(table) for table in tables(results))])
