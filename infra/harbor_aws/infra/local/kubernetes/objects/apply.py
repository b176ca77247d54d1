"""Server-side apply, as far as one applier an object goes: what it no longer sets is removed; conflicts are not found.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
from typing import Any

from harbor_aws.infra.local.kubernetes.objects.merge_keys import merge_key
from harbor_aws.infra.local.kubernetes.objects.names import timestamp

_IDENTITY = ("apiVersion", "kind")
_METADATA_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields")


def apply_configuration(current: dict[str, Any], configuration: dict[str, Any], *, manager: str) -> dict[str, Any]:
    """``current`` with everything that ``configuration`` sets, and without what ``manager`` set earlier and no more."""
    fields = _fields(_owned(configuration))
    entries = list(current.get("metadata", {}).get("managedFields") or ())
    mine = [entry for entry in entries if entry.get("manager") == manager and entry.get("operation") == "Apply"]
    earlier = mine[0]["fieldsV1"] if mine else {}
    result = _merged(_without(current, earlier, fields), configuration)
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": configuration.get("apiVersion", ""),
        "time": mine[0]["time"] if mine and earlier == fields else timestamp(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    others = [one for one in entries if one not in mine]
    return {**result, "metadata": {**result.get("metadata", {}), "managedFields": [*others, entry]}}


def _owned(configuration: dict[str, Any]) -> dict[str, Any]:
    owned = {key: value for key, value in configuration.items() if key not in _IDENTITY}
    metadata = {key: value for key, value in owned.get("metadata", {}).items() if key not in _METADATA_IDENTITY}
    return {**owned, "metadata": metadata}


def _fields(value: Any, field: str = "") -> dict[str, Any]:
    """The ``fieldsV1`` of a value: ``f:`` for a map's fields, ``k:`` for a list's items."""
    if isinstance(value, dict):
        return {f"f:{key}": _fields(one, key) for key, one in value.items()}
    if isinstance(value, list) and (key := merge_key(field, value)):
        return {f"k:{json.dumps({key: one.get(key)})}": {".": {}, **_fields(one)} for one in value}
    return {}


def _without(value: Any, earlier: dict[str, Any], now: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        result = {}
        for key, one in value.items():
            owned = earlier.get(f"f:{key}")
            if owned is None:
                result[key] = one
            elif f"f:{key}" in now:
                result[key] = _without(one, owned, now[f"f:{key}"])
        return result
    if isinstance(value, list) and any(key.startswith("k:") for key in earlier):
        dropped = [json.loads(key[2:]) for key in earlier if key.startswith("k:") and key not in now]
        kept = [one for one in value if not any(mark.items() <= one.items() for mark in dropped)]
        return [_item_without(one, earlier, now) for one in kept]
    return value


def _item_without(item: dict[str, Any], earlier: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    for key, owned in earlier.items():
        if key in now and json.loads(key[2:]).items() <= item.items():
            result: dict[str, Any] = _without(item, owned, now[key])
            return result
    return item


def _merged(current: Any, configuration: Any, field: str = "") -> Any:
    if isinstance(configuration, dict):
        base = current if isinstance(current, dict) else {}
        return {**base, **{key: _merged(base.get(key), value, key) for key, value in configuration.items()}}
    if isinstance(configuration, list) and (key := merge_key(field, configuration)):
        items = {one.get(key): one for one in current or ()}
        applied = {one.get(key): _merged(items.get(one.get(key)), one) for one in configuration}
        return list({**items, **applied}.values())
    return configuration
