"""GET of an object, a list, and a watch."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from harbor_aws.infra.local.kubernetes.api.list_options import Continuation, ListOptions
from harbor_aws.infra.local.kubernetes.api.representation import JSON, Representation, dumps, json_response
from harbor_aws.infra.local.kubernetes.objects.api_errors import ApiError, expired

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.api.request_path import Target
    from harbor_aws.infra.local.kubernetes.control.cluster import Cluster
    from harbor_aws.infra.local.kubernetes.objects.store import ObjectStore, Watcher

BOOKMARK_SECONDS = 60.0
"""How often a watch says how far it has come, as Kubernetes does."""

_BATCH = 256
"""Changes written to a watcher at once."""


async def get_object(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    representation = Representation.of(request, target.resource)
    stored = cluster.store.get(target.resource, target.namespace, target.name or "")
    return json_response(representation.object(stored))


async def list_objects(request: web.Request, cluster: Cluster, target: Target) -> web.Response:
    """One page of a list; a page after the first shows the objects as they are by then, as Kubernetes allows."""
    options = ListOptions.read(request.query, target.resource)
    store, resource = cluster.store, target.resource
    version = store.version
    if options.continuation:
        version = options.continuation.version
        store.check_version(resource, version)
    elif options.version is not None:
        store.check_version(resource, max(options.version, 0 if not options.exact else options.version))
        if options.exact and options.version != version:
            raise expired("The resourceVersion for the provided list is too old.")
    rows = list(store.list(resource, target.namespace, options.match))
    if options.continuation:
        rows = [row for row in rows if row[0] > options.continuation.after]
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if options.limit and len(rows) > options.limit:
        metadata["remainingItemCount"] = len(rows) - options.limit
        rows = rows[: options.limit]
        metadata["continue"] = Continuation(version, rows[-1][0]).token()
    return json_response(Representation.of(request, resource).list([stored for _, stored in rows], metadata))


async def watch_objects(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    """The changes since a version, a line each, until the client leaves or the time is over."""
    options = ListOptions.read(request.query, target.resource)
    representation = Representation.of(request, target.resource)
    store, since = cluster.store, None if options.initial_events else options.version
    response = web.StreamResponse(headers={"Content-Type": JSON})
    try:
        watcher = store.watch(target.resource, namespace=target.namespace, match=options.match, since=since)
    except ApiError as error:
        if error.code != 410:
            raise
        await response.prepare(request)
        await response.write(dumps({"type": "ERROR", "object": error.status()}) + b"\n")
        return response
    try:
        await response.prepare(request)
        seconds = options.timeout_seconds or random.uniform(1800, 3600)  # noqa: S311 - spreads the watches' ends
        with suppress(TimeoutError, ConnectionResetError):  # its time is over, or the client left
            async with asyncio.timeout(seconds):
                await _follow(response, store, watcher, representation, options)
    finally:
        store.unwatch(target.resource, watcher)
    return response


async def _follow(
    response: web.StreamResponse,
    store: ObjectStore,
    watcher: Watcher,
    representation: Representation,
    options: ListOptions,
) -> None:
    version, columns, initial = store.version, True, bool(options.initial_events)
    changes, clock = watcher.changes, asyncio.get_running_loop().time
    next_bookmark = clock() + BOOKMARK_SECONDS
    while True:
        if changes.empty():
            if options.bookmarks and (initial or clock() >= next_bookmark):
                await response.write(representation.bookmark(store.version, initial_end=initial))
                next_bookmark, initial = clock() + BOOKMARK_SECONDS, False
            try:
                async with asyncio.timeout_at(next_bookmark if options.bookmarks else None):
                    batch = [await changes.get()]
            except TimeoutError:
                continue
        else:
            batch = []
        while len(batch) < _BATCH and not changes.empty():
            batch.append(changes.get_nowait())
        lines = []
        for change in batch:
            if change is None:
                break
            lines.append(representation.event(change.type, change.new, columns=columns))
            version, columns = change.version, False
        if lines:
            await response.write(b"".join(lines))
        if None in batch:
            if watcher.overflowed:
                error = expired(f"too old resource version: {version} ({store.version})")
                await response.write(dumps({"type": "ERROR", "object": error.status()}) + b"\n")
            return
