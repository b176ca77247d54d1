"""How long a run takes and what holds it up: a model of a stack and its account. Pure, and quick.

``limits`` says what bounds a run, with sources; ``simulate`` plays a run against that, trial by trial; ``run`` is what
comes out. ``docs/capacity.md`` shows what it says, and what it leaves out.
"""

from __future__ import annotations

from harbor_aws.infra.capacity.demand import TrialDemand
from harbor_aws.infra.capacity.limit import Limit
from harbor_aws.infra.capacity.limits import Limits
from harbor_aws.infra.capacity.relief import relief
from harbor_aws.infra.capacity.run import Moment, Run
from harbor_aws.infra.capacity.simulate import NeverRunsError, simulate

__all__ = ["Limit", "Limits", "Moment", "NeverRunsError", "Run", "TrialDemand", "relief", "simulate"]
