"""Tasks' images on their way into the stack's repository: moto's S3, ECR, SQS and logs, and a CodeBuild with a life."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from harbor.environments.definition import environment_content_hash
from tests.integration.codebuild_stub import Life, codebuild_stub
from tests.integration.moto_account import moto_account, use_account
from tests.integration.moto_stack import REGION, make_stack
from tests.tiny_tasks import make_task

from harbor_aws.infra.aws import Account, ecr_client, logs_client, s3_client
from harbor_aws.infra.builds import follow as following
from harbor_aws.infra.builds import many
from harbor_aws.infra.builds.builder import Builder, BuildLimitError, NoBuildsError
from harbor_aws.infra.builds.follow import follow
from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.layout import environment_context_key
from harbor_aws.infra.queues import Queue
from harbor_aws.infra.registry import missing_tags
from harbor_aws.infra.stack import stack_file
from harbor_aws.producer import cli
from harbor_aws.producer.task_images import codebuild as building
from harbor_aws.producer.task_images.codebuild import build_missing
from harbor_aws.producer.task_images.context import write_context
from harbor_aws.producer.task_images.prebuilt import require_built
from harbor_aws.producer.task_images.source import ImageBuildError, ImageSource, InterruptedBuildsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.codebuild_stub import CodeBuildStub, StubBuild

    from harbor_aws.infra.builds.build import Build
    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.task_images.codebuild import BuildCounts

# Harbor's own, about what it does itself.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

PROJECT = "team-environments"
REPOSITORY = "team/environments"
ACCOUNT = Account(REGION)
PLATFORMS = 7


class Memory:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.missing: list[tuple[int, int]] = []
        self.counts: list[BuildCounts] = []
        self.endings: list[tuple[str, bool]] = []

    def began(self, *, missing: int, total: int) -> None:
        self.missing.append((missing, total))

    def progressed(self, counts: BuildCounts) -> None:
        self.counts.append(counts)

    def ended(self, image: ImageSource, build: Build) -> None:
        self.endings.append((str(image), build.has_succeeded))


class Bench:
    """A stack whose images CodeBuild builds, found under its name, and environments to build."""

    def __init__(self, codebuild: CodeBuildStub, url: str, directory: Path) -> None:
        self.codebuild = codebuild
        self.directory = directory
        self.watcher = Memory()
        self.printed: list[str] = []
        codebuild.on_end = self.end
        repository = ecr_client(ACCOUNT).create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")[
            "repository"
        ]
        self.stack = make_stack(url, kubeconfig=directory / "no-cluster").model_copy(
            update={
                "image_repository": repository["repositoryUri"],
                "image_builder": "codebuild",
                "image_builder_project": PROJECT,
            }
        )
        stack_file(self.stack.name).parent.mkdir(parents=True)
        stack_file(self.stack.name).write_text(self.stack.model_dump_json())

    def end(self, build: StubBuild) -> None:
        """What the commands of a build do: print, and push what they built unless they failed."""
        if self.printed:
            self._print(build)
        if build.has_succeeded:
            push(build.variables["TAG"])

    def images(self, count: int) -> dict[str, ImageSource]:
        """Environments that differ, by their hash."""
        images = {}
        for number in range(count):
            task = make_task(self.directory, f"task{number}", toml="", files=dockerfile(number))
            environment = task / "environment"
            images[environment_content_hash(environment)] = ImageSource(environment, (f"task{number}",))
        return images

    def build(self, images: dict[str, ImageSource]) -> int:
        return build_missing(self.stack, images, watcher=self.watcher)

    def _print(self, build: StubBuild) -> None:
        now = int(time.time() * 1000)
        logs_client(ACCOUNT).create_log_stream(logGroupName=build.log_group, logStreamName=build.log_stream)
        logs_client(ACCOUNT).put_log_events(
            logGroupName=build.log_group,
            logStreamName=build.log_stream,
            logEvents=[{"timestamp": now, "message": f"{line} of {build.variables['TAG']}"} for line in self.printed],
        )


def dockerfile(number: int) -> dict[str, str]:
    return {"environment/Dockerfile": f"FROM python:3.12\nENV PLATFORM={number}\n"}


def push(tag: str) -> None:
    """Fails if the tag is taken, as the repository's tags cannot be moved."""
    manifest = {"schemaVersion": 2, "config": {"digest": f"sha256:{uuid4().hex * 2}"}, "layers": []}
    ecr_client(ACCOUNT).put_image(
        repositoryName=REPOSITORY,
        imageTag=tag,
        imageManifest=json.dumps(manifest),
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
    )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """An account where nobody waits."""
    monkeypatch.setattr(many, "LOOK_SECONDS", 0.01)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with moto_account() as url:
        use_account(monkeypatch, url)
        logs_client(ACCOUNT).create_log_group(logGroupName=f"/builds/{PROJECT}")
        with codebuild_stub(monkeypatch, PROJECT) as codebuild:
            yield Bench(codebuild, url, tmp_path)


