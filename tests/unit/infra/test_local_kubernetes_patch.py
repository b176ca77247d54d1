"""The patch formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harbor_aws.infra.local.kubernetes.objects.api_errors import ApiError
from harbor_aws.infra.local.kubernetes.objects.patch import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    patched,
)


def pod(*containers: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **metadata}, "spec": {"containers": list(containers)}}


A = {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}
B = {"name": "b", "image": "1"}


def test_merge_patch_replaces_lists_and_removes_nulls() -> None:
    """RFC 7396: null removes, maps merge, lists are replaced."""
    current = pod(A, B, labels={"x": "1", "y": "2"})
    patch = {"metadata": {"labels": {"x": None, "z": "3"}}, "spec": {"containers": [B]}}
    result = patched(current, MERGE_PATCH, json.dumps(patch).encode(), manager="")
    assert result == pod(B, labels={"y": "2", "z": "3"})
    assert current == pod(A, B, labels={"x": "1", "y": "2"})


@pytest.mark.parametrize(
    ("patch", "containers"),
    [
        ({"containers": [{"name": "b", "image": "2"}]}, [A, {"name": "b", "image": "2"}]),
        ({"containers": [{"name": "c"}]}, [A, B, {"name": "c"}]),
        ({"containers": [{"name": "a", "$patch": "delete"}]}, [B]),
        ({"containers": [{"$patch": "replace"}, {"name": "c"}]}, [{"name": "c"}]),
        ({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, [B, A]),
        (
            {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]},
            [{**A, "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, B],
        ),
        ({"containers": [{"name": "a", "env": [{"name": "X", "$patch": "delete"}]}]}, [{**A, "env": []}, B]),
    ],
)
def test_strategic_merge_patch(patch: dict[str, Any], containers: list[dict[str, Any]]) -> None:
    """Containers and variables are merged by name, with kubectl's directives."""
    body = json.dumps({"spec": patch}).encode()
    assert patched(pod(A, B), STRATEGIC_MERGE_PATCH, body, manager="")["spec"]["containers"] == containers


def test_json_patch() -> None:
    """RFC 6902, its `test` included."""
    patch = [{"op": "test", "path": "/metadata/name", "value": "p"}, {"op": "remove", "path": "/spec/containers/0"}]
    assert patched(pod(A, B), JSON_PATCH, json.dumps(patch).encode(), manager="") == pod(B)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        (JSON_PATCH, b"{}", 400),
        (JSON_PATCH, b'[{"op": "remove", "path": "/nothing/here"}]', 422),
        (MERGE_PATCH, b"[1]", 400),
        (MERGE_PATCH, b"{", 400),
        ("application/json", b"{}", 415),
    ],
)
def test_refused_patch(content_type: str, body: bytes, code: int) -> None:
    """A patch that is none, or does not fit, is refused with Kubernetes' code."""
    with pytest.raises(ApiError) as caught:
        patched(pod(A), content_type, body, manager="")
    assert caught.value.code == code


def test_apply_removes_what_the_applier_no_longer_sets() -> None:
    """A second apply removes the fields and items that only the first one had, and leaves others' alone."""
    first = pod(A, {**B, "command": ["x"]}, labels={"x": "1", "y": "2"})
    applied = patched({"metadata": {"name": "p"}}, APPLY_PATCH, json.dumps(first).encode(), manager="me")
    applied["spec"]["nodeName"] = "defaulted"
    applied["spec"]["containers"][1]["tty"] = True
    second = pod(B, labels={"x": "1"})
    result = patched(applied, APPLY_PATCH, json.dumps(second).encode(), manager="me")
    assert result["metadata"]["labels"] == {"x": "1"}
    assert result["spec"] == {"containers": [{**B, "tty": True}], "nodeName": "defaulted"}
    assert [entry["manager"] for entry in result["metadata"]["managedFields"]] == ["me"]


def test_yaml_keeps_timestamps_as_text() -> None:
    """A YAML body's unquoted time stays the text that it is in JSON."""
    body = b"metadata:\n  annotations:\n    at: 2026-01-01T00:00:00Z\n"
    assert patched(pod(), APPLY_PATCH, body, manager="me")["metadata"]["annotations"] == {"at": "2026-01-01T00:00:00Z"}
