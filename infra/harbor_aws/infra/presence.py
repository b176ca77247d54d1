"""The sign of life of a process that makes pods: a Lease of Kubernetes' own, renewed while the process lives. Pure.

It lies in the cluster that the pods are in, and nowhere else: who cannot renew it cannot reach its pods either, whereas
a process that has lost S3 or SQS for a while may well have trials that go on. Kubernetes keeps its nodes' heartbeats
likewise: https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harbor_aws.infra.labels import WORKER_LABEL, dns_label, label_value, stack_labels

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Presence:
    """A process's Lease as the cluster has it."""

    name: str
    uid: str
    worker: str
    """As it is in the labels of the process's pods."""
    version: str
    """Another one after every renewal."""
    duration_seconds: float
    """For so long after a renewal the process counts as alive."""
    renewed_at: datetime | None
    """By the clock of the process itself, so for people only."""

    @classmethod
    def of(cls, lease: Json) -> Presence:
        metadata, spec = lease["metadata"], lease.get("spec") or {}
        renewed_at = spec.get("renewTime")
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            worker=(metadata.get("labels") or {}).get(WORKER_LABEL, ""),
            version=metadata["resourceVersion"],
            duration_seconds=float(spec.get("leaseDurationSeconds") or 0),
            renewed_at=datetime.fromisoformat(renewed_at) if renewed_at else None,
        )

    def is_current(self, now: datetime) -> bool:
        """Whether it was renewed in time, as far as two machines' clocks agree."""
        return self.renewed_at is not None and (now - self.renewed_at).total_seconds() <= self.duration_seconds


def leases_path(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def lease_name(worker: str) -> str:
    return dns_label(worker, worker)


def lease(*, stack: str, worker: str, duration_seconds: float) -> Json:
    """The Lease of a process that lives now."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name(worker),
            "labels": {**stack_labels(stack), WORKER_LABEL: label_value(worker)},
        },
        "spec": {
            "holderIdentity": worker,
            "leaseDurationSeconds": max(1, round(duration_seconds)),
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
