"""What all tests share: the same examples in every run, and no colours in what commands print."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):  # Typer looks for them when it is imported
    os.environ.pop(name, None)
