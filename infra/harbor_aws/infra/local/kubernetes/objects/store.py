"""The objects of the cluster, in memory, with resource versions, history and watches.

PyPI's kmock was tried for this: it keeps no resource versions, selectors, bookmarks, history (410) or conflicts.

Stored objects are never changed in place: a change stores a new dict, so one reference serves every reader and its
JSON is made once, whoever lists or watches it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import (
    already_exists,
    conflict,
    expired,
    not_found,
    resource_version_too_large,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.selectors import ObjectMatch

Object = dict[str, Any]
"""An API object as JSON has it."""

HISTORY = 4_000
"""Changes kept per resource for watches that come back; older ones get 410."""

WATCH_BACKLOG = 4_000
"""Changes that may wait for a slow watcher before it is sent away with 410."""


@dataclass(slots=True)
class Stored:
    """One version of an object, and its JSON once somebody asked for it."""

    item: Object
    _json: bytes | None = None

    @property
    def json(self) -> bytes:
        if self._json is None:
            self._json = json.dumps(self.item, separators=(",", ":")).encode()
        return self._json


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object."""

    type: str
    """``ADDED``, ``MODIFIED`` or ``DELETED``."""
    version: int
    new: Stored
    """For ``DELETED``: the last state, with the version of the deletion."""
    old: Stored | None


@dataclass(eq=False, slots=True)
class Watcher:
    """One reader of the changes of one resource."""

    namespace: str | None
    match: ObjectMatch | None
    changes: asyncio.Queue[Change | None] = field(default_factory=asyncio.Queue)
    overflowed: bool = False
    """It was too slow; what it has not read yet is gone."""

    def offer(self, change: Change) -> None:
        if self.overflowed:
            return
        seen = self.view(change)
        if seen is None:
            return
        if self.changes.qsize() >= WATCH_BACKLOG:
            self.overflowed = True
            self.changes.put_nowait(None)
        else:
            self.changes.put_nowait(seen)

    def view(self, change: Change) -> Change | None:
        """The change as this watcher's selector sees it: an object may come into it or leave it."""
        if self.namespace is not None and change.new.item["metadata"].get("namespace") != self.namespace:
            return None
        if self.match is None:
            return change
        now = change.type != "DELETED" and self.match(change.new.item)
        before = change.old is not None and self.match(change.old.item)
        if now:
            return (
                change if before == (change.type == "MODIFIED") else Change("ADDED", change.version, change.new, None)
            )
        if before:
            return change if change.type == "DELETED" else Change("DELETED", change.version, change.new, change.old)
        return None


class _Table:
    def __init__(self, version: int) -> None:
        self.rows: dict[tuple[str, str], Stored] = {}
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self.compacted = version
        """Changes up to this version are forgotten."""
        self.watchers: set[Watcher] = set()


