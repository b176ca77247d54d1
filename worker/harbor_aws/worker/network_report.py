"""Whether a pod has no network, by what :mod:`.network_script` printed in it. Pure.

It is confirmed only by what was seen: that there is no interface to leave by, or that every attempt was made and
failed. That nobody could try, or that it is not clear what came of it, confirms nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from harbor_aws.worker.network_address import is_address, is_near, needs_ipv6_route
from harbor_aws.worker.network_script import HAS_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.worker.network_targets import NetworkTargets

_KILLED = 137
"""The exit code of what was still waiting for an answer when its time was over."""

_NOT_FOUND = 2
"""What ``getent`` ends with for a name that it does not find, and for nothing else."""

_NO_TOOL = "none"
_LATE_TOOL = "late"

_UNRESOLVED = (
    "not known", "name resolution", "resolve host", "bad address", "bad hostname", "gaierror", "getaddrinfo",
    "lookup fail", "no address", "resolving timed out", "lookup timed out",
)  # fmt: skip
"""What programs print for a name that has no address: glibc's, musl's and their own words for it."""

_UNREACHABLE = (
    "unreachable", "no route", "network is down", "not permitted", "permission denied", "cannot assign",
    "address family not supported",
)  # fmt: skip
"""What the kernel says of a place that it does not even send to; the last, one without IPv6 (``ipv6.disable=1``)."""


class Outcome(StrEnum):
    """What came of an attempt."""

    REACHED = "reached"
    REFUSED = "refused"
    """Something answered that nobody listens there."""
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    """No answer came in time."""
    UNRESOLVED = "unresolved"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to reach a place."""

    host: str
    port: int
    outcome: Outcome
    said: str = ""

    @property
    def has_contact(self) -> bool:
        """Whether anything answered. A refusal counts, but that of the link, for there it is the machine's own."""
        return self.outcome is Outcome.REACHED or (
            self.outcome is Outcome.REFUSED and not (is_address(self.host) and is_near(self.host))
        )


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """What the script saw and did."""

    interfaces: tuple[str, ...] = ()
    routed_ipv6: int = 0
    """Addresses of IPv6 that lead somewhere."""
    listening: int = 0
    """TCP sockets on which somebody listens."""
    tool: str | None = None
    is_tool_late: bool = False
    """Whether there is no tool as yet, for the time of one was over before it showed whether it can."""
    attempts: tuple[Attempt, ...] = ()
    resolution: Literal["resolved", "unresolved", "unclear"] | None = None
    """``None``: nobody could try."""
    is_whole: bool = False
    """Whether the script came to its end."""

    @property
    def has_contact(self) -> bool:
        """Whether anything answered."""
        return self.resolution == "resolved" or any(each.has_contact for each in self.attempts)

    @property
    def is_alone(self) -> bool:
        """Whether there is nothing to leave by: a loopback interface, and nobody on it."""
        return self.interfaces == ("lo",) and self.listening == 0

    @property
    def is_final(self) -> bool:
        """Whether another look cannot confirm it: something answered, or the image has nothing to try with."""
        return self.has_contact or (self.is_whole and self.tool is None and not self.is_tool_late)


def parse_report(text: str) -> NetworkReport:
    """What the script printed; lines that are none of its own say nothing."""
    seen: dict[str, str] = {}
    attempts: list[Attempt] = []
    resolution: Literal["resolved", "unresolved", "unclear"] | None = None
    for line in text.split("\n"):  # what a program prints may hold other signs for a new line
        match line.split(" ", 4):
            case ["connect", host, port, code, *said] if port.isdigit() and code.isdigit():
                attempts.append(_attempt(host, int(port), int(code), " ".join(said)))
            case ["resolve", _, tool, code, *said] if code.isdigit():
                resolution = _resolution(tool, int(code), " ".join(said))
            case ["interfaces" | "ipv6" | "listening" | "tool" as what, *values]:
                seen[what] = " ".join(values)
            case ["done"]:
                seen["done"] = ""
    return NetworkReport(
        interfaces=tuple(seen.get("interfaces", "unknown").split()),
        routed_ipv6=_number(seen.get("ipv6")),
        listening=_number(seen.get("listening")),
        tool=None if (tool := seen.get("tool", _NO_TOOL)) in (_NO_TOOL, _LATE_TOOL) else tool,
        is_tool_late=tool == _LATE_TOOL,
        attempts=tuple(sorted(attempts, key=lambda each: (each.host, each.port))),
        resolution=resolution,
        is_whole="done" in seen,
    )


