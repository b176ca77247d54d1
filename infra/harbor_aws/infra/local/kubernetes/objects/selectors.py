"""Label and field selectors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harbor_aws.infra.local.kubernetes.objects.resources import Resource

    Requirement = Callable[[Mapping[str, str]], bool]
    ObjectMatch = Callable[[Mapping[str, Any]], bool]

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_MEMBERSHIP = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EXISTENCE = re.compile(rf"(!?)\s*({_KEY})")
_TERMS = re.compile(r"\s*((?:[^,()]|\([^()]*\))+)\s*(?:,|$)")


def parse_label_selector(text: str) -> Callable[[Mapping[str, str]], bool]:
    """Compile ``app=web,tier in (a, b),!canary`` to a predicate over labels.

    Raises:
        ApiError: 400, it is not a selector.
    """
    requirements = [_requirement(term) for term in _split(text)]
    return lambda labels: all(requirement(labels) for requirement in requirements)


def match_labels(selector: Mapping[str, Any]) -> Callable[[Mapping[str, str]], bool]:
    """The predicate of a LabelSelector object (``matchLabels`` and ``matchExpressions``)."""
    wanted = selector.get("matchLabels") or {}
    requirements: list[Requirement] = [lambda labels: all(labels.get(key) == value for key, value in wanted.items())]
    for expression in selector.get("matchExpressions") or ():
        requirements.append(_expression(expression["key"], expression["operator"], expression.get("values") or ()))
    return lambda labels: all(requirement(labels) for requirement in requirements)


def parse_field_selector(text: str, resource: Resource) -> ObjectMatch:
    """Compile ``status.phase=Running,metadata.name!=a`` to a predicate over objects.

    Raises:
        ApiError: 400, it is not a selector or it names a field that cannot be selected by.
    """
    terms: list[tuple[tuple[str, ...], bool, str]] = []
    for term in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!]+?)(==|!=|=)(.*)", term)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        field, operator, value = found.groups()
        if field not in resource.selectable:
            raise bad_request(f"field label not supported: {field}")
        terms.append((tuple(field.split(".")), operator != "!=", value))
    return lambda item: all((_field(item, path) == value) is equal for path, equal, value in terms)


def object_match(label_selector: str, field_selector: str, resource: Resource) -> ObjectMatch | None:
    """One predicate for both selectors of a request; ``None`` if everything matches."""
    by_label = parse_label_selector(label_selector) if label_selector.strip() else None
    by_field = parse_field_selector(field_selector, resource) if field_selector.strip() else None
    if by_label is None:
        return by_field

    def match(item: Mapping[str, Any]) -> bool:
        return by_label(item["metadata"].get("labels") or {}) and (by_field is None or by_field(item))

    return match


def _split(text: str) -> list[str]:
    terms, position = [], 0
    while position < len(text.rstrip()):
        found = _TERMS.match(text, position)
        if found is None:
            raise bad_request(f"unable to parse requirement: {text!r}")
        terms.append(found.group(1).strip())
        position = found.end()
    return terms


def _requirement(term: str) -> Requirement:
    if found := _EQUALITY.fullmatch(term):
        key, operator, value = found.groups()
        return _expression(key, "NotIn" if operator == "!=" else "In", (value,))
    if found := _MEMBERSHIP.fullmatch(term):
        key, operator, values = found.groups()
        return _expression(key, "In" if operator == "in" else "NotIn", [one.strip() for one in values.split(",")])
    if found := _EXISTENCE.fullmatch(term):
        negated, key = found.groups()
        return _expression(key, "DoesNotExist" if negated else "Exists", ())
    raise bad_request(f"unable to parse requirement: {term!r} is not a label requirement")


def _expression(key: str, operator: str, values: Any) -> Requirement:
    chosen = frozenset(values)
    match operator:
        case "In":
            return lambda labels: labels.get(key) in chosen if key in labels else False
        case "NotIn":
            return lambda labels: labels.get(key) not in chosen if key in labels else True
        case "Exists":
            return lambda labels: key in labels
        case "DoesNotExist":
            return lambda labels: key not in labels
    raise bad_request(f'"{operator}" is not a valid label selector operator')


def _field(item: Mapping[str, Any], path: tuple[str, ...]) -> str:
    value: Any = item
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
