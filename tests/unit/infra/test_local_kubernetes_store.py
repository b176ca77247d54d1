"""The object store: versions, conflicts, history, watches."""

from __future__ import annotations

from typing import Any

import pytest

from harbor_aws.infra.local.kubernetes.objects import store as store_module
from harbor_aws.infra.local.kubernetes.objects.api_errors import ApiError
from harbor_aws.infra.local.kubernetes.objects.resources import PODS
from harbor_aws.infra.local.kubernetes.objects.selectors import object_match
from harbor_aws.infra.local.kubernetes.objects.store import ObjectStore, Watcher


def pod(name: str, namespace: str = "n", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "uid": name, **metadata}}


def seen(watcher: Watcher) -> list[tuple[str, str]]:
    """The changes that wait for a watcher, as types and names."""
    changes = [watcher.changes.get_nowait() for _ in range(watcher.changes.qsize())]
    return [(change.type, change.new.item["metadata"]["name"]) for change in changes if change]


def test_versions_rise_and_conflicts_are_found() -> None:
    """A change that was made from an old version, or to another object of that name, is a conflict."""
    store = ObjectStore()
    first = store.create(PODS, pod("a")).item
    second = store.replace(PODS, {**first, "status": {}}).item
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    for stale in ({**first, "status": {"x": 1}}, pod("a", uid="other")):
        with pytest.raises(ApiError) as caught:
            store.replace(PODS, stale)
        assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    with pytest.raises(ApiError) as caught:
        store.create(PODS, pod("a"))
    assert caught.value.reason == "AlreadyExists"


def test_nothing_changed_is_no_change() -> None:
    """Storing an equal object makes no version and wakes no watcher."""
    store = ObjectStore()
    first = store.create(PODS, pod("a")).item
    watcher = store.watch(PODS, namespace=None, match=None, since=store.version)
    assert store.replace(PODS, dict(first)).item is first
    assert seen(watcher) == []


def test_watch_goes_on_from_a_version() -> None:
    """A watch gets exactly the changes after its version, then those that come."""
    store = ObjectStore()
    store.create(PODS, pod("a"))
    since = store.version
    store.create(PODS, pod("b"))
    store.create(PODS, pod("c", "other"))
    store.remove(PODS, "n", "a")
    watcher = store.watch(PODS, namespace="n", match=None, since=since)
    store.remove(PODS, "n", "b")
    assert seen(watcher) == [("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b")]


def test_watch_without_version_begins_with_what_is_there() -> None:
    """No version means: first everything as ADDED."""
    store = ObjectStore()
    for name in ("b", "a"):
        store.create(PODS, pod(name))
    assert seen(store.watch(PODS, namespace="n", match=None, since=None)) == [("ADDED", "a"), ("ADDED", "b")]


def test_objects_enter_and_leave_a_selector() -> None:
    """An object whose labels change comes into a selecting watch as ADDED and leaves it as DELETED."""
    store = ObjectStore()
    watcher = store.watch(PODS, namespace=None, match=object_match("in=yes", "", PODS), since=store.version)
    store.create(PODS, pod("a"))
    store.replace(PODS, pod("a", labels={"in": "yes"}))
    store.replace(PODS, pod("a", labels={"in": "yes", "more": "1"}))
    store.replace(PODS, pod("a", labels={"in": "no"}))
    store.replace(PODS, pod("a", labels={"in": "yes"}))
    store.remove(PODS, "n", "a")
    assert [kind for kind, _ in seen(watcher)] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


def test_forgotten_history_is_410(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version whose changes are forgotten, or of another server's life, is too old; a future one is a time-out."""
    monkeypatch.setattr(store_module, "HISTORY", 3)
    store = ObjectStore()
    start = store.version
    for name in "abcd":
        store.create(PODS, pod(name))
    assert len(seen(store.watch(PODS, namespace=None, match=None, since=start + 1))) == 3
    for since, code in ((start, 410), (1, 410), (store.version + 1, 504)):
        with pytest.raises(ApiError) as caught:
            store.watch(PODS, namespace=None, match=None, since=since)
        assert caught.value.code == code


def test_slow_watcher_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that does not read holds a bounded number of changes."""
    monkeypatch.setattr(store_module, "WATCH_BACKLOG", 2)
    store = ObjectStore()
    watcher = store.watch(PODS, namespace=None, match=None, since=store.version)
    for name in "abcd":
        store.create(PODS, pod(name))
    assert watcher.overflowed
    assert watcher.changes.qsize() == 3