def objections(report: NetworkReport, targets: NetworkTargets) -> list[str]:
    """Why it is not confirmed that the pod has no network; empty if it is."""
    found = [_contact(each) for each in report.attempts if each.has_contact]
    if not report.is_whole:
        return [*found, "the probe did not come to its end in the pod"]
    if report.is_alone:
        return []
    if report.is_tool_late:
        return [f"it has {_interfaces(report)}, and its programs were too slow to try them"]
    if report.tool is None:
        return [
            f"it has {_interfaces(report)}, and its image has nothing to try them with: Python, Perl, bash, nc or curl"
        ]
    found += [
        f"what came of reaching {_place(each.host, each.port)} is not clear: {each.said[:200]!r}"
        for each in report.attempts
        if each.outcome is Outcome.UNCLEAR and _is_wanted(each.host, report)
    ]
    tried = {(each.host, each.port) for each in report.attempts}
    wanted = [place for place in targets.places if _is_wanted(place[0], report)]
    found += [f"nobody tried {_place(*place)}" for place in wanted if place not in tried]
    return found + _name_objections(report, targets.name)


def _is_wanted(host: str, report: NetworkReport) -> bool:
    """Where IPv6 leads nowhere its places need not be tried; who answers there all the same has been reached."""
    return report.routed_ipv6 > 0 or not needs_ipv6_route(host)


def _name_objections(report: NetworkReport, name: str) -> list[str]:
    match report.resolution:
        case "unresolved":
            return []
        case "resolved":
            return [f"it found an address of {name}, so a name server answers"]
        case "unclear":
            return [f"whether it can resolve {name} is not clear"]
        case None:
            return [f"nobody tried to resolve {name}"]


def _attempt(host: str, port: int, code: int, said: str) -> Attempt:
    outcome = _outcome(code, said)
    if outcome is Outcome.UNRESOLVED and is_address(host):  # the program does not know such addresses
        outcome = Outcome.UNCLEAR
    return Attempt(host, port, outcome, said)


def _outcome(code: int, said: str) -> Outcome:
    """A name that is not resolved comes first: what became of asking the name server may be printed beside it."""
    text = said.lower().replace("timeout was reached", "timed out")  # curl's words
    if "reached" in text or _is_curls_contact(text):
        return Outcome.REACHED
    if any(word in text for word in _UNRESOLVED):
        return Outcome.UNRESOLVED
    if "refused" in text:
        return Outcome.REFUSED
    if any(word in text for word in _UNREACHABLE):
        return Outcome.UNREACHABLE
    if (code == _KILLED and "trying" in text) or "timed out" in text:
        return Outcome.SILENT
    return Outcome.UNCLEAR


def _is_curls_contact(text: str) -> bool:
    """curl says after how many seconds it was connected; 0 for never."""
    after = text.rpartition("after=")[2] if "after=" in text else ""
    return bool(after.strip("0. "))


def _resolution(tool: str, code: int, said: str) -> Literal["resolved", "unresolved", "unclear"]:
    """What came of asking for a name. One that is still waiting, and has no address yet, has no answer."""
    if tool == "getent":
        return "resolved" if code == 0 else "unresolved" if code in (_NOT_FOUND, _KILLED) else "unclear"
    if HAS_ADDRESS in said or (tool == "curl" and "trying" in said.lower()):  # curl says so of an address alone
        return "resolved"
    outcome = _outcome(code, said)
    if outcome is Outcome.UNRESOLVED or (outcome is Outcome.SILENT and code == _KILLED):
        return "unresolved"
    return "unclear" if outcome is Outcome.UNCLEAR else "resolved"


def _contact(attempt: Attempt) -> str:
    how = "reached" if attempt.outcome is Outcome.REACHED else "was refused by"
    return f"it {how} {_place(attempt.host, attempt.port)}"


def _interfaces(report: NetworkReport) -> str:
    names = [name for name in report.interfaces if name != "lo"]
    return f"interfaces ({', '.join(names)})" if names else f"{report.listening} listening socket(s)"


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def described(reasons: Sequence[str], *, most: int = 5) -> str:
    """The first of them, as one sentence's end."""
    more = len(reasons) - most
    return "; ".join(reasons[:most]) + (f"; and {more} more" if more > 0 else "")
