"""The policies of the template against the calls that the code really makes: none too few, none too many."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError
from cfnlint.decode import decode_str
from tests.integration.aws_calls import CallRecorder, Need, grants, recorded_calls, refused, unused
from tests.integration.codebuild_stub import Life, codebuild_stub
from tests.integration.moto_account import UNKNOWN_TO_MOTO, moto_account, use_account
from tests.integration.moto_stack import REGION
from tests.integration.producer_fakes import FakeWorker
from tests.tiny_tasks import make_task
from tests.unit.worker.trial_fakes import MemoryPods

from harbor_aws.infra import aws
from harbor_aws.infra.builds import many
from harbor_aws.infra.cluster import AccessRefusedError
from harbor_aws.infra.deploy import follow
from harbor_aws.infra.deploy.cluster_objects import EksObjects
from harbor_aws.infra.deploy.parameters import StackOptions
from harbor_aws.infra.deploy.provision import Provisioner
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.deploy.worker_image import BuiltImages
from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.layout import (
    PLAN_NAME,
    attempt_key,
    bundle_key,
    environment_context_key,
    job_key,
    result_key,
)
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import OutgoingMessage, Queue
from harbor_aws.infra.secrets.manager import SecretsManager, SecretUnavailableError
from harbor_aws.infra.secrets.reference import SecretReference
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import load_stack
from harbor_aws.producer import cli
from harbor_aws.producer.bundle import pack_task
from harbor_aws.producer.celery_message import decode, encode
from harbor_aws.producer.estimate.room import room_of
from harbor_aws.producer.planfile import PlannedTrial, dump_plan
from harbor_aws.producer.task_images.codebuild import build_missing
from harbor_aws.producer.task_images.source import ImageBuildError, ImageSource
from harbor_aws.worker.bundles import BundleCache
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.inbox import Inbox
from harbor_aws.worker.stalls import Stalls
from harbor_aws.worker.trial import TrialRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.infra.builds.build import Build
    from harbor_aws.infra.deploy.events import Progress, StackEvent
    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.message import TrialMessage
    from harbor_aws.producer.task_images.codebuild import BuildCounts

pytestmark = [
    pytest.mark.filterwarnings(UNKNOWN_TO_MOTO),
    pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning"),  # Harbor's own
]

NAME = "permitted"
JOB = "nightly"
TRIALS = ("good", "lossy", "dead", "refused")


class Silence:
    """Watches nothing."""

    def began(self, what: str) -> None: ...

    def progressed(self, now: Progress) -> None: ...

    def waits(self, what: str) -> None: ...

    def failed(self, event: StackEvent, advice: str | None) -> None: ...


class Nobody:
    """Watches no builds."""

    def began(self, *, missing: int, total: int) -> None: ...

    def progressed(self, counts: BuildCounts) -> None: ...

    def ended(self, image: ImageSource, build: Build) -> None: ...


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CallRecorder]:
    """An account with a deployed stack, and a recorder of this process's calls."""
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.01)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with moto_account() as url:
        use_account(monkeypatch, url)
        monkeypatch.setenv("HARBOR_AWS_STACK", NAME)
        with recorded_calls() as recorder:
            Provisioner(
                Stacks.of(aws.Account(REGION)),
                name=NAME,
                region=REGION,
                zones=lambda: (f"{REGION}a", f"{REGION}b"),
                caller=lambda: "arn:aws:iam::123456789012:user/me",
                s3_prefix_list=lambda: "pl-1",
                watcher=Silence(),
                agree=lambda _: None,
                worker_images=BuiltImages(aws.Account(REGION), watcher=Silence()),
                cluster_objects=EksObjects(Silence()),
            ).deploy(StackOptions(allow_cidrs=("0.0.0.0/0",)))
            yield recorder


@pytest.fixture
def stack(recorder: CallRecorder) -> Stack:
    assert not recorder.is_recording
    return load_stack(NAME)


def policy(logical_id: str) -> dict[str, Any]:
    """A managed policy of the stack as IAM has it."""
    resources = Stacks.of(aws.Account(REGION)).resources(NAME)
    (arn,) = [physical for resource, _, physical in resources if resource == logical_id]
    iam = boto3.client("iam", region_name=REGION)
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return cast("dict[str, Any]", document)


def check(recorder: CallRecorder, logical_id: str) -> None:
    """The policy allows what was recorded, and nothing else."""
    allowed = grants(policy(logical_id))
    assert refused(allowed, recorder.needs) == [], "calls that no statement allows"
    assert unused(allowed, recorder.needs) == [], "what is allowed and no call needs"


