"""Watching builds, to the end of the last. Blocking."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harbor_aws.infra.builds.build import Build
    from harbor_aws.infra.builds.builder import Builder

LOOK_SECONDS = 5.0
"""How often CodeBuild is asked."""

PATIENCE_SECONDS = 600.0
"""For how long it may fail to answer; the builds go on meanwhile."""

UNKNOWN_SECONDS = 60.0
"""For how long it may not know a build that was just started."""


class UnknownBuildError(PermanentError):
    """CodeBuild does not know the build: it was deleted, or is another account's or region's."""


def follow(builder: Builder, ids: Sequence[str], *, on_look: Callable[[Sequence[Build]], None]) -> list[Build]:
    """Wait until all builds have ended. Ctrl-C ends the waiting and no build.

    Args:
        on_look: called after every look with all that is known, in the order of ``ids``.

    Returns:
        The builds as they ended, in the order of ``ids``, failed ones too.

    Raises:
        UnknownBuildError: CodeBuild does not know one of them.
        TransientError: it has not answered for :data:`PATIENCE_SECONDS`.
    """
    began = answered = time.monotonic()
    known: dict[str, Build] = {}
    while True:
        try:
            known |= builder.builds(each for each in ids if each not in known or not known[each].has_ended)
            answered = time.monotonic()
        except TransientError:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        else:
            check_all_known(ids, known, waited_seconds=answered - began)
        builds = [known[each] for each in ids if each in known]
        on_look(builds)
        if len(builds) == len(ids) and all(build.has_ended for build in builds):
            return builds
        time.sleep(LOOK_SECONDS)


def check_all_known(ids: Iterable[str], known: Mapping[str, Build], *, waited_seconds: float) -> None:
    """Raise :class:`UnknownBuildError` if one is not known :data:`UNKNOWN_SECONDS` after it was begun."""
    unknown = [each for each in ids if each not in known]
    if unknown and waited_seconds > UNKNOWN_SECONDS:
        raise UnknownBuildError(
            f"CodeBuild does not know the build {unknown[0]}: somebody deleted it. Run the command again."
        )
