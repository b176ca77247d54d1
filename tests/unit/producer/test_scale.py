"""Who decides how many workers there are: the queue, or whoever says a number; the last one who spoke."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.infra.deploy.fake_api import FakeApi, fake_api_in_a_thread, serve_fake_api

from harbor_aws.infra.scaled_object import MAX_WORKERS, MIN_WORKERS, PAUSED, PAUSED_AT, scaled_object_path
from harbor_aws.infra.stack import WORKER_DEPLOYMENT, Stack, stack_file
from harbor_aws.producer.cli.app import load_command
from harbor_aws.producer.cli.errors import run
from harbor_aws.producer.workers import WorkerCount, scale_workers, worker_scale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.infra.stack import KubernetesAccess

DEPLOYMENT = f"/apis/apps/v1/namespaces/harbor-aws/deployments/{WORKER_DEPLOYMENT}"
SCALED = scaled_object_path("harbor-aws")


def stack_on(access: KubernetesAccess, name: str) -> Stack:
    return Stack(
        name=name, region="r", queue_url="-", dead_letter_queue_url="-", bucket="-", trials=access, workers=access
    )


class Bench:
    """A stack called ``team`` on a cluster in a thread of its own, and the command in this one."""

    def __init__(
        self, access: KubernetesAccess, api: FakeApi, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.api = api
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self.stack = self.save("team", access)

    def save(self, name: str, access: KubernetesAccess) -> Stack:
        stack = stack_on(access, name)
        file = stack_file(name)
        file.parent.mkdir(parents=True)
        file.write_text(stack.model_dump_json())
        return stack

    def __call__(self, *arguments: str, code: int = 0, stack: str = "team") -> tuple[str, str]:
        """What it printed, on stdout and stderr."""
        self._monkeypatch.setenv("HARBOR_AWS_STACK", stack)
        self._monkeypatch.setattr("sys.argv", ["scale", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(lambda: load_command("scale"), name="scale")
        out, err = self._capfd.readouterr()
        assert (ended.value.code or 0) == code, out + err
        return out, err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json")[0])

    def has_workers(self, replicas: int) -> None:
        status = {"replicas": replicas, "readyReplicas": replicas}
        self.api.put(DEPLOYMENT, {"spec": {"replicas": replicas}, "status": status})

    def is_scaled(self, *, low: int = 0, high: int = 8, annotations: dict[str, str] | None = None) -> None:
        metadata = {"name": WORKER_DEPLOYMENT, "annotations": annotations or {}}
        self.api.put(SCALED, {"metadata": metadata, "spec": {"minReplicaCount": low, "maxReplicaCount": high}})

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.api.objects[SCALED]["metadata"]["annotations"])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    with fake_api_in_a_thread(tmp_path) as (access, api):
        yield Bench(access, api, monkeypatch, capfd)


def test_a_number_pauses_the_autoscaler(bench: Bench) -> None:
    """By KEDA's own annotation, and at once; it says so, and how to go back."""
    bench.has_workers(2)
    bench.is_scaled()
    out, _ = bench("5", "--no-wait")
    assert bench.annotations == {PAUSED_AT: "5"}
    assert bench.api.objects[DEPLOYMENT]["spec"]["replicas"] == 5
    assert out.splitlines() == [
        "Workers: 2 ready, 2 there, 5 wanted",
        "By hand; harbor-aws scale --auto lets the queue decide again, 0 to 8",
    ]
    assert [path for method, path in bench.api.asked if method == "PATCH"] == [SCALED, f"{DEPLOYMENT}/scale"]


def test_without_an_autoscaler_a_number_is_all(bench: Bench) -> None:
    """As on the local stack; nothing else is touched."""
    bench.has_workers(2)
    out, _ = bench("0", "--no-wait")
    assert "By hand: harbor-aws scale N" in out
    assert [path for method, path in bench.api.asked if method == "PATCH"] == [f"{DEPLOYMENT}/scale"]


@pytest.mark.parametrize(
    ("arguments", "bounds", "said"),
    [
        (["--auto"], (1, 8), {}),
        (["--min", "2"], (2, 8), {MIN_WORKERS: "2"}),
        (["--max", "20"], (1, 20), {MAX_WORKERS: "20"}),
        (["--min", "0", "--max", "3"], (0, 3), {MIN_WORKERS: "0", MAX_WORKERS: "3"}),
        (["--auto", "--max", "1"], (1, 1), {MAX_WORKERS: "1"}),
    ],
)
def test_the_queue_decides_again(
    bench: Bench, arguments: list[str], bounds: tuple[int, int], said: dict[str, str]
) -> None:
    """However it was paused; what was said is kept for the next deploy, and the number of workers is KEDA's."""
    bench.has_workers(3)
    bench.is_scaled(low=1, annotations={PAUSED_AT: "3", PAUSED: "true", "other": "x"})
    out, _ = bench(*arguments)
    spec = bench.api.objects[SCALED]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == bounds
    assert bench.annotations == {"other": "x", **said}
    assert f"By the queue, {bounds[0]} to {bounds[1]}" in out
    assert bench.api.objects[DEPLOYMENT]["spec"]["replicas"] == 3