class ObjectStore:
    """All objects. Every method is synchronous, so each is atomic on the loop."""

    def __init__(self) -> None:
        self.version = int(time.time() * 1000)
        """The newest resource version. It starts at the time, so that those of an earlier server are too old here."""
        self._tables: dict[str, _Table] = {}
        self._first_version = self.version
        self._listeners: list[Callable[[Resource, Change], None]] = []

    def listen(self, listener: Callable[[Resource, Change], None]) -> None:
        """Call ``listener`` after every change, on the loop; it must not change objects itself."""
        self._listeners.append(listener)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Stored:
        """Raises: ApiError: 404."""
        stored = self.find(resource, namespace, name)
        if stored is None:
            raise not_found(resource.plural, name, resource.group)
        return stored

    def find(self, resource: Resource, namespace: str | None, name: str) -> Stored | None:
        return self._table(resource).rows.get((namespace or "", name))

    def list(
        self, resource: Resource, namespace: str | None = None, match: ObjectMatch | None = None
    ) -> Iterable[tuple[tuple[str, str], Stored]]:
        """Keys (namespace, name) and objects, in the order of the keys."""
        for key, stored in sorted(self._table(resource).rows.items(), key=lambda row: row[0]):
            if namespace is not None and key[0] != namespace:
                continue
            if match is None or match(stored.item):
                yield key, stored

    def create(self, resource: Resource, item: Object) -> Stored:
        """Raises: ApiError: 409, there is an object of that name."""
        key = _key(item)
        if key in self._table(resource).rows:
            raise already_exists(resource.plural, key[1], resource.group)
        return self._put(resource, "ADDED", key, item)

    def replace(self, resource: Resource, item: Object) -> Stored:
        """Store a new version of an object that exists.

        An ``item`` that names a resource version or a uid must name the stored object's.

        Raises:
            ApiError: 404, or 409 when the object is another one by now.
        """
        key = _key(item)
        stored = self.get(resource, *key)
        metadata, current = item["metadata"], stored.item["metadata"]
        if metadata.get("resourceVersion", current["resourceVersion"]) != current["resourceVersion"]:
            raise conflict(resource.plural, key[1], resource.group)
        if metadata.get("uid", current["uid"]) != current["uid"]:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {current['uid']}"
            raise conflict(resource.plural, key[1], resource.group, why)
        if {**item, "metadata": {**metadata, "resourceVersion": current["resourceVersion"]}} == stored.item:
            return stored
        return self._put(resource, "MODIFIED", key, item)

    def remove(self, resource: Resource, namespace: str | None, name: str) -> Stored:
        """Raises: ApiError: 404."""
        self.get(resource, namespace, name)
        table = self._table(resource)
        old = table.rows.pop((namespace or "", name))
        self.version += 1
        return self._announce(resource, table, Change("DELETED", self.version, _versioned(old.item, self.version), old))

    def watch(
        self, resource: Resource, *, namespace: str | None, match: ObjectMatch | None, since: int | None
    ) -> Watcher:
        """Follow the changes after version ``since``; ``None`` means from the objects that are there, as ``ADDED``.

        The caller must give the watcher back to :meth:`unwatch`.

        Raises:
            ApiError: 410, the changes since then are forgotten; 504, there is no such version yet.
        """
        table = self._table(resource)
        watcher = Watcher(namespace, match)
        if since is None:
            for _, stored in self.list(resource, namespace, match):
                watcher.changes.put_nowait(Change("ADDED", self.version, stored, None))
        else:
            self.check_version(resource, since)
            for change in table.history:
                if change.version > since:
                    watcher.offer(change)
        table.watchers.add(watcher)
        return watcher

    def unwatch(self, resource: Resource, watcher: Watcher) -> None:
        self._table(resource).watchers.discard(watcher)

    def check_version(self, resource: Resource, since: int) -> None:
        """Raises: ApiError: 410 or 504, as :meth:`watch`."""
        compacted = self._table(resource).compacted
        if since < compacted:
            raise expired(f"too old resource version: {since} ({compacted})")
        if since > self.version:
            raise resource_version_too_large(since, self.version)

    def end_watches(self) -> None:
        """Let every watch end, for the server to close."""
        for table in self._tables.values():
            for watcher in table.watchers:
                watcher.changes.put_nowait(None)

    def _table(self, resource: Resource) -> _Table:
        table = self._tables.get(resource.plural)
        if table is None:
            table = self._tables[resource.plural] = _Table(self._first_version)
        return table

    def _put(self, resource: Resource, change: str, key: tuple[str, str], item: Object) -> Stored:
        table = self._table(resource)
        self.version += 1
        new = _versioned(item, self.version)
        old = table.rows.get(key)
        table.rows[key] = new
        return self._announce(resource, table, Change(change, self.version, new, old))

    def _announce(self, resource: Resource, table: _Table, change: Change) -> Stored:
        if len(table.history) == HISTORY:
            table.compacted = table.history[0].version
        table.history.append(change)
        for watcher in table.watchers:
            watcher.offer(change)
        for listener in self._listeners:
            listener(resource, change)
        return change.new


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace") or "", item["metadata"]["name"]


def _versioned(item: Object, version: int) -> Stored:
    return Stored({**item, "metadata": {**item["metadata"], "resourceVersion": str(version)}})
