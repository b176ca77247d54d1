"""What a deployed stack has in its cluster."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.infra.deploy.fake_cloudformation import OUTPUTS

from harbor_aws.infra.deploy.manifests import manifests
from harbor_aws.infra.deploy.manifests.logs import LONGEST_CONFIGURATION
from harbor_aws.infra.deploy.manifests.plan import plan_from_outputs
from harbor_aws.infra.deploy.manifests.workers import ALIVE_SECONDS
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.prices import WORKER
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.fargate import size_for
from harbor_aws.infra.stack import Stack, load_stack
from harbor_aws.worker.drain import CLEANUP_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

MORE = {
    **OUTPUTS,
    "WorkerRepositoryUri": "1.dkr.ecr.eu-west-1.amazonaws.com/team/worker",
    "WorkerRoleArn": "arn:aws:iam::1:role/worker",
    "TrialsSecurityGroupId": "sg-1",
    "PodsLogGroupName": "/harbor-aws/team/pods",
    "MaxVcpus": "512",
}


def made(outputs: dict[str, str] = MORE) -> dict[str, Any]:
    """Every object, by kind; of namespaces and ConfigMaps the kind is followed by the name."""
    stack = stack_from_outputs("team", region="eu-west-1", outputs=outputs)
    objects = manifests(plan_from_outputs(stack, outputs))
    many = {"Namespace", "ConfigMap"}
    return {
        f"{each['kind']} {each['metadata']['name']}" if each["kind"] in many else each["kind"]: each for each in objects
    }


def test_all_there_is() -> None:
    """Each in an order in which it can be made, with the stack's labels."""
    objects = made()
    assert list(objects) == [
        "Namespace t", "Namespace w", "Namespace aws-observability", "ServiceAccount", "Role", "RoleBinding",
        "ResourceQuota", "SecurityGroupPolicy", "ConfigMap aws-logging", "ConfigMap harbor-aws-stack",
        "PodDisruptionBudget", "Deployment",
    ]  # fmt: skip
    assert all(each["metadata"]["labels"]["harbor-aws/stack"] == "team" for each in objects.values())


def test_values_of_the_stack() -> None:
    """Role, group, quota and logs are those that the template made."""
    objects = made()
    assert objects["ServiceAccount"]["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == MORE["WorkerRoleArn"]
    assert objects["SecurityGroupPolicy"]["spec"]["securityGroups"]["groupIds"] == ["sg-1"]
    assert objects["ResourceQuota"]["spec"]["hard"] == {"requests.cpu": "512"}
    assert "log_group_name /harbor-aws/team/pods\n" in objects["ConfigMap aws-logging"]["data"]["output.conf"]


def test_the_template_trusts_this_service_account() -> None:
    """The role's trust names namespace and account, which are made elsewhere."""
    account = made()["ServiceAccount"]["metadata"]
    template = template_body(has_budget=True)
    assert f"system:serviceaccount:harbor-aws:{account['name']}" in template
    assert "WorkersNamespace: { Value: harbor-aws }" in template


def test_the_logging_configuration_is_short_enough() -> None:
    """Fargate refuses a longer one, and then writes no logs at all."""
    data = made()["ConfigMap aws-logging"]["data"]
    assert sum(map(len, [*data, *data.values()])) < LONGEST_CONFIGURATION


def test_pods_are_admitted_by_their_namespaces() -> None:
    """Trials by baseline; workers by restricted, whose rules for a pod these are."""
    objects = made()
    labels = {name: objects[f"Namespace {name}"]["metadata"]["labels"] for name in ("t", "w")}
    assert labels["t"]["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["w"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    assert {next(iter(set(each) - {"name"})) for each in pod["volumes"]} <= {"emptyDir", "configMap", "secret"}


def test_a_worker_gets_the_size_that_the_bill_says() -> None:
    """No larger one by what Fargate adds."""
    (container,) = made()["Deployment"]["spec"]["template"]["spec"]["containers"]
    asked = container["resources"]["requests"]
    assert container["resources"]["limits"] == asked
    assert size_for(float(asked["cpu"]), int(asked["memory"].removesuffix("Mi")), None) == WORKER


def test_a_worker_finds_its_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the ConfigMap is mounted, load_stack looks; and the cluster is reached from within."""
    objects = made()
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    place = next(each["mountPath"] for each in container["volumeMounts"] if each["name"] == "stack")
    inside = tmp_path / place.removeprefix("/")
    inside.mkdir(parents=True)
    (inside / "stack.json").write_text(objects["ConfigMap harbor-aws-stack"]["data"]["stack.json"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / environment["XDG_STATE_HOME"].removeprefix("/")))
    stack = load_stack(environment["HARBOR_AWS_STACK"])
    assert (stack.trials.namespace, stack.trials.eks, stack.trials.kubeconfig) == ("t", None, None)
    assert stack.queue_url == "q"


def test_a_worker_may_drain() -> None:
    """Kubernetes kills it later than it ends by itself."""
    pod = made()["Deployment"]["spec"]["template"]["spec"]
    environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] > int(environment["HARBOR_AWS_DRAIN_SECONDS"]) + CLEANUP_SECONDS


def test_the_probe(tmp_path: Path) -> None:
    """A file that was touched lately; an old one, or none, is a worker that receives nothing."""
    (container,) = made()["Deployment"]["spec"]["template"]["spec"]["containers"]
    alive = tmp_path / "alive"
    command = [part.replace("/tmp/alive", str(alive)) for part in container["livenessProbe"]["exec"]["command"]]

    def is_alive() -> bool:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    assert not is_alive()
    alive.touch()
    assert is_alive()
    then = time.time() - ALIVE_SECONDS - 1
    os.utime(alive, (then, then))
    assert not is_alive()


def test_new_workers_for_a_changed_stack() -> None:
    """They read it once, when they begin."""

    def template(outputs: dict[str, str]) -> Any:
        return made(outputs)["Deployment"]["spec"]["template"]

    assert template(MORE) == template({**MORE, "MaxVcpus": "1"})
    assert template(MORE) != template({**MORE, "QueueUrl": "another"})


@pytest.mark.parametrize(("said", "rate"), [({}, "20"), ({"LaunchesPerSecond": "50"}, "50")])
def test_how_fast_workers_launch(said: dict[str, str], rate: str) -> None:
    """As fast as the stack says; one that was deployed before it could say so keeps Fargate's usual rate."""
    (container,) = made({**MORE, **said})["Deployment"]["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["HARBOR_AWS_POD_LAUNCHES_PER_SECOND"] == rate
    assert environment["HARBOR_AWS_POD_LAUNCH_BURST"] == rate


def test_outputs_of_another_version() -> None:
    """What is missing is named, with what to do."""
    with pytest.raises(UsageError, match=r"no output 'WorkerRoleArn'.*harbor-aws deploy --stack team"):
        made({name: value for name, value in MORE.items() if name != "WorkerRoleArn"})


def test_an_older_stack_is_still_read() -> None:
    """One that says nothing of EKS."""
    text = '{"name":"a","region":"r","queue_url":"q","dead_letter_queue_url":"d","bucket":"b","trials":{}}'
    assert Stack.model_validate_json(text).trials.eks is None