def test_images_are_built_once_and_reused(bench: Bench) -> None:
    """Each from its own directory, in parallel; the second job finds them all and asks for nothing but that."""
    images = bench.images(3)
    assert bench.build(images) == 3
    assert {build.variables["TAG"] for build in bench.codebuild.builds} == images.keys()
    assert bench.watcher.missing == [(3, 3)]
    assert bench.watcher.counts[0].queued == 3
    assert max(counts.running for counts in bench.watcher.counts) == 3
    assert (bench.watcher.counts[-1].ended, len(bench.watcher.endings)) == (3, 3)
    tag, source = next(iter(images.items()))
    uploaded = s3_client(ACCOUNT).get_object(Bucket=bench.stack.bucket, Key=environment_context_key(tag))
    with tarfile.open(fileobj=io.BytesIO(uploaded["Body"].read())) as context:
        assert sorted(context.getnames()) == [".keep", "Dockerfile"]
        member = context.extractfile("Dockerfile")
        assert member
        assert member.read() == (source.directory / "Dockerfile").read_bytes()
    asked = bench.codebuild.requests.total()
    assert bench.build(images) == 0
    assert bench.codebuild.requests.total() == asked


def test_only_what_is_missing_is_built(bench: Bench) -> None:
    """One that is there is neither uploaded nor built."""
    images = bench.images(3)
    there, *others = images
    push(there)
    assert bench.build(images) == 2
    assert {build.variables["TAG"] for build in bench.codebuild.builds} == set(others)
    listed = s3_client(ACCOUNT).list_objects_v2(Bucket=bench.stack.bucket, Prefix="images/")["Contents"]
    assert sorted(row["Key"] for row in listed) == sorted(map(environment_context_key, others))