@pytest.mark.slow
async def test_a_worker_may_do_what_it_does(recorder: CallRecorder, stack: Stack, tmp_path: Path) -> None:
    """Trials that are committed, tried again, buried and handed back, and an upload that breaks off."""
    plan(stack, tmp_path)
    with recorder.recording():
        with pytest.raises(SecretUnavailableError):  # moto has none, and IAM would have been asked all the same
            SecretsManager(stack).read(SecretReference(f"{NAME}/models", "openai"))
        await work(stack, tmp_path)
        break_off_an_upload(stack, attempt_key(JOB, "good", "01-x"), tmp_path)
    assert Queue.trials(stack).counts().total == 2  # the next attempt of one, and one handed back
    assert Queue.dead_letters(stack).counts().total == 1
    assert ObjectStore.of(stack).exists(result_key(JOB, "good"))
    check(recorder, "WorkerPolicy")


def test_a_worker_may_not_write_plans(stack: Stack) -> None:
    """Nor tasks, nor delete anything: that a message decides nothing rests on it."""
    allowed = grants(policy("WorkerPolicy"))
    bucket = f"arn:aws:s3:::{stack.bucket}"
    writes = [
        Need("s3:PutObject", f"{bucket}/{key}")
        for key in (job_key(JOB, PLAN_NAME), job_key(JOB, "config.json"), bundle_key("0" * 64))
    ]
    deletes = [Need("s3:DeleteObject", f"{bucket}/{result_key(JOB, 'good')}"), Need("s3:DeleteBucket", bucket)]
    assert set(refused(allowed, [*writes, *deletes])) == {*writes, *deletes}


