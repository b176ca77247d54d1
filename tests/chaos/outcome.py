"""Running a command of the workload, and saying what is wrong with what came of it."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.worker.exec.command import CommandResult, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.workload import Expected

    from harbor_aws.worker.pod import Pod
    from harbor_aws.worker.pods import PodKeeper


class Taken:
    """An output callback that keeps what it is given."""

    def __init__(self) -> None:
        self.stdout = ""
        self.stderr = ""

    async def __call__(self, text: str, stream: Literal["stdout", "stderr"]) -> None:
        if stream == "stdout":
            self.stdout += text
        else:
            self.stderr += text


async def problems_of(keeper: PodKeeper, pod: Pod, expected: Expected, *, timeout_seconds: float) -> list[str]:
    """Run it as an environment does; what is wrong with the outcome, by a sentence each."""
    taken = Taken() if expected.watched else None
    running = run_command(
        keeper.cluster,
        pod.name,
        expected.command,
        timeout_seconds=timeout_seconds,
        on_output=taken,
        can_be_ended=lambda: not pod.is_over,
    )
    try:
        result = await keeper.while_running(pod, running)
    except HarborAwsError as error:
        return [f"{expected} → {error!r}"]
    return [f"{expected} → {problem}" for problem in _differences(expected, result, taken)]


def _differences(expected: Expected, result: CommandResult, taken: Taken | None) -> list[str]:
    found = []
    if result.exit_code != expected.exit_code:
        found.append(f"exit code {result.exit_code}, not {expected.exit_code}")
    for name in ("stdout", "stderr"):
        right = getattr(expected, name).decode(errors="replace")
        for text, of in [(getattr(result, name), name)] + ([(getattr(taken, name), f"taken {name}")] if taken else []):
            if text != right:
                found.append(f"{of} {difference(text, right)}")
    return found


def difference(text: str, right: str) -> str:
    """Where two texts part, and what is there."""
    at = next(i for i, (one, other) in enumerate(zip_longest(text, right)) if one != other)
    here = slice(at, at + 60)
    return f"has {len(text)} characters, not {len(right)}; from {at} on {text[here]!r}, not {right[here]!r}"


def run_counts(ledger: bytes, numbers: Sequence[int]) -> list[str]:
    """What is wrong with how often commands ran, by their ledger."""
    lines = [int(line) for line in ledger.split()]
    return [f"command {number} ran {lines.count(number)} times" for number in numbers if lines.count(number) != 1]
