"""A release manifest of KEDA in small: the objects that the real one has, as far as a stack has to do with them."""

from __future__ import annotations

from typing import Any

import yaml

Json = dict[str, Any]


ANYTHING: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(kind: str, plural: str, schema: Json = ANYTHING) -> Json:
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.keda.sh"},
        "spec": {"group": "keda.sh", "names": names, "scope": "Namespaced", "versions": [version]},
    }


def deployment(name: str, *arguments: str, port: int = 8080) -> Json:
    container = {
        "name": name,
        "image": f"ghcr.io/kedacore/{name}:2.20.2",
        "args": list(arguments),
        "ports": [{"containerPort": port}],
        "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "1000Mi"}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "keda", "labels": {"app": name}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def release() -> list[Json]:
    metrics = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "keda-metrics-apiserver", "namespace": "keda"},
        },
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}},
        definition("ScaledObject", "scaledobjects"),
        definition("TriggerAuthentication", "triggerauthentications"),
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "keda-operator", "namespace": "keda", "labels": {"a": "b"}},
        },
        deployment("keda-operator", "--leader-elect"),
        deployment("keda-metrics-apiserver", "--secure-port=6443", port=6443),
        metrics,
    ]


def release_text() -> str:
    return yaml.safe_dump_all(release())
