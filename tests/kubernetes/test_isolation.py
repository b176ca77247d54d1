"""Trials without a network, in pods: run where that is so, refused where it is not, whatever the stack says."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from harbor.models.task.config import EnvironmentConfig, NetworkMode, NetworkPolicy
from harbor.models.trial.config import AgentConfig, TaskConfig, TrialConfig
from harbor.models.trial.config import EnvironmentConfig as EnvironmentOptions
from harbor.models.trial.paths import TrialPaths
from harbor.trial.trial import Trial
from tests.tiny_tasks import IMAGE_TOML, make_task

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.labels import NETWORK_LABEL, NO_NETWORK
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Isolation, KubernetesAccess, Stack, stack_file
from harbor_aws.worker import environment as environment_module
from harbor_aws.worker import network_probe, pod_spec
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.environment import FargateEnvironment
from harbor_aws.worker.network_probe import NetworkNotIsolatedError, NetworkUnclearError
from harbor_aws.worker.network_targets import NetworkTargets

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from harbor_aws.worker.pod import Pod
    from harbor_aws.worker.pod_spec import PodRequest
    from harbor_aws.worker.pods import PodKeeper

    Inside = Callable[..., None]
    RunPod = Callable[..., AbstractAsyncContextManager[Pod]]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning"),  # Harbor's own
]

IMAGE = "debian:bookworm"
CLOSED_PORT = 81
WITHOUT = NetworkPolicy(network_mode=NetworkMode.NO_NETWORK)


def stack(access: KubernetesAccess, isolation: Isolation) -> Stack:
    return Stack(
        name="local",
        region="nowhere",
        queue_url="-",
        dead_letter_queue_url="-",
        bucket="-",
        trials=access,
        isolation=isolation,
    )


@pytest.fixture
def attempt(keeper: PodKeeper, access: KubernetesAccess) -> Attempt:
    """An attempt on a stack that says that it isolates."""
    trial = f"Trial.{uuid.uuid4().hex[:8]}"
    return Attempt(
        stack=stack(access, "namespace"),
        settings=Settings(pod_start_timeout_seconds=60),
        pods=keeper,
        worker=keeper.worker,
        job="tests",
        trial=trial,
        number=1,
        attempt_id="01-abc",
    )


def make(tmp_path: Path, attempt: Attempt, *, policy: NetworkPolicy = WITHOUT) -> FargateEnvironment:
    (tmp_path / "environment").mkdir(exist_ok=True)
    token = current_attempt.set(attempt)
    try:
        return FargateEnvironment(
            environment_dir=tmp_path / "environment",
            environment_name="task",
            session_id=f"{attempt.trial}__env",
            trial_paths=TrialPaths(trial_dir=tmp_path / "trial"),
            task_env_config=EnvironmentConfig(docker_image=IMAGE, cpus=1, memory_mb=256),
            network_policy=policy,
        )
    finally:
        current_attempt.reset(token)


@pytest.fixture(autouse=True)
def inside(monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Has the probe try one place alone, at first the cluster's API, and a name for which no server is asked.

    Never a public one: should isolation be broken, nothing leaves this machine for it.
    """

    def only(host: str, port: int, name: str = "localhost") -> None:
        targets = NetworkTargets(places=((host, port),), name=name)
        monkeypatch.setattr(environment_module, "network_targets", lambda isolation, *, api: targets)

    def api_alone(isolation: Isolation, *, api: str) -> NetworkTargets:
        parts = urlsplit(api)
        assert parts.hostname == "127.0.0.1"
        return NetworkTargets(places=((parts.hostname, parts.port or 443),), name="localhost")

    monkeypatch.setattr(environment_module, "network_targets", api_alone)
    return only


@pytest_asyncio.fixture(loop_scope="module")
async def unheeding(keeper: PodKeeper) -> None:
    if "harbor-aws" in (await keeper.cluster.request("GET", "/version"))["gitVersion"]:
        pytest.skip("the embedded cluster isolates pods")


@pytest_asyncio.fixture(loop_scope="module")
async def embedded(keeper: PodKeeper) -> None:
    if "harbor-aws" not in (await keeper.cluster.request("GET", "/version"))["gitVersion"]:
        pytest.skip("only the embedded cluster isolates pods here")


@pytest.mark.usefixtures("embedded")
async def test_a_trial_without_a_network_runs(
    tmp_path: Path, access: KubernetesAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Harbor runs it from its beginning to its reward, in a pod that has nothing but a loopback interface."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HARBOR_AWS_STACK", "local")
    stack_file("local").parent.mkdir(parents=True)
    stack_file("local").write_text(stack(access, "namespace").model_dump_json())
    counts = "#!/bin/bash\ngrep -c : /proc/net/dev > /logs/verifier/reward.txt\n"
    task = make_task(
        tmp_path, toml=IMAGE_TOML + 'network_mode = "no-network"\ncpus = 1\n', files={"tests/test.sh": counts}
    )
    trial = await Trial.create(
        TrialConfig(
            task=TaskConfig(path=task),
            trials_dir=tmp_path / "trials",
            agent=AgentConfig(name="oracle"),
            environment=EnvironmentOptions(import_path="harbor_aws.worker.environment:FargateEnvironment"),
        )
    )
    result = await trial.run()
    assert result.exception_info is None
    assert result.verifier_result is not None
    assert result.verifier_result.rewards == {"reward": 1.0}  # interfaces