@pytest.mark.slow
def test_a_producer_may_do_what_it_does(
    recorder: CallRecorder,
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """estimate, enqueue, status, fetch and every command of dlq, an image's build, and uploads that break off."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "three"):
        make_task(tmp_path / "dataset", name)

    def command(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["harbor-aws", *arguments])
        with recorder.recording(), pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        assert not ended.value.code, out + err
        return out

    command("estimate", "dataset", "-a", "nop")
    command("enqueue", "dataset", "-a", "nop", "--job-name", JOB)
    worker = FakeWorker(stack, tmp_path)
    worker.drain(limit=1)
    bury(stack, [message for _, message in worker.receive()])
    command("status")
    command("status", JOB)
    command("fetch", JOB, "-o", "jobs")
    (first, second) = json.loads(command("dlq", "list", "--json"))["letters"]
    command("dlq", "show", first["id"])
    command("dlq", "export", "letters.jsonl")
    command("dlq", "replay", first["id"])
    command("dlq", "purge", second["id"], "--yes")
    with recorder.recording():
        break_off_an_upload(stack, bundle_key("0" * 64), tmp_path)
        fail_to_build(stack, tmp_path, monkeypatch)
        ask_for_quotas(stack)
        break_off_an_upload(stack, environment_context_key("0" * 32), tmp_path)
    check(recorder, "ProducerPolicy")


def test_keda_may_do_what_it_says_it_does() -> None:
    """Its calls are its own and are not recorded: its scaler of SQS asks for this one, of the queue that it is told.

    https://keda.sh/docs/2.20/authentication-providers/aws/#using-keda-role-to-access-infrastructure
    """
    document, _ = decode_str(template_body(has_budget=True))
    role = dict(document or {})["Resources"]["KedaRole"]["Properties"]
    assert "ManagedPolicyArns" not in role
    (granted,) = role["Policies"]
    (statement,) = granted["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sqs:GetQueueAttributes")
    assert statement["Resource"] == {"Fn::GetAtt": ["TrialsQueue", "Arn"]}


def fail_to_build(stack: Stack, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that is not there, is built in vain, and whose build's log is read; moto's stack has no builder."""
    monkeypatch.setattr(many, "LOOK_SECONDS", 0.01)
    project = f"{NAME}-environments"
    task = make_task(directory, "built", toml="", files={"environment/Dockerfile": "FROM a"})
    with codebuild_stub(monkeypatch, project) as codebuild:
        codebuild.log_groups[project] = f"/harbor-aws/{NAME}/builds"
        codebuild.lives = [Life("FAILED")]
        with pytest.raises(ImageBuildError, match="ended as FAILED"):
            build_missing(
                stack.model_copy(update={"image_builder_project": project}),
                {"0" * 32: ImageSource(task / "environment", ("built",))},
                watcher=Nobody(),
            )


def ask_for_quotas(stack: Stack) -> None:
    """What estimate and enqueue ask where there is a cluster, which moto's stack has not.

    moto says that the account has no value of its own, and has no defaults, so the answer to that is given here.
    """

    def default(**_: object) -> tuple[AWSResponse, dict[str, Any]]:
        return AWSResponse("", 200, HTTPHeaders(), None), {"Quota": {"Value": 6.0}}

    events: Any = aws._session(REGION, is_emulator=False).events  # whose stubs know no answers of handlers
    events.register("before-call.service-quotas.GetAWSDefaultServiceQuota", default)
    try:
        room = room_of(stack.model_copy(update={"cluster_name": NAME}), max_vcpus=None, concurrency=None)
    finally:
        events.unregister("before-call.service-quotas.GetAWSDefaultServiceQuota", default)
    assert room.limits.account_vcpus == 6


def plan(stack: Stack, directory: Path) -> None:
    """A job of four trials in the bucket and the queue; the first is a replay, whose message is to be marked."""
    store, archive = ObjectStore.of(stack), directory / "task.tar.zst"
    task = make_task(directory, toml='version = "1.0"\n[environment]\ndocker_image = "any"\n')
    digest = pack_task(task, archive)
    store.upload(bundle_key(digest), archive)
    environments = dict(zip(TRIALS, ("Memory", "LosingPods", "LosingPods", "Refused"), strict=True))
    planned = [
        PlannedTrial(trial=trial, task="tiny", bundle=digest, trial_config=trial_config(trial, environment), attempts=3)
        for trial, environment in environments.items()
    ]
    store.put(job_key(JOB, PLAN_NAME), dump_plan(planned))
    fields = {"good": {"replay": 1}, "dead": {"attempt": 3}}
    messages = [each.message(JOB).model_copy(update=fields.get(each.trial, {})) for each in planned]
    Queue.trials(stack).send([OutgoingMessage(encode(message)) for message in messages])


def trial_config(trial: str, environment: str) -> dict[str, Any]:
    fakes = "tests.unit.worker.trial_fakes"
    return {
        "task": {"path": "/producer/tiny"},
        "trial_name": trial,
        "agent": {"import_path": f"{fakes}:IdleAgent"},
        "environment": {"import_path": f"{fakes}:{environment}Environment"},
    }


async def work(stack: Stack, directory: Path) -> None:
    """Run what is queued, as a worker's parts do."""
    inbox, store = Inbox.of(stack, slots=1), ObjectStore.of(stack)
    runner = TrialRunner(
        stack=stack,
        settings=Settings(),
        store=store,
        queue=Queue.trials(stack),
        dead_letters=Queue.dead_letters(stack),
        pods=cast("Any", MemoryPods()),
        bundles=BundleCache(store, directory=directory / "bundles"),
        stalls=Stalls(),
        worker="w1",
        directory=directory,
    )
    received = inbox.receive(10, visibility_timeout_seconds=120)
    assert len(received) == len(TRIALS)
    assert not inbox.extend({each.receipt: 120 for each in received}).lost
    for each in received:
        try:
            await runner(Delivery(decode(each.body), each.body, each.receive_count, each.message_id))
        except AccessRefusedError:
            inbox.hide(each.receipt, seconds=0)
        else:
            inbox.delete(each.receipt)


def break_off_an_upload(stack: Stack, key: str, directory: Path) -> None:
    """One so large that it goes in parts, of which S3 takes none: what was begun is given up."""

    def cut(**_: object) -> None:
        raise ConnectionClosedError(endpoint_url="s3")

    file = directory / "large"
    with file.open("wb") as large:
        large.truncate(9 * 2**20)
    events = aws._session(REGION, is_emulator=False).events
    events.register("before-call.s3.UploadPart", cut)
    try:
        with pytest.raises(TransientError):
            ObjectStore.of(stack).upload(key, file)
    finally:
        events.unregister("before-call.s3.UploadPart", cut)


def bury(stack: Stack, messages: list[TrialMessage]) -> None:
    """Make dead letters of the messages."""
    attributes = {"cause": "PodStartError", "reason": "no such image", "worker": "w1"}
    Queue.dead_letters(stack).send([OutgoingMessage(encode(message), attributes) for message in messages])
