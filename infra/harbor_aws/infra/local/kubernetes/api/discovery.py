"""What the API says of itself: versions, groups, resources, and as much of OpenAPI as kubectl asks for."""

from __future__ import annotations

import platform
from typing import Any

from harbor_aws.infra.local.kubernetes.objects.resources import RESOURCES, Resource

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_GROUPS = ("apps", "coordination.k8s.io")

VERSION = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+harbor-aws",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": f"linux/{platform.machine()}",
}
"""The Kubernetes whose API this follows."""


def documents(address: str) -> dict[str, dict[str, Any]]:
    """Every document of discovery, by path. ``address``: host and port."""
    versions = {f"apis/{group}/v1": _resource_list(group) for group in _GROUPS} | {"api/v1": _resource_list("")}
    paths = {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in versions}
    return {
        "/version": VERSION,
        "/api": {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        },
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(one) for one in _GROUPS]},
        **{f"/apis/{group}": {"kind": "APIGroup", "apiVersion": "v1", **_group(group)} for group in _GROUPS},
        **{f"/{path}": document for path, document in versions.items()},
        "/openapi/v2": {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": {}},
        "/openapi/v3": {"paths": paths},
        **{f"/openapi/v3/{path}": _open_api(path) for path in versions},
    }


_INFO = {"title": "Kubernetes", "version": VERSION["gitVersion"]}


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource_list(group: str) -> dict[str, Any]:
    resources = [row for one in RESOURCES if one.group == group for row in _rows(one)]
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _rows(resource: Resource) -> list[dict[str, Any]]:
    row = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _VERBS if resource.namespaced else [verb for verb in _VERBS if verb != "deletecollection"],
        **({"shortNames": [resource.short_name]} if resource.short_name else {}),
        **({"categories": ["all"]} if resource.in_all else {}),
    }
    rows = [row]
    for sub in resource.subresources:
        group, _, version = sub.api_version.rpartition("/")
        rows.append(
            {
                "name": f"{resource.plural}/{sub.name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                **({"group": group, "version": version} if sub.api_version else {}),
                "kind": sub.kind or resource.kind,
                "verbs": list(sub.verbs),
            }
        )
    return rows


def _open_api(path: str) -> dict[str, Any]:
    """That PATCH takes ``fieldValidation`` and ``dryRun``: kubectl looks for nothing else before it sends an object.

    No schemas: kubectl then merges by the types that it was built with.
    """
    group = path.removeprefix("apis/").partition("/")[0] if path.startswith("apis/") else ""
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    paths = {}
    for resource in (one for one in RESOURCES if one.group == group):
        place = f"/{path}/namespaces/{{namespace}}" if resource.namespaced else f"/{path}"
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        responses = {"200": {"description": "OK"}}
        patch = {"parameters": parameters, "responses": responses, "x-kubernetes-group-version-kind": kind}
        paths[f"{place}/{resource.plural}/{{name}}"] = {"patch": {**patch, "x-kubernetes-action": "patch"}}
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": {}}}
