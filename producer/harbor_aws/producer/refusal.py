"""Everything that keeps a job from being enqueued, collected, and said at once. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from harbor_aws.infra.errors import UsageError


class RefusedError(UsageError):
    """A job cannot be enqueued as asked; the message names every offending part and why."""


@dataclass(slots=True)
class Objections:
    """What speaks against a job, and against single tasks of it."""

    job: list[str] = field(default_factory=list)
    """Reasons that leaving out tasks cannot remove."""

    tasks: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reasons by the task's name."""

    def raise_if_any(self, *, total_tasks: int, skip_unsupported: bool) -> None:
        """Raise what was found, but for single tasks where those may be left out.

        Raises:
            RefusedError: the job cannot be enqueued as asked.
        """
        if self.job or (self.tasks and not skip_unsupported):
            raise RefusedError(self._text(total_tasks))
        if self.tasks and len(self.tasks) >= total_tasks:
            raise RefusedError(self._text(total_tasks, "none is left"))

    def task_lines(self) -> list[str]:
        """One line a task."""
        return [f"{name}: {'; '.join(reasons)}" for name, reasons in sorted(self.tasks.items())]

    def _text(self, total_tasks: int, remark: str | None = None) -> str:
        lines = list(self.job)
        if self.tasks:
            hint = remark or "--skip-unsupported leaves them out"
            lines.append(f"{len(self.tasks)} of {total_tasks} tasks cannot run here ({hint}):")
            lines += [f"  {line}" for line in self.task_lines()]
        return "Nothing was enqueued. " + "\n".join(lines)
