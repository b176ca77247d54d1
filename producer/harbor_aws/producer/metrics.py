"""A job's metrics as JSON, so that what is fetched is aggregated without the datasets that the metrics came with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harbor.metrics.factory import MetricFactory
from harbor.metrics.max import Max
from harbor.metrics.mean import Mean
from harbor.metrics.min import Min
from harbor.metrics.sum import Sum
from harbor.metrics.uv_script import UvScript
from harbor.models.metric.type import MetricType

if TYPE_CHECKING:
    from pathlib import Path

    from harbor.metrics.base import BaseMetric

    type Metrics = dict[str, list[BaseMetric[Any]]]
    """Harbor's metrics by the name of the dataset that they are for."""

METRICS_NAME = "metrics.json"
"""Beside the job's ``config.json`` in the bucket."""

_PLAIN = {Sum: MetricType.SUM, Min: MetricType.MIN, Max: MetricType.MAX, Mean: MetricType.MEAN}


def dump_metrics(metrics: Metrics) -> bytes:
    """``metrics`` as JSON; a dataset's own script travels as its text."""
    return json.dumps({dataset: [_dump(metric) for metric in kinds] for dataset, kinds in metrics.items()}).encode()


def load_metrics(body: bytes, *, directory: Path) -> Metrics:
    """The metrics in ``body``; scripts are written to ``directory``, where they must stay while they are used."""
    return {
        dataset: [
            _load(kind, directory / f"{dataset.replace('/', '-')}-{index}.py") for index, kind in enumerate(kinds)
        ]
        for dataset, kinds in json.loads(body).items()
    }


def _dump(metric: BaseMetric[Any]) -> dict[str, str]:
    if isinstance(metric, UvScript):
        return {"type": MetricType.UV_SCRIPT.value, "script": metric._script_path.read_text()}
    return {"type": _PLAIN[type(metric)].value}


def _load(kind: dict[str, str], script: Path) -> BaseMetric[Any]:
    if kind["type"] != MetricType.UV_SCRIPT:
        return MetricFactory.create_metric(MetricType(kind["type"]))
    script.write_text(kind["script"])
    return UvScript(script_path=script)
