"""The workers' image on its way into the stack's repository: moto's S3, ECR and logs, and a CodeBuild with a life."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.integration.codebuild_stub import Life, codebuild_stub
from tests.integration.moto_account import moto_account, use_account
from tests.integration.moto_stack import REGION
from tests.unit.infra.deploy import event_streams
from tests.unit.infra.deploy.fake_cloudformation import OUTPUTS, FakeCloudFormation
from tests.unit.infra.deploy.watching import Memory, stacks_on

from harbor_aws.infra.aws import Account, codebuild_client, ecr_client, logs_client, s3_client
from harbor_aws.infra.builds import follow as following
from harbor_aws.infra.builds.builder import MOST_PER_REQUEST, Builder, BuildLimitError
from harbor_aws.infra.builds.failure import BuildBrokenOffError, BuildFailedError
from harbor_aws.infra.builds.follow import follow
from harbor_aws.infra.deploy import follow as stack_following
from harbor_aws.infra.deploy.cluster_objects import EksObjects
from harbor_aws.infra.deploy.follow import InterruptedWatchError
from harbor_aws.infra.deploy.manifests import manifests
from harbor_aws.infra.deploy.manifests.plan import plan_from_outputs
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.deploy.worker_image import BuiltImages, WorkerImage
from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.layout import worker_context_key
from harbor_aws.infra.registry import ecr_image, ecr_image_exists
from harbor_aws.infra.worker_image.context import worker_context
from harbor_aws.producer.cli.app import load_command
from harbor_aws.producer.cli.errors import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.integration.codebuild_stub import CodeBuildStub, StubBuild

    from harbor_aws.infra.stack import Stack

PROJECT = "team-worker-builder"
ACCOUNT = Account(REGION)
AGAIN = "harbor-aws deploy --stack team"
TAG = worker_context().tag


class Bench:
    """What a deployed stack has of images, and those who ask for one."""

    def __init__(self, codebuild: CodeBuildStub) -> None:
        self.codebuild = codebuild
        self.watcher = Memory()
        self.printed: list[str] = []
        codebuild.on_end = self.end
        s3_client(ACCOUNT).create_bucket(Bucket="team-results")
        repository = ecr_client(ACCOUNT).create_repository(
            repositoryName="team/worker", imageTagMutability="IMMUTABLE"
        )["repository"]
        self.image = f"{repository['repositoryUri']}:{TAG}"
        self.outputs = {
            **OUTPUTS,
            "BucketName": "team-results",
            "WorkerRepositoryUri": repository["repositoryUri"],
            "WorkerBuilderProject": PROJECT,
            "WorkerRoleArn": "arn:aws:iam::1:role/worker",
            "TrialsSecurityGroupId": "sg-1",
            "PodsLogGroupName": "/harbor-aws/team/pods",
            "MaxVcpus": "512",
        }

    def end(self, build: StubBuild) -> None:
        """What the commands of a build do: print, and push what they built unless they failed."""
        logs, now = logs_client(ACCOUNT), int(time.time() * 1000)
        events = [{"timestamp": now + number, "message": f"{line}\n"} for number, line in enumerate(self.printed)]
        if events:
            logs.create_log_group(logGroupName=build.log_group)
            logs.create_log_stream(logGroupName=build.log_group, logStreamName=build.log_stream)
            logs.put_log_events(
                logGroupName=build.log_group,
                logStreamName=build.log_stream,
                logEvents=events,  # type: ignore[arg-type]  # a list of dicts is one of TypedDicts
            )
        if build.has_succeeded:
            push(build.variables["TAG"])

    def ensure(self, outputs: Mapping[str, str] | None = None) -> WorkerImage | None:
        said = self.outputs if outputs is None else outputs
        stack = stack_from_outputs("team", region=REGION, outputs=said)
        return BuiltImages(ACCOUNT, watcher=self.watcher).ensure(stack, said, again=AGAIN)


def push(tag: str) -> None:
    manifest = {"schemaVersion": 2, "config": {"digest": f"sha256:{uuid4().hex * 2}"}, "layers": []}
    ecr_client(ACCOUNT).put_image(
        repositoryName="team/worker",
        imageTag=tag,
        imageManifest=json.dumps(manifest),
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
    )


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account, where nobody waits."""
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)
    with moto_account() as url:
        use_account(monkeypatch, url)
        yield


