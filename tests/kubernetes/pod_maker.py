"""A process that makes one pod and then only shows that it lives, to be frozen and killed by a test.

Arguments: a KubernetesAccess and PresenceTerms as JSON, the stack and the image. Prints its pod's name.
"""

from __future__ import annotations

import asyncio
import json
import sys

from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.stack import KubernetesAccess
from harbor_aws.worker.pod_spec import PodOwner, PodRequest
from harbor_aws.worker.pods import PodKeeper
from harbor_aws.worker.presence import PresenceTerms, keep_presence, process_name


async def main(access_json: str, terms_json: str, stack: str, image: str) -> None:
    """Live until killed."""
    access, terms = KubernetesAccess.model_validate_json(access_json), PresenceTerms(**json.loads(terms_json))
    worker = process_name()
    owner = PodOwner(job="j", trial="t", attempt_id="01-a", worker=worker, session=f"{worker}__env", stack=stack)
    request = PodRequest(
        owner=owner, image=image, size=FargateSize(250, 512), deadline_seconds=900, cpus=0.1, memory_mib=64
    )
    async with (
        PodKeeper.open(access, worker=worker) as pods,
        keep_presence(pods.cluster, stack=stack, worker=worker, terms=terms),
    ):
        pod = await pods.create(request)
        await pods.wait_until_running(pod, timeout_seconds=60)
        print(pod.name, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
