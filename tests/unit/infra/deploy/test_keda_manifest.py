"""KEDA's release manifest: told from other files, and made to fit Fargate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.unit.infra.deploy.keda_release import deployment, release, release_text

from harbor_aws.infra.deploy.keda_manifest import (
    KEDA_URL,
    KEDA_VERSION,
    KedaManifestError,
    fingerprint,
    for_fargate,
    namespace_of,
    parse,
)
from harbor_aws.infra.deploy.keda_source import read_keda_manifest
from harbor_aws.infra.deploy.prices import KEDA_POD, KEDA_PODS
from harbor_aws.infra.fargate import size_for

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "arn:aws:iam::1:role/keda"


def patched() -> dict[tuple[str, str], Any]:
    objects = for_fargate(parse(release_text(), source="f"), labels={"harbor-aws/stack": "team"}, role_arn=ROLE)
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def test_what_was_written_is_read() -> None:
    """In its order, as objects that JSON can say; documents without anything in them are none."""
    text = "---\n# nothing\n---\n" + release_text()
    assert parse(text, source="f") == release()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "f is not YAML"),
        ("<html>Sign in</html>", "f is not a release manifest of KEDA: it lacks APIService"),
        ("", "it lacks .*Deployment keda-operator.* Say the file keda-"),
        (release_text() + "---\njust text\n", "holds something that is no object of Kubernetes: 'just text'"),
        (release_text() + "---\nkind: Pod\n", "no object of Kubernetes"),
    ],
)
def test_what_is_no_release_is_said_to_be_none(text: str, message: str) -> None:
    """Before anything is applied, with what to say instead."""
    with pytest.raises(KedaManifestError, match=message):
        parse(text, source="f")


@pytest.mark.parametrize("unlucky", [deployment("metrics", port=10250), deployment("metrics", "--secure-port=10250")])
def test_the_kubelets_port_is_refused(unlucky: dict[str, Any]) -> None:
    """On Fargate nothing else can listen there, which KEDA would only show by restarting again and again."""
    with pytest.raises(KedaManifestError, match="metrics listens on port 10250, which is the kubelet's own"):
        parse(yaml.safe_dump_all([*release(), unlucky]), source="f")


def test_everything_is_the_stacks() -> None:
    """By its labels, beside KEDA's own; what was parsed is not changed."""
    before = release()
    objects = for_fargate(before, labels={"harbor-aws/stack": "team"}, role_arn=ROLE)
    assert before == release()
    assert all(each["metadata"]["labels"]["harbor-aws/stack"] == "team" for each in objects)
    assert patched()["Deployment", "keda-operator"]["metadata"]["labels"]["app"] == "keda-operator"
    assert namespace_of(objects) is objects[0]


def test_the_operator_has_its_role() -> None:
    """And it alone; tokens come from STS of the stack's own region."""
    objects = patched()
    assert objects["ServiceAccount", "keda-operator"]["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": ROLE, "eks.amazonaws.com/sts-regional-endpoints": "true",
    }  # fmt: skip
    assert sum("annotations" in each["metadata"] for each in objects.values()) == 1


def test_pods_begin_anew_for_another_role() -> None:
    """They would go on asking with the old one, which is gone."""
    templates = {
        role: [
            each["spec"]["template"]
            for each in for_fargate(release(), labels={}, role_arn=role)
            if each["kind"] == "Deployment"
        ]
        for role in (ROLE, f"{ROLE}2")
    }
    assert all(one != other for one, other in zip(*templates.values(), strict=True))


def test_pods_have_the_size_that_the_bill_says() -> None:
    """Requests are limits, as on Fargate; and there are as many as are paid for."""
    deployments = [each for (kind, _), each in patched().items() if kind == "Deployment"]
    assert sum(each["spec"]["replicas"] for each in deployments) == KEDA_PODS
    for each in deployments:
        (container,) = each["spec"]["template"]["spec"]["containers"]
        asked = container["resources"]["requests"]
        assert container["resources"]["limits"] == asked
        cpus, memory = int(asked["cpu"].removesuffix("m")) / 1000, int(asked["memory"].removesuffix("Mi"))
        assert size_for(cpus, memory, None) == KEDA_POD


def test_another_role_is_another_manifest() -> None:
    """It is applied again then, and not otherwise."""
    assert fingerprint(ROLE) == fingerprint(ROLE) != fingerprint(f"{ROLE}2")
    assert KEDA_VERSION in fingerprint(ROLE)
    assert KEDA_VERSION in KEDA_URL


def test_a_file_is_read(tmp_path: Path) -> None:
    """Whoever has no way to the web fetches it elsewhere."""
    file = tmp_path / "keda.yaml"
    file.write_text(release_text())
    assert read_keda_manifest(str(file)) == release_text()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/nowhere/keda.yaml", "/nowhere/keda.yaml cannot be read: .*No such file"),
        ("http://127.0.0.1/keda.yaml", "http://127.0.0.1/keda.yaml is not fetched"),
        ("file:///etc/passwd", "is not fetched"),
        ("https://127.0.0.1:1/keda.yaml", "cannot be fetched from https://127.0.0.1:1/.*--keda-manifest FILE"),
    ],
)
def test_what_cannot_be_had_is_named(source: str, message: str) -> None:
    """With what to do; nothing comes by a way on which it could be changed."""
    with pytest.raises(KedaManifestError, match=message):
        read_keda_manifest(source)


def test_a_binary_file_is_no_manifest(tmp_path: Path) -> None:
    """A compressed one, for instance."""
    file = tmp_path / "keda.yaml.gz"
    file.write_bytes(b"\x1f\x8b\xff")
    with pytest.raises(KedaManifestError, match="cannot be read"):
        read_keda_manifest(str(file))
