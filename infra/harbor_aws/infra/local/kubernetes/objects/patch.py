"""The patch formats of Kubernetes, as pure functions from an object to the patched one."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import jsonpointer
import yaml

from harbor_aws.infra.local.kubernetes.objects.api_errors import ApiError, bad_request, unsupported_media_type
from harbor_aws.infra.local.kubernetes.objects.apply import apply_configuration
from harbor_aws.infra.local.kubernetes.objects.merge_keys import merge_key

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def patched(current: dict[str, Any], content_type: str, body: bytes, *, manager: str) -> dict[str, Any]:
    """Apply the patch ``body``; ``current`` is left as it is.

    Args:
        manager: the request's ``fieldManager``; server-side apply remembers by it who set what.

    Raises:
        ApiError: 400, not such a patch; 415, no such format; 422, a JSON patch that does not fit the object.
    """
    if content_type == JSON_PATCH:
        return _json_patched(current, body)
    if content_type not in {MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH}:
        raise unsupported_media_type(JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
    patch = parse_document(body)
    if content_type == MERGE_PATCH:
        return merge_patched(current, patch)
    if content_type == APPLY_PATCH:
        return apply_configuration(current, patch, manager=manager)
    return strategic_patched(current, patch)


def parse_document(body: bytes) -> dict[str, Any]:
    """An object from JSON or YAML.

    Raises:
        ApiError: 400, it is neither, or not an object.
    """
    try:
        document = json.loads(body)
    except ValueError:
        try:
            document = yaml.load(body, Loader=_Loader)  # noqa: S506 - a SafeLoader that leaves timestamps as text
        except yaml.YAMLError as error:
            raise bad_request(f"the object provided is unrecognized: {error}") from error
    if not isinstance(document, dict):
        raise bad_request("the object provided is unrecognized: it is not a map")
    return document


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - overrides PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def merge_patched(current: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """JSON merge patch, https://www.rfc-editor.org/rfc/rfc7396."""
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), value) if isinstance(value, dict) else copy.deepcopy(value)
    return result


def strategic_patched(current: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """Strategic merge patch: as a merge patch, but the lists of :mod:`.merge_keys` merge item by item.

    https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
    """
    if patch.get("$patch") == "replace":
        return copy.deepcopy({key: value for key, value in patch.items() if key != "$patch"})
    if patch.get("$patch") == "delete":
        return {}
    result = dict(current) if isinstance(current, dict) else {}
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [one for one in result.get(name, []) if one not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = _strategic_value(result.get(key), value, key)
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            _reorder(result, key.partition("/")[2], order)
    return result


def _strategic_value(current: Any, value: Any, field: str) -> Any:
    if isinstance(value, dict):
        return strategic_patched(current, value)
    if isinstance(value, list):
        return _strategic_list(current if isinstance(current, list) else [], value, field)
    return value


def _strategic_list(current: list[Any], patch: list[Any], field: str) -> list[Any]:
    if any(isinstance(one, dict) and one.get("$patch") == "replace" for one in patch):
        return copy.deepcopy([one for one in patch if "$patch" not in one])
    key = merge_key(field, [*current, *patch])
    if key is None:
        return copy.deepcopy(patch)
    if key == "":
        return [*current, *(one for one in patch if one not in current)]
    result = list(current)
    for one in patch:
        place = next((index for index, old in enumerate(result) if old.get(key) == one.get(key)), None)
        if one.get("$patch") == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.append(strategic_patched({}, one))
        else:
            result[place] = strategic_patched(result[place], one)
    return result


def _reorder(result: dict[str, Any], field: str, order: list[Any]) -> None:
    items = result.get(field)
    if not isinstance(items, list):
        return
    key = merge_key(field, items)
    ranks = [one.get(key) if key and isinstance(one, dict) else one for one in order]

    def rank(item: Any) -> int:
        value = item.get(key) if key and isinstance(item, dict) else item
        return ranks.index(value) if value in ranks else len(ranks)

    result[field] = sorted(items, key=rank)


def _json_patched(current: dict[str, Any], body: bytes) -> dict[str, Any]:
    try:
        operations = json.loads(body)
        if not isinstance(operations, list):
            raise bad_request("error decoding patch: it is not a list of operations")
        patch = jsonpatch.JsonPatch(operations)
    except (ValueError, TypeError, AttributeError, jsonpatch.InvalidJsonPatch) as error:
        raise bad_request(f"error decoding patch: {error}") from error
    try:
        result = patch.apply(current)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
        message = f"the server rejected our request due to an error in our request: {error}"
        raise ApiError(422, "Invalid", message, {}) from error
    if not isinstance(result, dict):
        raise bad_request("the patch leaves no object")
    return result
