"""Building images: a resource of our own, since Kubernetes has none.

``POST /apis/harbor-aws.dev/v1/images?image=REF`` with a tar of a build context, its ``Dockerfile`` at the root, answers
lines of JSON: ``{"log": "…"}`` any number of times, then ``{"image": REF}`` or ``{"error": "…"}``.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from aiohttp import web

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.local.kubernetes.api_errors import bad_request
from harbor_aws.infra.local.kubernetes.representation import dumps

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.runtime import PodRuntime

PATH = "/apis/harbor-aws.dev/v1/images"
_CHUNK = 64 * 1024


async def build_image(request: web.Request, runtime: PodRuntime) -> web.StreamResponse:
    """Build one image. A failure of ours, not of the Dockerfile, ends the answer without its last line."""
    image = request.query.get("image")
    if not image:
        raise bad_request("the query names no image")
    context = request.content.iter_chunked(_CHUNK)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        async for chunk in await runtime.build(image, context):
            if text := decoder.decode(chunk):
                await response.write(dumps({"log": text}) + b"\n")
        last = {"image": image}
    except PermanentError as error:
        last = {"error": str(error)}
    async for _ in context:
        pass  # what the build did not need: a client that is still sending would take an early end for a cut
    await response.write(dumps(last) + b"\n")
    return response