def test_missing_images_are_asked_for_by_the_hundred(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of hundreds of environments costs a few requests."""
    asked: list[int] = []

    def count(params: dict[str, Any], **_: object) -> None:
        asked.append(len(params["imageIds"]))

    tags = [f"{number:032x}" for number in range(250)]
    push(tags[7])
    client = ecr_client(ACCOUNT)
    client.meta.events.register("provide-client-params.ecr.BatchGetImage", count)
    monkeypatch.setattr("harbor_aws.infra.registry.ecr_client", lambda _: client)
    assert missing_tags(bench.stack.image_repository, tags) == set(tags) - {tags[7]}
    assert asked == [100, 100, 50]
    with pytest.raises(PermanentError, match="look for images in team/nothing"):
        missing_tags(bench.stack.image_repository.replace("environments", "nothing"), tags)
    with pytest.raises(PermanentError, match="not a repository of ECR"):
        missing_tags("harbor-aws/environments", tags)


def test_all_that_fail_are_named(bench: Bench) -> None:
    """Each with its tasks, CodeBuild's reason and its own log's end; the others are built, and are there next time."""
    images = bench.images(4)
    bench.codebuild.lives = [Life("FAILED", message="docker build: exit status 1"), Life(), Life("FAILED"), Life()]
    bench.printed = ["#5 RUN pip install nonsense", "#5 ERROR: no matching distribution"]
    with pytest.raises(ImageBuildError) as caught:
        bench.build(images)
    text = str(caught.value)
    assert text.startswith("Nothing was enqueued: 2 of 4 image(s) were not built.")
    failed = {build.variables["TAG"] for build in bench.codebuild.builds if not build.has_succeeded}
    for tag, source in images.items():
        assert (f"{source}: The build of its image ended as FAILED" in text) == (tag in failed)
        assert (f"#5 ERROR: no matching distribution of {tag}" in text) == (tag in failed)
    assert "docker build: exit status 1" in text
    bench.printed = []
    assert bench.build(images) == 2
    assert len(bench.codebuild.builds) == 6


def test_another_builds_push_is_as_good(bench: Bench) -> None:
    """A tag cannot be moved, so the slower of two builds fails at its push; the image is there all the same."""
    images = bench.images(1)
    (tag,) = images
    bench.codebuild.lives = [Life("FAILED", message="docker push: exit status 1")]
    bench.codebuild.on_end = lambda _: push(tag)
    assert bench.build(images) == 1


def test_an_image_that_vanishes(bench: Bench) -> None:
    """Built and not there: pods that could not start are not enqueued."""
    bench.codebuild.on_end = lambda _: None
    with pytest.raises(ImageBuildError, match="task0: its image was built, and then deleted by somebody"):
        bench.build(bench.images(1))


def test_the_accounts_limit_is_kept(bench: Bench) -> None:
    """Two builds at once: the others wait until one has ended, which is told."""
    bench.codebuild.most_active = 2
    images = bench.images(5)
    assert bench.build(images) == 5
    assert len(bench.codebuild.builds) == 5
    assert bench.watcher.counts[0].unbegun == 3
    assert bench.watcher.counts[-1].unbegun == 0
    assert bench.codebuild.requests["StartBuild"] > 5, "CodeBuild refused some, and was asked again"


def test_an_account_without_builds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As new ones are: the quota is named at once. One that others use up is waited for, and not for ever."""
    bench.codebuild.most_active = 0
    with pytest.raises(NoBuildsError, match=r"more than 0 builds.*codebuild/quotas"):
        bench.build(bench.images(1))
    bench.codebuild.most_active = 1
    bench.codebuild.lives = [Life(never_ends=True)]
    Builder.of(ACCOUNT).begin(PROJECT, [{"TAG": "another"}])
    monkeypatch.setattr(many, "ROOM_SECONDS", 0.2)
    with pytest.raises(BuildLimitError, match="more than 1 builds"):
        bench.build(bench.images(1))


def test_throttling_and_lost_answers_are_borne(bench: Bench) -> None:
    """Of whichever request, and no build is begun twice."""
    bench.codebuild.throttled.update(StartBuild=1, BatchGetBuilds=1, ListBuildsForProject=1)
    bench.codebuild.unanswered["StartBuild"] = 1
    assert bench.build(bench.images(2)) == 2
    assert len(bench.codebuild.builds) == 2
    assert +bench.codebuild.throttled == {}


def test_after_ctrl_c_the_same_command_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds are left to themselves, which is said; the next run joins them and starts what there was no room for."""
    images = bench.images(3)
    bench.codebuild.most_active = 2

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.watcher, "progressed", interrupt)
        with pytest.raises(InterruptedBuildsError, match=r"goes on with .* the same command takes them up"):
            bench.build(images)
    assert len(bench.codebuild.builds) == 2
    assert bench.build(images) == 3
    assert len(bench.codebuild.builds) == 3


def test_builds_are_joined_beyond_a_hundred(bench: Bench) -> None:
    """A page of CodeBuild's list has a hundred; those under way are found on the pages behind it."""
    wanted = [{"TAG": str(number)} for number in range(230)]
    bench.codebuild.most_active = len(wanted)
    bench.codebuild.lives = [Life(never_ends=True)] * len(wanted)
    builder = Builder.of(ACCOUNT)
    first = builder.begin(PROJECT, wanted)
    bench.codebuild.forget_tokens()
    assert builder.begin(PROJECT, wanted) == first
    assert len(bench.codebuild.builds) == len(wanted)


def test_a_build_that_ends_meanwhile_is_taken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another producer's goes on when this one looks, and has ended when this one would begin: none is begun."""
    images = bench.images(1)
    (tag,) = images
    builder = Builder.of(ACCOUNT)
    (other,) = builder.begin(PROJECT, [{"TAG": tag}])
    bench.codebuild.forget_tokens()

    def write_slowly(directory: Path, archive: Path) -> None:
        follow(builder, [other], on_look=lambda _: None)
        write_context(directory, archive)

    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(building, "write_context", write_slowly)
    assert bench.build(images) == 1
    assert [build.id for build in bench.codebuild.builds] == [other]


def test_a_directory_that_cannot_be_read(bench: Bench) -> None:
    """Is named with its tasks, before anything is built."""
    with pytest.raises(UsageError, match=r"lost: the environment .*gone cannot be read"):
        bench.build({"0" * 32: ImageSource(bench.directory / "gone", ("lost",))})
    assert bench.codebuild.builds == []


def test_two_threads_at_once_build_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see that nothing is built and ask at the same moment: one build for each image, and both have them."""
    both, recent, images = Barrier(2, timeout=30), Builder.recent, bench.images(PLATFORMS)
    met: list[int] = []

    def together(self: Builder, project: str) -> list[Build]:
        found = recent(self, project)
        if len(met) < 2:
            met.append(1)
            both.wait()
        return found

    monkeypatch.setattr(Builder, "recent", together)
    with ThreadPoolExecutor(2) as pool:
        made = [each.result() for each in [pool.submit(bench.build, images), pool.submit(bench.build, images)]]
    assert made == [PLATFORMS, PLATFORMS]
    assert len(bench.codebuild.builds) == PLATFORMS


COMMAND = """
from harbor_aws.infra.builds import many
many.LOOK_SECONDS = 0.2
from harbor_aws.producer import cli
cli.main()
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_hundred_tasks_of_seven_environments(bench: Bench) -> None:
    """Two processes enqueue them at once: seven builds in all, and both jobs are in the queue."""
    for number in range(100):
        make_task(bench.directory / "dataset", f"t{number:03}", toml="", files=dockerfile(number % PLATFORMS))
    arguments = ["enqueue", "dataset", "-a", "nop", "--stack", bench.stack.name, "--job-name"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments, job],
            cwd=bench.directory,
            env={**os.environ, "HARBOR_TELEMETRY": "0", "HOME": str(bench.directory / job)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for job in ("one", "two")
    ]
    for process in processes:
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        assert "100 trials of 100 tasks are in the queue" in printed
    tags = [build.variables["TAG"] for build in bench.codebuild.builds]
    assert len(tags) == len(set(tags)) == PLATFORMS
    assert Queue.trials(bench.stack).counts().total == 200


@pytest.fixture
def older(bench: Bench) -> Stack:
    """The stack as an older version deployed it, without a builder."""
    stack = bench.stack.model_copy(update={"image_builder": "none", "image_builder_project": None})
    stack_file(stack.name).write_text(stack.model_dump_json())
    return stack


def enqueue_quietly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """A task with a Dockerfile, by the command; its exit code."""
    make_task(bench.directory / "dataset", "built", toml="", files=dockerfile(1))
    arguments = ["enqueue", str(bench.directory / "dataset"), "-a", "nop", "--stack", bench.stack.name, "--quiet"]
    monkeypatch.setattr("sys.argv", ["harbor-aws", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_without_a_builder_what_is_missing_is_refused(
    bench: Bench, older: Stack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its trials would all die: the tasks are named, what to do is said, and nothing is in queue or bucket."""
    assert enqueue_quietly(bench, monkeypatch) == 2
    said = capfd.readouterr().err
    assert f"of 1 image(s) 1 are not in {older.image_repository}" in said
    assert f"{environment_content_hash(bench.directory / 'dataset' / 'built' / 'environment')}: built" in said
    assert f"harbor-aws deploy --stack {older.name}" in said
    assert Queue.trials(older).counts().total == 0
    assert "Contents" not in s3_client(ACCOUNT).list_objects_v2(Bucket=older.bucket, Prefix="jobs/")


def test_without_a_builder_what_is_there_is_enqueued(
    bench: Bench, older: Stack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Somebody pushed the image by hand."""
    task = make_task(bench.directory / "same", "built", toml="", files=dockerfile(1))
    push(environment_content_hash(task / "environment"))
    assert not enqueue_quietly(bench, monkeypatch), capfd.readouterr().err
    assert Queue.trials(older).counts().total == 1


def test_many_missing_images_are_not_all_named(bench: Bench, older: Stack) -> None:
    """The first ones are, and how many more there are."""
    images = {f"{number:032}": ImageSource(bench.directory, (f"task{number}",)) for number in range(25)}
    with pytest.raises(UsageError) as caught:
        require_built(older, images)
    lines = str(caught.value).splitlines()
    assert len(lines) == 23
    assert lines[20:22] == [f"  {19:032}: task19", "  and 5 more"]


def test_a_repository_that_cannot_be_asked_is_told_of(
    bench: Bench, older: Stack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that is not ECR's, such as a cluster of one's own has: jobs are sent, and --quiet hides no warning."""
    elsewhere = older.model_copy(update={"image_repository": "registry.example/environments"})
    stack_file(elsewhere.name).write_text(elsewhere.model_dump_json())
    assert not enqueue_quietly(bench, monkeypatch)
    assert "This stack builds no images: 1 must be in registry.example/environments" in capfd.readouterr().err
    assert Queue.trials(elsewhere).counts().total == 1


def test_nothing_is_enqueued_when_an_image_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command names what failed, and neither queue nor plan has anything of the job."""
    make_task(bench.directory / "dataset", "broken", toml="", files=dockerfile(1))
    bench.codebuild.lives = [Life("FAILED", message="exit status 1")]
    bench.printed = ["#5 ERROR: no matching distribution"]
    monkeypatch.setattr(
        "sys.argv",
        ["harbor-aws", "enqueue", str(bench.directory / "dataset"), "-a", "nop", "--stack", bench.stack.name],
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr().err
    assert ended.value.code == 1
    assert "1 of 1 images are not there. CodeBuild builds them" in said
    assert "Not built: the image of broken" in said
    assert "#5 ERROR: no matching distribution" in said
    assert Queue.trials(bench.stack).counts().total == 0
    assert "Contents" not in s3_client(ACCOUNT).list_objects_v2(Bucket=bench.stack.bucket, Prefix="jobs/")
