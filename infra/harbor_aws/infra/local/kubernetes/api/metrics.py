"""How often the API was asked for what, under the name that Kubernetes uses."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest


class RequestMetrics:
    """Counts requests. A watch, log or exec counts when it ends."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request_total",
            "Requests by verb, resource, subresource and HTTP code.",
            ("verb", "resource", "subresource", "code"),
            registry=self._registry,
        )

    def count(self, *, verb: str, resource: str, subresource: str, code: int) -> None:
        self._requests.labels(verb, resource, subresource, str(code)).inc()

    def render(self) -> bytes:
        """All counts in Prometheus' text format."""
        return generate_latest(self._registry)
