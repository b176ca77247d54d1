"""Metrics survive the way through the bucket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harbor.metrics.max import Max
from harbor.metrics.mean import Mean
from harbor.metrics.min import Min
from harbor.metrics.sum import Sum
from harbor.metrics.uv_script import UvScript

from harbor_aws.producer.metrics import dump_metrics, load_metrics

if TYPE_CHECKING:
    from pathlib import Path

    from harbor.metrics.base import BaseMetric


def test_metrics_come_back(tmp_path: Path) -> None:
    """Harbor's own kinds come back as they were; a dataset's script comes back as a file."""
    (tmp_path / "metric.py").write_text("print('mine')")
    (tmp_path / "other").mkdir()
    metrics: dict[str, list[BaseMetric[Any]]] = {
        "adhoc": [Mean()],
        "org/name": [Sum(), Min(), Max(), UvScript(script_path=tmp_path / "metric.py")],
    }
    loaded = load_metrics(dump_metrics(metrics), directory=tmp_path / "other")
    assert {name: [type(metric) for metric in kinds] for name, kinds in loaded.items()} == {
        name: [type(metric) for metric in kinds] for name, kinds in metrics.items()
    }
    assert [path.read_text() for path in (tmp_path / "other").iterdir()] == ["print('mine')"]


def test_no_path_of_this_machine_travels(tmp_path: Path) -> None:
    """The script's text is written, not where it was."""
    (tmp_path / "metric.py").write_text("1")
    assert json.loads(dump_metrics({"d": [UvScript(tmp_path / "metric.py")]})) == {
        "d": [{"type": "uv-script", "script": "1"}]
    }
