"""Images are built before anything is sent, and all that fail are named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.stack import Stack
from harbor_aws.producer import enqueue
from harbor_aws.producer.enqueue import ImageBuildError, build_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.stack import KubernetesAccess

STACK = Stack(name="s", region="r", queue_url="", dead_letter_queue_url="", bucket="", image_repository="repository")


class Builder:
    """Builds directories whose name says whether that works, and remembers what it was asked."""

    def __init__(self) -> None:
        self.images: list[str] = []
        self.at_once = self.most_at_once = 0

    async def __call__(
        self, access: KubernetesAccess, *, image: str, context: Path, on_log: Callable[[str], None]
    ) -> None:
        self.images.append(image)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        for line in range(100):
            on_log(f"line {line}\n")
        if "broken" in context.name:
            raise PermanentError("RUN false ended with 1")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    builder = Builder()
    monkeypatch.setattr(enqueue, "build_image", builder)
    return builder


async def test_every_image_is_built_once(builder: Builder) -> None:
    """Each content hash is one image of the stack's repository; few are built at once."""
    done: list[None] = []
    images = {f"hash{number}": Path(f"/context{number}") for number in range(5)}
    await build_images(STACK, images, advance=lambda: done.append(None))
    assert sorted(builder.images) == [f"repository:hash{number}" for number in range(5)]
    assert len(done) == 5
    assert builder.most_at_once == 2


async def test_all_failed_builds_are_one_error(builder: Builder) -> None:
    """The error names each directory with its reason and the end of its log; the others are built all the same."""
    images = {"a": Path("/broken1"), "b": Path("/fine"), "c": Path("/broken2")}
    with pytest.raises(ImageBuildError) as failed:
        await build_images(STACK, images, advance=lambda: None)
    text = str(failed.value)
    assert text.startswith(
        "Nothing was enqueued: 2 image(s) were not built.\n/broken1: RUN false ended with 1\n  | line 85"
    )
    assert "/broken2: RUN false ended with 1" in text
    assert text.endswith("  | line 99")
    assert len(builder.images) == 3