@pytest.mark.usefixtures("embedded")
async def test_a_pod_that_is_not_isolated_runs_nothing(
    tmp_path: Path,
    attempt: Attempt,
    keeper: PodKeeper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where isolation is broken the attempt ends, for good, with what was reached, and before any of the task's."""
    api = urlsplit(keeper.cluster.url)
    monkeypatch.setattr(pod_spec, "NO_NETWORK_LABELS", {})
    environment = make(tmp_path, attempt)
    with pytest.raises(NetworkNotIsolatedError, match=rf"it reached 127\.0\.0\.1:{api.port}") as caught:
        await environment.start(force_build=False)
    assert attempt.failures == [caught.value]
    with pytest.raises(NetworkNotIsolatedError):
        await environment.exec("true")
    await environment.stop(delete=True)
    assert isinstance(caught.value, PermanentError)


@pytest.mark.usefixtures("embedded")
async def test_a_pod_that_is_too_slow_to_say_runs_nothing(
    tmp_path: Path, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt ends, for another one, before any of the task's runs."""
    monkeypatch.setattr(network_probe, "network_script", lambda *_, **__: "echo interfaces lo eth0")
    environment = make(tmp_path, attempt)
    with pytest.raises(NetworkUnclearError, match="the probe did not come to its end") as caught:
        await environment.start(force_build=False)
    assert attempt.failures == [caught.value]
    with pytest.raises(NetworkUnclearError):
        await environment.exec("true")
    await environment.stop(delete=True)
    assert not isinstance(caught.value, PermanentError)


@pytest.mark.usefixtures("embedded")
async def test_an_isolated_pod(tmp_path: Path, attempt: Attempt, keeper: PodKeeper) -> None:
    """It says so by its label, it is confirmed by nothing that is tried, and commands run in it."""
    environment = make(tmp_path, attempt)
    assert environment.capabilities.disable_internet
    before = keeper.cluster.requests["EXEC"]
    await environment.start(force_build=False)
    (pod,) = (await keeper.cluster.list_pods(selector=f"{NETWORK_LABEL}={NO_NETWORK}"))["items"]
    assert pod["metadata"]["name"] == attempt.pod_names[0]
    assert (await environment.exec("grep -c : /proc/net/dev")).stdout == "1\n"
    await environment.stop(delete=True)
    assert keeper.cluster.requests["EXEC"] - before == 3  # the probe, directories, the command


@pytest.mark.usefixtures("unheeding")
async def test_a_label_that_nobody_heeds(
    tmp_path: Path, attempt: Attempt, keeper: PodKeeper, run_pod: RunPod, inside: Inside
) -> None:
    """On a cluster that knows nothing of it the pod has the label, and reaches its neighbour: the trial is not run."""
    async with run_pod(keeper, IMAGE) as neighbour:
        found = await keeper.cluster.request("GET", f"{keeper.cluster.pods_path}/{neighbour.name}")
        address = found["status"]["podIP"]
        inside(address, CLOSED_PORT)
        environment = make(tmp_path, attempt)
        with pytest.raises(NetworkNotIsolatedError, match=rf"it was refused by {address}:{CLOSED_PORT}"):
            await environment.start(force_build=False)
        labelled = await keeper.cluster.list_pods(selector=f"{NETWORK_LABEL}={NO_NETWORK}")
        assert [each["metadata"]["name"] for each in labelled["items"]] == attempt.pod_names
        await environment.stop(delete=True)


@pytest.mark.usefixtures("unheeding")
async def test_a_pod_with_an_interface_that_leads_nowhere(tmp_path: Path, attempt: Attempt, inside: Inside) -> None:
    """It is confirmed by what was tried in vain, as it is behind a security group."""
    inside("203.0.113.1", 443, "name.invalid")  # nobody's (RFC 5737), and these pods have no route to it
    environment = make(tmp_path, attempt)
    await environment.start(force_build=False)
    assert (await environment.exec("grep -c : /proc/net/dev")).stdout == "2\n"
    await environment.stop(delete=True)


async def test_selectors_part_the_pods(keeper: PodKeeper, make_request: Callable[..., PodRequest]) -> None:
    """The cluster takes a pod without a name server, and its selectors, as the security group policies use them, select
    each pod once."""
    requests = [make_request(keeper, IMAGE), replace(make_request(keeper, IMAGE), has_network=False)]
    names = [(await keeper.create(each)).name for each in requests]
    try:
        for operator, name in (("notin", names[0]), ("in", names[1])):
            found = await keeper.cluster.list_pods(selector=f"{NETWORK_LABEL} {operator} ({NO_NETWORK})")
            assert {each["metadata"]["name"] for each in found["items"]} & set(names) == {name}
        spec = (await keeper.cluster.request("GET", f"{keeper.cluster.pods_path}/{names[1]}"))["spec"]
        assert (spec["dnsPolicy"], spec["dnsConfig"]) == ("None", {"nameservers": ["127.0.0.1"]})
    finally:
        for name in names:
            await keeper.delete(name)


async def test_a_stack_that_does_not_isolate(tmp_path: Path, attempt: Attempt) -> None:
    """The environment does not claim it, so Harbor refuses the task; one that has the network it runs as ever."""
    attempt.stack = attempt.stack.model_copy(update={"isolation": "none"})
    with pytest.raises(ValueError, match=re.escape("network_mode='no-network' is not supported by harbor-aws")):
        make(tmp_path, attempt)
    assert not make(tmp_path, attempt, policy=NetworkPolicy()).capabilities.disable_internet
