"""What images are built from, and the embedded Kubernetes' builds, of which all that fail are named."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.task_images import embedded
from harbor_aws.producer.task_images.context import write_context
from harbor_aws.producer.task_images.embedded import build_images
from harbor_aws.producer.task_images.source import ImageBuildError, ImageSource

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
    monkeypatch.setattr(embedded, "build_image", builder)
    return builder


async def test_every_image_is_built_once(builder: Builder) -> None:
    """Each content hash is one image of the stack's repository; few are built at once."""
    done: list[None] = []
    images = {f"hash{number}": ImageSource(Path(f"/context{number}"), ("task",)) for number in range(5)}
    await build_images(STACK, images, advance=lambda: done.append(None))
    assert sorted(builder.images) == [f"repository:hash{number}" for number in range(5)]
    assert len(done) == 5
    assert builder.most_at_once == 2


async def test_all_failed_builds_are_one_error(builder: Builder) -> None:
    """The error names each one's tasks with its reason and the end of its log; the others are built all the same."""
    tasks = {"a": ("one", "two"), "b": ("three",), "c": ("four",)}
    contexts = {"a": Path("/broken1"), "b": Path("/fine"), "c": Path("/broken2")}
    images = {tag: ImageSource(contexts[tag], tasks[tag]) for tag in tasks}
    with pytest.raises(ImageBuildError) as failed:
        await build_images(STACK, images, advance=lambda: None)
    text = str(failed.value)
    assert text.startswith(
        "Nothing was enqueued: 2 of 3 image(s) were not built.\n"
        "one, two (/broken1): RUN false ended with 1\n  | line 85"
    )
    assert "four (/broken2): RUN false ended with 1" in text
    assert text.endswith("  | line 99")
    assert len(builder.images) == 3


@pytest.mark.parametrize(
    ("tasks", "said"),
    [(("a",), "a"), (("a", "b", "c"), "a, b, c"), (("a", "b", "c", "d"), "a, b, c and 1 more")],
)
def test_tasks_in_a_line(tasks: tuple[str, ...], said: str) -> None:
    """A hundred tasks may share an image; the line stays one."""
    assert str(ImageSource(Path("/context"), tasks)) == said


def test_a_context_is_the_directory_and_nothing_of_who_has_it(tmp_path: Path) -> None:
    """Dotfiles, links and what may be executed; no caches, owners or times, so that everybody packs the same."""
    source = tmp_path / "environment"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "x.pyc").write_bytes(b"x")
    (source / "empty").mkdir()
    (source / ".dockerignore").write_text("secret")
    (source / "Dockerfile").write_text("FROM a")
    (source / "run.sh").write_text("true")
    (source / "run.sh").chmod(0o700)
    (source / "link").symlink_to("run.sh")
    write_context(source, tmp_path / "archive")
    with tarfile.open(tmp_path / "archive", "r:gz") as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert sorted(members) == [".dockerignore", "Dockerfile", "empty", "link", "run.sh"]
    assert (members["run.sh"].mode, members["Dockerfile"].mode) == (0o755, 0o644)
    assert members["link"].linkname == "run.sh"
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}
    assert all(member.mtime > 315_532_800 for member in members.values()), "ZIP files know no time before 1980"
