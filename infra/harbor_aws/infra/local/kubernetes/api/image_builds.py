"""Building images: a resource of our own, since Kubernetes has none.

``POST /apis/harbor-aws.dev/v1/images?image=REF`` with a tar of a build context, its ``Dockerfile`` at the root, answers
lines of JSON: ``{"log": "…"}`` any number of times, then ``{"image": REF}`` or ``{"error": "…"}``.
"""

from __future__ import annotations

import asyncio
import codecs
import tempfile
from typing import IO, TYPE_CHECKING

from aiohttp import web

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.local.kubernetes.api.representation import dumps
from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harbor_aws.infra.local.kubernetes.runtime import PodRuntime

PATH = "/apis/harbor-aws.dev/v1/images"
_CHUNK = 1024 * 1024


async def build_image(request: web.Request, runtime: PodRuntime) -> web.StreamResponse:
    """Build one image. A failure of ours, not of the Dockerfile, ends the answer without its last line.

    The context is received whole before the answer begins, since not every client still sends after that, and since a
    build goes on for the others who wait for it when its first client leaves.
    """
    image = request.query.get("image")
    if not image:
        raise bad_request("the query names no image")
    context = await _receive(request)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        async for chunk in await runtime.build(image, _chunks(context)):
            if text := decoder.decode(chunk):
                await response.write(dumps({"log": text}) + b"\n")
        last = {"image": image}
    except PermanentError as error:
        last = {"error": str(error)}
    except Exception:
        context.close()
        raise
    context.close()  # not when the client left: the build may go on for others, and still read
    await response.write(dumps(last) + b"\n")
    return response


async def _receive(request: web.Request) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the build has read it
    try:
        async for chunk in request.content.iter_chunked(_CHUNK):
            await asyncio.to_thread(file.write, chunk)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
