"""What the numbers of each table mean. Line breaks mean nothing."""

from __future__ import annotations

LATENCY = """
`true`, {commands} times by each, in turns, from the call to the exit code. All run it as `bash -c true`, as every
Harbor environment does, but for the row that says so. The floor opens a WebSocket with aiohttp, reads to the server's
status and closes: no client can do less. harbor-aws also starts the command detached from the stream, keeps its output
in the pod and puts it to a shell by stdin. kubectl is a process each time.
"""

THROUGHPUT = """
Client, API server and commands share the machine's processors, which bound all of these. kubernetes.stream has a thread
for each command.
"""

HELD = """
By how much the client's resident memory grew, divided by {commands} commands that were started at once and wait in the
pod; each client in a process of its own. Most of it is TLS, which raw aiohttp has too; it is less where the client's
imports had left memory free.
"""

TRANSFERS = """
Incompressible bytes, in turns, medians. Harbor's GKE environment, by kubernetes.stream, gets {less}, because its
downloads take time that grows with the square of the size; it decodes what it downloads as UTF-8, which other bytes do
not survive. kubectl is timed from its start, the others from the call. RSS growth is over a client that has done one
small thing (kubectl: over a `kubectl exec` of `true`). The pod has one processor where the cluster limits it. Whether
files arrived is checked by SHA-256 over all of them; of these clients only harbor-aws checks it itself, within its
time.
"""

REQUESTS = """
As counted by its one door to the API; an exec is one.
"""


def flowing(note: str, **values: object) -> str:
    """A note as one line."""
    return " ".join(note.format(**values).split())
