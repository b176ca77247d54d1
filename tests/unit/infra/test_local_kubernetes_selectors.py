"""Label and field selectors."""

from __future__ import annotations

import pytest

from harbor_aws.infra.local.kubernetes.objects.api_errors import ApiError
from harbor_aws.infra.local.kubernetes.objects.resources import PODS
from harbor_aws.infra.local.kubernetes.objects.selectors import match_labels, object_match, parse_label_selector

LABELS = {"app": "web", "tier": "a", "harbor-aws.dev/job": "j1"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier = a", True),
        ("app!=web", False),
        ("missing!=web", True),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("app notin (db,cache),tier", True),
        ("missing notin (db)", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("harbor-aws.dev/job=j1", True),
        ("app=", False),
        ("", True),
    ],
)
def test_label_selector(selector: str, matches: bool) -> None:
    """Every operator of Kubernetes' selectors means what it means there."""
    assert parse_label_selector(selector)(LABELS) is matches


@pytest.mark.parametrize("selector", ["app===web", "app in web", "=web", "app=a b", "(", "a,,b"])
def test_malformed_label_selector(selector: str) -> None:
    """What is not a selector is refused with 400 rather than matching something."""
    with pytest.raises(ApiError) as caught:
        parse_label_selector(selector)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}, True),
        (
            {"matchExpressions": [{"key": "tier", "operator": "Exists"}, {"key": "app", "operator": "DoesNotExist"}]},
            False,
        ),
    ],
)
def test_selector_object(expression: dict[str, object], matches: bool) -> None:
    """A Deployment's selector matches as the textual one does."""
    assert match_labels(expression)(LABELS) is matches


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("metadata.name=p", True),
        ("metadata.name!=p", False),
        ("status.phase=Running,metadata.namespace=n", True),
        ("spec.nodeName=", True),
    ],
)
def test_field_selector(selector: str, matches: bool) -> None:
    """Fields are compared as text, and a missing one is empty."""
    match = object_match("", selector, PODS)
    assert match is not None
    assert match({"metadata": {"name": "p", "namespace": "n"}, "status": {"phase": "Running"}}) is matches


def test_unknown_field() -> None:
    """A field that cannot be selected by is refused as Kubernetes refuses it."""
    with pytest.raises(ApiError, match="field label not supported: foo"):
        object_match("", "foo=bar", PODS)
