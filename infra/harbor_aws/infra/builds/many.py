"""More builds than the account may have at once: begun as there is room, watched to the end of the last. Blocking."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.builds.build import IN_PROGRESS, Build
from harbor_aws.infra.builds.builder import BuildLimitError, NoBuildsError
from harbor_aws.infra.builds.follow import LOOK_SECONDS, PATIENCE_SECONDS, check_all_known
from harbor_aws.infra.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from harbor_aws.infra.builds.builder import Builder

ROOM_SECONDS = 3600.0
"""For how long others' builds may take all of the account's room while none of these goes on: the longest build."""


@dataclass(frozen=True, slots=True)
class Builds:
    """How far they are."""

    begun: tuple[Build | None, ...]
    """In the order in which they were asked for; ``None`` for one that there was no room for yet."""

    @property
    def has_ended(self) -> bool:
        return all(build is not None and build.has_ended for build in self.begun)


def build_all(
    builder: Builder,
    project: str,
    wanted: Sequence[Mapping[str, str]],
    *,
    over: Container[str],
    on_look: Callable[[Builds], None],
) -> list[Build]:
    """A build for each set of variables, somebody else's where there is one; all as they ended, failed ones too.

    Ctrl-C ends the waiting and no build.

    Args:
        over: ids of the builds that had ended when it was seen that what is wanted is not there.
        on_look: called after every look.

    Raises:
        NoBuildsError: the account may have none.
        BuildLimitError: others' builds have taken all of its room for :data:`ROOM_SECONDS`.
        UnknownBuildError: CodeBuild does not know one of them.
        TransientError: it has not answered for :data:`PATIENCE_SECONDS`.
    """
    building = _Building(builder, project, wanted, over)
    answered = time.monotonic()
    while True:
        try:
            building.go_on()
            answered = time.monotonic()
        except BuildLimitError:
            raise
        except TransientError:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        now = building.now()
        on_look(now)
        if now.has_ended:
            return [build for build in now.begun if build is not None]
        time.sleep(LOOK_SECONDS)


class _Building:
    def __init__(
        self, builder: Builder, project: str, wanted: Sequence[Mapping[str, str]], over: Container[str]
    ) -> None:
        self._builder = builder
        self._project = project
        self._wanted = wanted
        self._over = over
        self._ids: list[str | None] = [None] * len(wanted)
        self._known: dict[str, Build] = {}
        self._last_began = self._went_on = time.monotonic()

    def now(self) -> Builds:
        return Builds(tuple(None if each is None else self._known.get(each) or _begun(each) for each in self._ids))

    def go_on(self) -> None:
        """Look at those that go on, and begin what there is room for."""
        self._look()
        if None in self._ids:
            self._begin_some()

    def _look(self) -> None:
        ids = [each for each in self._ids if each is not None]
        running = [each for each in ids if each not in self._known or not self._known[each].has_ended]
        if running:
            self._known |= self._builder.builds(running)
            self._went_on = time.monotonic()
            check_all_known(ids, self._known, waited_seconds=time.monotonic() - self._last_began)

    def _begin_some(self) -> None:
        recent = self._builder.recent(self._project)
        self._known |= {build.id: build for build in recent}
        for index, variables in enumerate(self._wanted):
            if self._ids[index] is not None:
                continue
            try:
                self._ids[index] = self._builder.join_or_start(self._project, variables, recent, over=self._over)
            except NoBuildsError:
                raise
            except BuildLimitError:
                if time.monotonic() - self._went_on > ROOM_SECONDS:
                    raise
                return
            self._last_began = self._went_on = time.monotonic()


def _begun(build_id: str) -> Build:
    """One that was begun, and not looked at since."""
    return Build(id=build_id, status=IN_PROGRESS, phase="SUBMITTED")
