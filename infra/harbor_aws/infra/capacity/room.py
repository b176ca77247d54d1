"""Where pods are: vCPUs, nodes and addresses, which a pod takes and gives back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.capacity.gates import Pool
from harbor_aws.infra.capacity.limit import Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.capacity.demand import TrialDemand
    from harbor_aws.infra.capacity.limits import Limits


class Room:
    """What trials' pods have together, without what workers and the cluster's own pods take of it."""

    def __init__(self, limits: Limits, *, workers: int) -> None:
        others = limits.system_pods + workers
        account = limits.account_vcpus - limits.system_vcpus - workers * limits.worker_vcpus
        self._worker_millis = limits.worker_vcpus * 1000
        self._slots_per_worker = limits.slots_per_worker
        self._vcpus = {
            Limit.STACK_VCPUS: Pool(limits.max_vcpus * 1000),
            Limit.ACCOUNT_VCPUS: Pool(account * 1000),
        }
        self._pods = {
            Limit.NODES: Pool(limits.cluster_nodes - others),
            Limit.ADDRESSES: Pool(limits.addresses - others),
        }
        self._last = 0.0
        self._short_of = Limit.ACCOUNT_VCPUS

    def lacks(self, demand: Sequence[TrialDemand]) -> str | None:
        """What one of these trials can never have, if there is such a thing."""
        most = max((each.cpu_millis for each in demand), default=0)
        for limit, pool in self._vcpus.items():
            if pool.size < most:
                left = max(0.0, pool.size / 1000)
                return f"a trial takes {most / 1000:g} vCPUs, and the {limit.value} leave {left:g}"
        short = next((limit for limit, pool in self._pods.items() if demand and pool.size < 1), None)
        return f"the {short.value} leave none for a trial" if short else None

    def short_of_for_worker(self, *, slots: int, millis_each: float) -> Limit | None:
        """Which vCPUs are too few for one more worker with all its trials; ``None`` if there are enough.

        Args:
            slots: that there are; a trial in each.
            millis_each: thousandths of a vCPU that such a trial takes.
        """
        trials_millis = (slots + self._slots_per_worker) * millis_each
        needs = {Limit.STACK_VCPUS: trials_millis, Limit.ACCOUNT_VCPUS: trials_millis + self._worker_millis}
        spare = {limit: pool.size - needs[limit] for limit, pool in self._vcpus.items()}
        tightest = min(spare, key=lambda limit: spare[limit])
        return tightest if spare[tightest] < 0 else None

    def entered(self, at: float, demand: TrialDemand) -> tuple[float, Limit]:
        """When the pod made at this time has all, and what it waited for if that is later."""
        at = max(at, self._last)
        for limit, pool, amount in self._taken_by(demand):
            before, at = at, pool.passed(at, amount)
            if at > before:
                self._short_of = limit
        self._last = at
        return at, self._short_of

    def left(self, at: float, demand: TrialDemand) -> None:
        """The pod is gone at this time."""
        for _, pool, amount in self._taken_by(demand):
            pool.give_back(at, amount)

    def _taken_by(self, demand: TrialDemand) -> list[tuple[Limit, Pool, float]]:
        return [
            *((limit, pool, float(demand.cpu_millis)) for limit, pool in self._vcpus.items()),
            *((limit, pool, 1.0) for limit, pool in self._pods.items()),
        ]