def test_nothing_said_shows_all(bench: Bench) -> None:
    """And changes nothing; KEDA's own trouble is told."""
    bench.has_workers(1)
    bench.is_scaled()
    shown = bench.json()
    assert shown == {
        "desired": 1, "ready": 1, "existing": 1,
        "autoscaling": {"minimum": 0, "maximum": 8, "is_paused": False, "trouble": None},
    }  # fmt: skip
    found = bench.api.objects[SCALED]
    found["status"] = {"conditions": [{"type": "Ready", "status": "False", "message": "AccessDenied"}]}
    out, _ = bench()
    assert "By the queue, 0 to 8, but KEDA cannot: AccessDenied" in out
    assert {method for method, _ in bench.api.asked} == {"GET"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["3", "--auto"], "N is by hand, and --auto, --min and --max let the queue decide; say one or the other."),
        (["3", "--min", "1"], "say one or the other"),
        (["--min", "3", "--max", "2"], "--min 3 is more than --max 2."),
    ],
)
def test_contradictions_are_said_first(bench: Bench, arguments: list[str], message: str) -> None:
    """Before anybody is asked anything."""
    _, err = bench(*arguments, code=2)
    assert message in err
    assert bench.api.asked == []


def test_a_bound_is_held_against_the_other(bench: Bench) -> None:
    """The one that is not said is the one that there is."""
    bench.has_workers(0)
    bench.is_scaled(low=2, high=8)
    for arguments, range_ in (
        (["--min", "9"], "At least 9 and at most 8"),
        (["--max", "1"], "At least 2 and at most 1"),
    ):
        _, err = bench(*arguments, code=2)
        assert range_ in err
        assert "it is 2 to 8 now, so say both --min and --max" in err
    assert "PATCH" not in {method for method, _ in bench.api.asked}


def test_no_autoscaling_is_one_error(bench: Bench) -> None:
    """With what there is instead; on the local stack nothing can bring it."""
    bench.has_workers(1)
    bench.save("local", bench.stack.workers)
    _, err = bench("--auto", code=2)
    assert "The stack 'team' has no autoscaling: `harbor-aws scale N` sets how many" in err
    assert "`harbor-aws deploy --stack team --autoscaling` brings" in err
    _, err = bench("--max", "3", code=2, stack="local")
    assert "The stack 'local' has no autoscaling: `harbor-aws scale N` sets how many workers there are." in err


@pytest.mark.parametrize("arguments", [["3"], ["--auto"], []])
def test_no_deployment_is_one_error(bench: Bench, arguments: list[str]) -> None:
    """Nothing is paused for workers that there are not."""
    bench.is_scaled()
    _, err = bench(*arguments, code=2)
    assert "no Deployment harbor-aws-worker in namespace 'harbor-aws'" in err
    assert bench.annotations == {}


def test_a_change_in_between_is_no_failure(bench: Bench) -> None:
    """KEDA writes its status into the same object; the bounds are then read anew."""
    bench.has_workers(1)
    bench.is_scaled()
    left = 3

    def keda_writes(method: str, path: str) -> None:
        nonlocal left
        if (method, path) == ("PATCH", SCALED) and left:
            left -= 1
            bench.api.put(SCALED, bench.api.objects[SCALED])

    bench.api.interfere = keda_writes
    assert bench.json("--max", "9")["autoscaling"]["maximum"] == 9
    assert left == 0


async def test_waiting_sees_every_step(tmp_path: Path) -> None:
    """With N, until there are exactly so many; the pause is there before the number is."""
    async with serve_fake_api(tmp_path) as (access, api):
        stack = stack_on(access, "s")
        api.put(DEPLOYMENT, {"spec": {"replicas": 1}, "status": {"replicas": 1, "readyReplicas": 1}})
        api.put(SCALED, {"metadata": {"name": "x", "annotations": {}}, "spec": {}})

        def grow(method: str, path: str) -> None:
            found = api.objects[DEPLOYMENT]
            if method == "GET" and path == DEPLOYMENT and found["status"]["replicas"] < found["spec"]["replicas"]:
                ready = found["status"]["replicas"]
                found["status"] = {"replicas": ready + 1, "readyReplicas": ready + 1}

        api.interfere = grow
        seen: list[WorkerCount] = []
        async with asyncio.timeout(60):
            found = await scale_workers(stack, 2, wait=True, on_change=seen.append)
        assert seen[-1].is_settled
        assert found == await worker_scale(stack)
        assert found.autoscaling is not None
        assert found.autoscaling.is_paused
