"""Where Fargate sends what pods print: to the stack's log group.

https://docs.aws.amazon.com/eks/latest/userguide/fargate-logging.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.deploy.manifests.namespaces import LOGGING_NAMESPACE

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

LONGEST_CONFIGURATION = 5_300
"""Characters that Fargate takes; same source."""

_FILTERS = """\
[FILTER]
    Name parser
    Match *
    Key_name log
    Parser crio
[FILTER]
    Name kubernetes
    Match kube.*
    Merge_Log On
    Keep_Log Off
    Buffer_Size 0
    Kube_Meta_Cache_TTL 300s
"""

_PARSERS = """\
[PARSER]
    Name crio
    Format Regex
    Regex ^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>P|F) (?<log>.*)$
    Time_Key time
    Time_Format %Y-%m-%dT%H:%M:%S.%L%z
"""


def logs(plan: ClusterPlan) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "aws-logging", "namespace": LOGGING_NAMESPACE, "labels": plan.labels},
            "data": {
                "flb_log_cw": "false",  # its own process's output, which nobody reads
                "filters.conf": _FILTERS,
                "output.conf": _output(plan),
                "parsers.conf": _PARSERS,
            },
        }
    ]


def _output(plan: ClusterPlan) -> str:
    """The group is the template's, and pods may make streams in it alone."""
    return f"""\
[OUTPUT]
    Name cloudwatch_logs
    Match kube.*
    region {plan.stack.region}
    log_group_name {plan.log_group}
    log_stream_prefix pod-
    auto_create_group false
"""
