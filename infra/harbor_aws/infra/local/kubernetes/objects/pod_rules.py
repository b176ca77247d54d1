"""What a pod must be like, and what Kubernetes fills in. Pure."""

from __future__ import annotations

import re
from typing import Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import FieldError
from harbor_aws.infra.local.kubernetes.objects.names import check_label_name, timestamp
from harbor_aws.infra.local.kubernetes.objects.quantities import check_resources

NODE_NAME = "local"
NODE_ADDRESS = "127.0.0.1"
"""Pods share this machine's network."""

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_ENV_NAME = re.compile(r"[^=\x00-\x1f]+")
_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")


def default_pod(pod: dict[str, Any]) -> dict[str, Any]:
    """A new pod with its defaults, as if scheduled to this machine."""
    spec = {**default_pod_spec(pod.get("spec") or {}), "nodeName": NODE_NAME}
    return {**pod, "spec": spec, "status": {"phase": "Pending", **scheduled_status(spec, timestamp())}}


def scheduled_status(spec: dict[str, Any], when: str) -> dict[str, Any]:
    """The part of a pod's status that the cluster knows without running it."""
    return {
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": when},
        ],
        "hostIP": NODE_ADDRESS,
        "startTime": when,
        "qosClass": qos_class(spec),
    }


def default_pod_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A pod's spec, or a template's, with Kubernetes' defaults."""
    result = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        **{key: value for key, value in spec.items() if value is not None},
    }
    for field in ("containers", "initContainers"):
        if isinstance(result.get(field), list):
            result[field] = [_default_container(one) if isinstance(one, dict) else one for one in result[field]]
    return result


def check_pod(pod: dict[str, Any]) -> list[FieldError]:
    return check_pod_spec(pod["spec"], "spec")


def check_pod_spec(spec: dict[str, Any], field: str) -> list[FieldError]:
    errors: list[FieldError] = []
    containers = spec.get("containers")
    if not containers or not isinstance(containers, list):
        return [FieldError.required(f"{field}.containers")]
    seen: set[str] = set()
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            errors += _check_container(container, f"{field}.{kind}[{index}]", seen)
    if spec["restartPolicy"] not in _RESTART_POLICIES:
        supported = ", ".join(f'"{one}"' for one in _RESTART_POLICIES)
        message = f'Unsupported value: "{spec["restartPolicy"]}": supported values: {supported}'
        errors.append(FieldError(f"{field}.restartPolicy", message, "FieldValueNotSupported"))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not (isinstance(deadline, int) and 1 <= deadline <= 2**31 - 1):
        why = "must be between 1 and 2147483647, inclusive"
        errors.append(FieldError.wrong(f"{field}.activeDeadlineSeconds", deadline, why))
    grace = spec["terminationGracePeriodSeconds"]
    if not isinstance(grace, int) or grace < 0:
        why = "must be greater than or equal to 0"
        errors.append(FieldError.wrong(f"{field}.terminationGracePeriodSeconds", grace, why))
    return errors


def check_pod_update(new: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
    if _fixed(new["spec"]) == _fixed(old["spec"]):
        return []
    why = (
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [FieldError("spec", f"Forbidden: {why}", "FieldValueForbidden")]


def qos_class(spec: dict[str, Any]) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    all_resources = [one.get("resources") or {} for one in spec.get("containers") or () if isinstance(one, dict)]
    if not any(one.get("requests") or one.get("limits") for one in all_resources):
        return "BestEffort"
    for resources in all_resources:
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        if any(limits.get(name) is None or limits[name] != requests.get(name) for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _default_container(container: dict[str, Any]) -> dict[str, Any]:
    image = container.get("image")
    latest = (
        isinstance(image, str) and "@" not in image and image.rpartition("/")[2].partition(":")[2] in {"", "latest"}
    )
    result = {
        "imagePullPolicy": "Always" if latest else "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
        **container,
    }
    resources = result["resources"]
    if isinstance(resources, dict) and isinstance(resources.get("limits"), dict):
        result["resources"] = {**resources, "requests": {**resources["limits"], **(resources.get("requests") or {})}}
    return result


def _check_container(container: Any, field: str, seen: set[str]) -> list[FieldError]:
    if not isinstance(container, dict):
        return [FieldError.required(field)]
    name = container.get("name")
    errors = check_label_name(f"{field}.name", name) if name else [FieldError.required(f"{field}.name")]
    if name in seen:
        errors.append(FieldError(f"{field}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate"))
    if isinstance(name, str):
        seen.add(name)
    if not container.get("image"):
        errors.append(FieldError.required(f"{field}.image"))
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            errors.append(FieldError.required(f"{field}.env[{index}].name"))
        elif not _ENV_NAME.fullmatch(variable["name"]):
            why = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            errors.append(FieldError.wrong(f"{field}.env[{index}].name", variable["name"], why))
    return errors + check_resources(container.get("resources") or {}, f"{field}.resources")


def _fixed(spec: dict[str, Any]) -> dict[str, Any]:
    fixed = {key: value for key, value in spec.items() if key not in _MUTABLE}
    for field in ("containers", "initContainers"):
        if field in fixed:
            fixed[field] = [{key: value for key, value in one.items() if key != "image"} for one in fixed[field]]
    return fixed
