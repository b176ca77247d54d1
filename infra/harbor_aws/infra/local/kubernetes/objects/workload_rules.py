"""What Deployments and ReplicaSets must be like, and what Kubernetes fills in. Pure."""

from __future__ import annotations

from typing import Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import FieldError
from harbor_aws.infra.local.kubernetes.objects.names import check_labels
from harbor_aws.infra.local.kubernetes.objects.pod_rules import check_pod_spec, default_pod_spec
from harbor_aws.infra.local.kubernetes.objects.selectors import match_labels


def default_deployment(item: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **_default_template(item.get("spec") or {}),
    }
    strategy = spec.get("strategy") or {}
    kind = strategy.get("type") or "RollingUpdate"
    spec["strategy"] = {**strategy, "type": kind}
    if kind == "RollingUpdate":
        bounds = {"maxUnavailable": "25%", "maxSurge": "25%", **(strategy.get("rollingUpdate") or {})}
        spec["strategy"]["rollingUpdate"] = bounds
    return {**item, "spec": spec, "status": item.get("status") or {}}


def default_replica_set(item: dict[str, Any]) -> dict[str, Any]:
    return {
        **item,
        "spec": {"replicas": 1, **_default_template(item.get("spec") or {})},
        "status": item.get("status") or {"replicas": 0},
    }


def check_workload(item: dict[str, Any]) -> list[FieldError]:
    spec = item["spec"]
    errors: list[FieldError] = []
    replicas = spec["replicas"]
    if not isinstance(replicas, int) or replicas < 0:
        errors.append(FieldError.wrong("spec.replicas", replicas, "must be greater than or equal to 0"))
    selector = spec.get("selector")
    if not selector:
        errors.append(FieldError.required("spec.selector"))
    template = spec.get("template") or {}
    if not template.get("spec"):
        return [*errors, FieldError.required("spec.template.spec.containers")]
    labels = (template.get("metadata") or {}).get("labels") or {}
    errors += check_labels("spec.template.metadata.labels", labels)
    if selector and not match_labels(selector)(labels):
        shown = "{" + ", ".join(f'"{key}":"{value}"' for key, value in labels.items()) + "}"
        why = "`selector` does not match template `labels`"
        errors.append(FieldError("spec.template.metadata.labels", f"Invalid value: {shown}: {why}"))
    if template["spec"].get("restartPolicy") != "Always":
        policy = template["spec"].get("restartPolicy")
        message = f'Unsupported value: "{policy}": supported values: "Always"'
        errors.append(FieldError("spec.template.spec.restartPolicy", message, "FieldValueNotSupported"))
    return errors + check_pod_spec(template["spec"], "spec.template.spec")


def check_workload_update(new: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
    if new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [FieldError.wrong("spec.selector", str(new["spec"].get("selector")), "field is immutable")]


def _default_template(spec: dict[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in spec.items() if value is not None}
    template = result.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        result["template"] = {"metadata": {}, **template, "spec": default_pod_spec(template["spec"])}
    return result
