"""The estimate of a job that is about to be sent. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.producer.estimate.earlier import earlier
from harbor_aws.producer.estimate.estimate import Estimate, estimate
from harbor_aws.producer.estimate.room import room_of

if TYPE_CHECKING:
    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.plan import Prepared


def estimate_of(stack: Stack, store: ObjectStore, prepared: Prepared) -> Estimate:
    """What the job will cost; if its tasks' earlier runs cannot be read, by their limits alone."""
    known = earlier(store, prepared.trials)
    room = room_of(stack, max_vcpus=None, concurrency=None)
    return estimate(prepared.job, prepared.trials, known, room=room, right_sized=prepared.right_sized)
