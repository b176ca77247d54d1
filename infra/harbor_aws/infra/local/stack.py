"""The local stack's life: up, status, down. Its state is one directory, ``<user state>/harbor-aws/local``."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.errors import HarborAwsError, UsageError
from harbor_aws.infra.labels import PREFIX
from harbor_aws.infra.local import processes, services
from harbor_aws.infra.local.workers import worker_deployment
from harbor_aws.infra.secrets.files import replace_secrets
from harbor_aws.infra.secrets.names import DIRECTORIES_VARIABLE
from harbor_aws.infra.stack import LOCAL_STACK, KubernetesAccess, Stack, load_stack, stack_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harbor_aws.infra.settings import Settings

BUCKET = "harbor-aws-local"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What runs of the local stack."""

    stack: Stack | None
    running: Mapping[str, bool]
    """By part: :data:`services.PARTS`."""

    @property
    def is_up(self) -> bool:
        return self.stack is not None and all(self.running.values())


def status() -> LocalStatus:
    """What runs, by looking for the processes themselves."""
    directory = _directory()
    running = {part: processes.is_running(directory, part) for part in services.PARTS}
    try:
        stack = load_stack(LOCAL_STACK)
    except HarborAwsError:
        stack = None
    return LocalStatus(stack=stack, running=running)


def up(
    *,
    workers: int,
    settings: Settings,
    environment: Mapping[str, str],
    secrets: Mapping[str, str] | None = None,
    working_directory: Path,
    rootfs: Mapping[str, Path],
    trials: KubernetesAccess | None = None,
) -> Stack:
    """Start the local stack, or find it running; then it has ``workers`` workers.

    What is half there (a part was killed) is taken down first, with what its queue and bucket held: both live in
    the memory of their server.

    Args:
        environment: environment variables of the workers.
        secrets: those that must not be seen in the workers' Deployment; one that `secrets set` has kept wins.
        working_directory: where the workers run.
        rootfs: what an image's name stands for, a directory or a tar; other names mean this machine's root.
        trials: another cluster for the trials' pods.

    Raises:
        UsageError: this process is not root.
        PartFailedError: a part did not come up.
    """
    if os.geteuid() != 0:
        raise UsageError("The local stack needs root: its pods are mount namespaces with overlays. Try it with sudo.")
    with _locked():
        found = status()
        stack = found.stack if found.is_up else None
        if stack is None:
            _clear()
            stack = _start(settings=settings, rootfs=rootfs, trials=trials)
        changed = replace_secrets(_shell_secrets(), secrets or {})
        directories = f"{_shell_secrets()}{os.pathsep}{secrets_directory()}"
        manifest = worker_deployment(
            namespace=stack.workers.namespace,
            replicas=workers,
            environment={**environment, "HARBOR_AWS_STACK": LOCAL_STACK, DIRECTORIES_VARIABLE: directories},
            directory=working_directory,
            shared=_shared(stack),
            drain_seconds=settings.drain_seconds,
            annotations={f"{PREFIX}shell-secrets": changed},
        )
        asyncio.run(_apply(stack, manifest))
        return stack


def secrets_directory() -> Path:
    """Where `secrets set` keeps what the local stack's workers read; it goes with the stack."""
    return _directory() / "secrets" / "set"


def _shell_secrets() -> Path:
    return _directory() / "secrets" / "shell"


def down() -> bool:
    """Take everything down, whatever state it is in: ``False`` if there was nothing."""
    with _locked():
        there = _directory().exists() or bool(processes.find(_directory()))
        _clear()
        return there


def _start(*, settings: Settings, rootfs: Mapping[str, Path], trials: KubernetesAccess | None) -> Stack:
    directory = _directory()
    directory.mkdir(parents=True)
    try:
        kubeconfig = services.start_kubernetes(directory, rootfs=rootfs)
        own = KubernetesAccess(kubeconfig=kubeconfig)
        bare = Stack(
            name=LOCAL_STACK,
            region=REGION,
            queue_url="",
            dead_letter_queue_url="",
            bucket=BUCKET,
            endpoint_url=services.start_aws(directory),
            trials=trials or own,
            workers=own,
            image_builder="none" if trials else "embedded",
            isolation="none" if trials else "namespace",
        )
        stack = services.create_queues_and_bucket(bare, visibility_timeout_seconds=settings.visibility_timeout_seconds)
        stack_file(LOCAL_STACK).write_text(stack.model_dump_json(indent=2))
    except BaseException:
        _clear()
        raise
    return stack


def _shared(stack: Stack) -> list[Path]:
    """What the workers must see as it is: this stack's state, and what may lie where a pod has its own directories."""
    kubeconfig = stack.trials.kubeconfig
    return [
        Path(tempfile.gettempdir()),
        _directory(),
        *([kubeconfig] if stack.trials != stack.workers and kubeconfig else []),
    ]


async def _apply(stack: Stack, manifest: Mapping[str, object]) -> None:
    async with Cluster.open(stack.trials) as cluster:
        await cluster.ensure_namespace()
    async with Cluster.open(stack.workers) as cluster:
        await cluster.apply_deployment(manifest)


def _clear() -> None:
    directory = _directory()
    processes.stop(directory, services.KUBERNETES, grace_seconds=20)
    processes.stop(directory)
    services.remove_control_groups(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _directory() -> Path:
    return stack_file(LOCAL_STACK).parent


@contextmanager
def _locked() -> Iterator[None]:
    """One command at a time changes the local stack; a second one waits. The lock is on the directory itself."""
    home = _directory().parent
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            home.rmdir()  # only if nothing is in it
        os.close(descriptor)
