"""Dead letters as tables for a terminal. What is in them comes from elsewhere: it is shown, never obeyed."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from harbor_aws.producer.cli.by_width import ByWidth
from harbor_aws.producer.cli.render import age, gist
from harbor_aws.producer.dead_letters.replay import Fate
from harbor_aws.producer.dead_letters.selection import short_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from harbor_aws.producer.dead_letters.letter import Letter
    from harbor_aws.producer.dead_letters.pod_end import ContainerState, PodEnd, PodEvent
    from harbor_aws.producer.dead_letters.replay import Report
    from harbor_aws.producer.message import AttemptRecord

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What would move a terminal's cursor or change its colours."""

_FATES = {
    Fate.REPLAYED: "in the queue again",
    Fate.COMMITTED: "had a result already; the letter was deleted",
    Fate.MOVED_BEFORE: "had been replayed already; the letter was deleted",
    Fate.REFUSED: "cannot be run by any worker, and stays",
    Fate.HIDDEN: "in the hands of another command, or of one that was killed; run this again in a minute",
}


def letters_view(letters: Sequence[Letter], *, shown: int, everything: Sequence[Letter]) -> RenderableType:
    """A table of the first ``shown`` letters, whose ids are unique among ``everything``."""
    if not letters:
        return Text("No dead letters.")
    ids = short_ids(everything)
    more = f" ({len(letters) - shown} more: narrow it down, or --last)" if len(letters) > shown else ""
    title = f"{len(letters)} dead letters{more}"
    listed = ByWidth(_letters_table(letters[:shown], ids, title), _letters_text(letters[:shown], ids, title))
    causes = Counter(letter.cause for letter in letters).most_common()
    return Group(listed, _text(", ".join(f"{count} × {cause}" for cause, count in causes)))


def letter_view(letter: Letter, *, is_committed: bool) -> RenderableType:
    """All that is known of one letter."""
    details = letter.details
    facts: dict[str, str | None] = {
        "ID": letter.id,
        "Job": letter.job,
        "Trial": letter.trial,
        "Attempts": _attempts(letter),
        "Died": f"{letter.at:%Y-%m-%d %H:%M:%S} UTC",
        "Cause": letter.cause,
        "Reason": letter.reason,
        "Cannot be replayed": letter.unrunnable,
        "Result": "committed, by another message of the trial" if is_committed else None,
        "Worker": letter.worker,
        "Pods": ", ".join(details.pods),
        **(_pod(details.pod) if details.pod else {}),
        "Logs": letter.logs,
    }
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(name, _text(value))
    parts: list[RenderableType] = [table]
    if letter.attempts:
        parts.append(_history(letter.attempts))
    if details.pod and details.pod.events:
        parts.append(_events(details.pod.events))
    if details.traceback:
        parts.append(_text(details.traceback))
    return Group(*parts)


def report_view(report: Report, letters: Sequence[Letter]) -> RenderableType:
    """What became of the chosen letters; those that stay by name."""
    ids = short_ids(letters)
    lines = [f"{report.count(fate)} {said}." for fate, said in _FATES.items() if report.count(fate)]
    for letter in letters:
        if report.fates.get(letter.id) is Fate.REFUSED:
            lines.append(f"Not replayed: {ids[letter.id]}: {letter.unrunnable}")
    return _text("\n".join(lines) or "No dead letters.")


def as_json(letter: Letter, *, whole: bool = False) -> dict[str, Any]:
    """A letter as JSON; whole, with the original message as it came and as what it says."""
    fields = letter.model_dump(mode="json", exclude=None if whole else {"body", "attributes"})
    if whole:
        fields["message"] = letter.message.model_dump(mode="json") if letter.trial else None
    return fields


def _letters_table(letters: Sequence[Letter], ids: Mapping[str, str], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("ID", no_wrap=True)
    table.add_column("Age", no_wrap=True)
    for heading in ("Job", "Trial"):
        table.add_column(heading, overflow="fold")
    for heading in ("Attempts", "Cause"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Reason")
    for letter in letters:
        row = [ids[letter.id], _age(letter), letter.job or "–", letter.trial or "–"]
        table.add_row(*map(_text, [*row, _attempts(letter), letter.cause, gist(letter.reason)]))
    return table


def _letters_text(letters: Sequence[Letter], ids: Mapping[str, str], title: str) -> Text:
    lines = [title]
    for letter in letters:
        lines.append(f"{ids[letter.id]}  {letter.job or '–'} {letter.trial or '–'}")
        lines.append(f"    {_age(letter)} ago, attempt {_attempts(letter)}: {letter.cause}: {gist(letter.reason)}")
    return _text("\n".join(lines))


def _age(letter: Letter) -> str:
    return age((datetime.now(UTC) - letter.at).total_seconds())


def _history(attempts: Sequence[AttemptRecord]) -> ByWidth:
    return ByWidth(_history_table(attempts), _history_text(attempts))


def _history_text(attempts: Sequence[AttemptRecord]) -> Text:
    lines = ["Attempts"]
    for attempt in attempts:
        replay = f", replay {attempt.replay}" if attempt.replay else ""
        times = f"{_time(attempt.began_at)} to {_time(attempt.ended_at)} UTC"
        lines.append(f"{attempt.attempt}{replay}: {times}, {attempt.worker or 'no worker'}, {attempt.pod or 'no pod'}")
        lines.append(f"    {attempt.cause}: {gist(attempt.reason)}")
    return _text("\n".join(lines))


def _history_table(attempts: Sequence[AttemptRecord]) -> Table:
    table = Table(title="Attempts", title_justify="left")
    for heading in ("Replay", "Attempt"):
        table.add_column(heading, justify="right")
    for heading in ("Worker", "Pod"):
        table.add_column(heading, overflow="fold")
    for heading in ("Began (UTC)", "Ended (UTC)", "Cause"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Reason")
    for attempt in attempts:
        row = [str(attempt.replay), str(attempt.attempt), attempt.worker or "–", attempt.pod or "–"]
        times = [_time(attempt.began_at), _time(attempt.ended_at)]
        table.add_row(*map(_text, [*row, *times, attempt.cause, gist(attempt.reason)]))
    return table


def _pod(pod: PodEnd) -> dict[str, str | None]:
    """The words of an older worker's letter are all that it has; those of a newer one say the same once more."""
    if pod.container is None and not pod.events:
        return {"Pod": f"{pod.name}: {pod.reason}. {pod.said}"}
    return {"Pod": f"{pod.name}: {_joined(pod.reason, pod.message)}", "Container": _container(pod.container)}


def _container(container: ContainerState | None) -> str | None:
    if container is None:
        return None
    code = None if container.exit_code is None else f"exit code {container.exit_code}"
    return _joined(container.state, container.reason, code, container.message)


def _joined(*words: str | None) -> str:
    return ": ".join(word for word in words if word)


def _events(events: Sequence[PodEvent]) -> Table:
    table = Table(title="The pod's last events", title_justify="left")
    table.add_column("Last (UTC)", no_wrap=True)
    table.add_column("Times", justify="right")
    table.add_column("Reason", no_wrap=True)
    table.add_column("Message")
    for event in events:
        table.add_row(*map(_text, [_time(event.at), str(event.count), event.reason, event.message]))
    return table


def _attempts(letter: Letter) -> str:
    if letter.attempt is None:
        return "–"
    budget = f" of {letter.details.budget}" if letter.details.budget else ""
    return f"{letter.attempt}{budget}" + (f", replay {letter.replay}" if letter.replay else "")


def _time(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%m-%d %H:%M:%S}" if time else "–"


def _text(text: str) -> Text:
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))