@pytest.fixture
def bench(account: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with codebuild_stub(monkeypatch, PROJECT) as codebuild:
        yield Bench(codebuild)


def test_an_image_is_built_once_for_each_content(bench: Bench) -> None:
    """What it is built from is in the bucket, its phases are told, and a second run finds it and builds nothing."""
    assert bench.ensure() == WorkerImage(bench.image, is_new=True)
    (build,) = bench.codebuild.builds
    context = worker_context()
    assert build.variables == {"DIGEST": context.digest, "TAG": context.tag}
    uploaded = s3_client(ACCOUNT).get_object(Bucket="team-results", Key=worker_context_key(context.digest))
    assert uploaded["Body"].read() == context.archive
    assert bench.watcher.begun == [f"Building the workers' image {bench.image} (CodeBuild, some 5 minutes)"]
    phases = [line.split()[4] for line in bench.watcher.waited]
    assert phases[:3] == ["QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE"]
    assert phases[-1] == "COMPLETED"
    assert bench.ensure() == WorkerImage(bench.image, is_new=False)
    assert len(bench.codebuild.builds) == 1
    assert bench.codebuild.requests["ListBuildsForProject"] == 1


def test_another_content_is_another_image(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade it is built beside the old one, which stays for those who run it."""
    bench.ensure()
    newer = replace(worker_context(), digest="f" * 64, tag="9.9.9-ffffffffffff")
    for module in ("harbor_aws.infra.deploy.worker_image", "harbor_aws.infra.deploy.manifests.plan"):
        monkeypatch.setattr(f"{module}.worker_context", lambda: newer)
    made = bench.ensure()
    assert made
    assert made.name.endswith(":9.9.9-ffffffffffff")
    assert [build.variables["TAG"] for build in bench.codebuild.builds] == [TAG, newer.tag]
    images = ecr_client(ACCOUNT).describe_images(repositoryName="team/worker")["imageDetails"]
    assert sorted(tag for image in images for tag in image["imageTags"]) == sorted([TAG, newer.tag])


def test_a_failed_build_says_why(bench: Bench) -> None:
    """CodeBuild's message, the end of the log and where it is, at once; the next run builds anew."""
    bench.codebuild.lives = [
        Life("FAILED", message="Error while executing command: docker build. Reason: exit status 1")
    ]
    bench.printed = [
        *(f"#7 line {number}" for number in range(500)),
        "#7 ERROR: no matching distribution",
        "[Container] 2026/11/22 12:00:00.000000 Phase complete: BUILD State: FAILED",
    ]
    with pytest.raises(BuildFailedError) as caught:
        bench.ensure()
    lines = str(caught.value).splitlines()
    (build,) = bench.codebuild.builds
    assert lines[0].startswith(
        f"The build of the workers' image ended as FAILED in phase BUILD ({build.id}): Error while"
    )
    assert lines[2:22] == [
        *(f"  #7 line {number}" for number in range(481, 500)),
        "  #7 ERROR: no matching distribution",
    ]
    assert build.log_stream in lines[22]
    bench.printed = []
    assert bench.ensure() == WorkerImage(bench.image, is_new=True)
    assert len(bench.codebuild.builds) == 2


def test_a_log_that_cannot_be_read_hides_no_failure(bench: Bench) -> None:
    """It is told all the same, with where the log should be."""
    bench.codebuild.lives = [Life("FAILED", message="exit status 1")]
    with pytest.raises(BuildFailedError, match="exit status 1") as caught:
        bench.ensure()
    assert "could not be read" in str(caught.value)
    assert bench.codebuild.builds[0].log_stream in str(caught.value)


@pytest.mark.parametrize(
    ("life", "words"),
    [
        (Life("FAULT", in_phase="PROVISIONING"), "CodeBuild itself failed"),
        (Life("STOPPED"), "Somebody stopped it"),
        (Life("TIMED_OUT", in_phase="QUEUED"), "It has no log"),
    ],
)
def test_a_build_that_broke_off(bench: Bench, life: Life, words: str) -> None:
    """Is worth another run, and says so."""
    bench.codebuild.lives = [life]
    with pytest.raises(BuildBrokenOffError, match=words):
        bench.ensure()
    assert bench.ensure() == WorkerImage(bench.image, is_new=True)


def test_an_answer_that_was_lost_builds_once(bench: Bench) -> None:
    """StartBuild is carried out and its connection cut: the same request again has the same build."""
    bench.codebuild.unanswered["StartBuild"] = 1
    assert bench.ensure() == WorkerImage(bench.image, is_new=True)
    assert bench.codebuild.requests["StartBuild"] == 2
    assert len(bench.codebuild.builds) == 1


def test_throttling_is_borne(bench: Bench) -> None:
    """Of whichever request."""
    bench.codebuild.throttled.update(StartBuild=1, BatchGetBuilds=2, ListBuildsForProject=1)
    assert bench.ensure() == WorkerImage(bench.image, is_new=True)
    assert +bench.codebuild.throttled == {}


def test_after_ctrl_c_the_same_command_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build is left to itself, which is said with the command; that one finds it and starts no other."""

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.watcher, "waits", interrupt)
        with pytest.raises(InterruptedWatchError, match=f"`{AGAIN}` takes it up"):
            bench.ensure()
    assert bench.ensure() == WorkerImage(bench.image, is_new=True)
    assert len(bench.codebuild.builds) == 1


def test_two_at_once_build_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see that nothing is built and ask for it at the same moment: one build, and both have it."""
    both, recent = Barrier(2, timeout=30), Builder.recent

    def together(self: Builder, project: str) -> Any:
        found = recent(self, project)
        both.wait()
        return found

    monkeypatch.setattr(Builder, "recent", together)
    with ThreadPoolExecutor(2) as pool:
        made = [each.result() for each in [pool.submit(bench.ensure), pool.submit(bench.ensure)]]
    assert made == [WorkerImage(bench.image, is_new=True)] * 2
    assert bench.codebuild.requests["StartBuild"] == 2
    assert len(bench.codebuild.builds) == 1


def test_another_builds_push_is_as_good(bench: Bench) -> None:
    """A tag cannot be moved, so the slower of two builds fails at its push; the image is there all the same."""
    bench.codebuild.lives = [Life("FAILED", message="docker push: exit status 1")]
    bench.codebuild.on_end = lambda _: push(TAG)
    assert bench.ensure() == WorkerImage(bench.image, is_new=True)


def test_an_image_that_vanishes(bench: Bench) -> None:
    """Built and not there: workers that could not start are not left to themselves."""
    bench.codebuild.on_end = lambda _: None
    with pytest.raises(PermanentError, match="deleted by somebody"):
        bench.ensure()


def test_an_account_without_builds(bench: Bench) -> None:
    """As new ones are: the quota is named, and that it is to be raised."""
    bench.codebuild.most_active = 0
    with pytest.raises(BuildLimitError, match=r"more than 0 builds.*codebuild/quotas"):
        bench.ensure()


def test_an_older_stack(bench: Bench) -> None:
    """One without a builder is brought up to date by deploy, which is said."""
    older = {name: value for name, value in bench.outputs.items() if name != "WorkerBuilderProject"}
    with pytest.raises(UsageError, match="WorkerBuilderProject"):
        bench.ensure(older)


def test_builds_beyond_a_hundred(bench: Bench) -> None:
    """A request for each hundred; those that failed are among the others, each in its place."""
    wanted = [{"TAG": str(number)} for number in range(MOST_PER_REQUEST + 20)]
    bench.codebuild.most_active = len(wanted)
    bench.codebuild.on_end = lambda _: None
    bench.codebuild.lives = [Life("FAILED"), *[Life()] * (len(wanted) - 1)]
    builder = Builder.of(ACCOUNT)
    ids = builder.begin(PROJECT, wanted)
    builds = follow(builder, ids, on_look=lambda _: None)
    assert [build.id for build in builds] == ids
    assert [build.variables for build in builds] == wanted
    assert [build.has_succeeded for build in builds] == [False, *[True] * (len(wanted) - 1)]
    assert len(builder.recent(PROJECT)) == MOST_PER_REQUEST


def test_builds_that_are_under_way_are_joined(bench: Bench) -> None:
    """Each by its own variables; what is new is started."""
    bench.codebuild.lives = [Life(never_ends=True), Life(never_ends=True)]
    builder = Builder.of(ACCOUNT)
    first = builder.begin(PROJECT, [{"TAG": "a"}, {"TAG": "b"}])
    second = builder.begin(PROJECT, [{"TAG": "b"}, {"TAG": "c"}, {"TAG": "a"}])
    assert [second[0], second[2]] == [first[1], first[0]]
    assert len(bench.codebuild.builds) == 3


def test_a_build_on_moto(account: None) -> None:
    """Another's idea of the same API: started, followed, done; an unknown project is refused."""
    codebuild_client(ACCOUNT).create_project(
        name=PROJECT,
        source={"type": "S3", "location": "team-results/x.zip"},  # moto knows no other way
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_MEDIUM"},
        serviceRole="arn:aws:iam::123456789012:role/service-role/builder",
    )
    builder = Builder.of(ACCOUNT)
    (build,) = follow(builder, builder.begin(PROJECT, [{"TAG": "a"}]), on_look=lambda _: None)
    assert (build.has_succeeded, build.phase) == (True, "COMPLETED")
    assert [each.id for each in builder.recent(PROJECT)] == [build.id]
    with pytest.raises(PermanentError, match="start a build of another"):
        builder.start("another", {}, token="t")


def test_images_that_are_there(bench: Bench) -> None:
    """Or not, in a repository or without one."""
    image = ecr_image(bench.image)
    assert image
    assert not ecr_image_exists(image)
    push(TAG)
    assert ecr_image_exists(image)
    assert not ecr_image_exists(replace(image, repository="team/nothing"))


def test_deploy_builds_before_it_points_the_workers_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command itself: a build that fails leaves the cluster as it was; the next run builds and applies."""
    fake = FakeCloudFormation(event_streams.CREATION)
    fake.outputs, fake.has_changes = bench.outputs, False
    applied = []

    def apply(_: EksObjects, stack: Stack, outputs: Mapping[str, str]) -> None:
        objects = manifests(plan_from_outputs(stack, outputs))
        (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
        applied.append(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    monkeypatch.setattr(stack_following, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(EksObjects, "apply", apply)
    monkeypatch.setattr(Stacks, "of", lambda _: stacks_on(fake))

    def deploy(*arguments: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["deploy", "--stack", event_streams.NAME, "--yes", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(load_command("deploy", place="harbor_aws.producer.cli.deploy:deploy"), name="deploy")
        out, err = capfd.readouterr()
        assert (ended.value.code or 0) == code, out + err
        return out, err

    bench.codebuild.lives, bench.printed = [Life("FAILED", message="exit status 1")], ["#7 ERROR: no such package"]
    _, err = deploy(code=1)
    assert "#7 ERROR: no such package" in err
    assert applied == []
    bench.printed = []
    out, err = deploy()
    assert applied == [bench.image]
    assert "Building the workers' image" in err
    assert f"Its workers run {bench.image}, which was built for it." in out
    assert "harbor-aws scale" in out
    said = json.loads(deploy("--json")[0])
    assert (said["worker_image"], said["is_image_new"]) == (bench.image, False)
    assert len(bench.codebuild.builds) == 2
    fake.outputs["WorkerImage"] = "registry.example/mine:1"
    deploy("--worker-image", "registry.example/mine:1")
    assert fake.parameters["WorkerImage"] == "registry.example/mine:1"
    assert applied[-1] == "registry.example/mine:1"
