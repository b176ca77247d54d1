"""Harbor's environment on this backend: a pod for every environment, commands by exec, files by tar over exec.

The worker runs it with :data:`~harbor_aws.worker.attempt.current_attempt` set. Harbor can run it as well:
``harbor run … -e harbor_aws.worker.environment:FargateEnvironment``.
"""

from __future__ import annotations

import asyncio
import inspect
import shlex
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.environments.capabilities import EnvironmentCapabilities, EnvironmentResourceCapabilities
from harbor.environments.definition import (
    COMPOSE_FILE_NAME,
    DOCKERFILE_NAME,
    require_agent_environment_definition,
    should_use_prebuilt_docker_image,
)
from harbor.models.trial.config import ResourceMode
from harbor.utils.env import resolve_env_vars
from harbor.utils.path_filter import filter_paths_by_patterns

from harbor_aws.infra.errors import (
    ExecError,
    InfrastructureError,
    PermanentError,
    PodStartError,
    TransferError,
    UsageError,
)
from harbor_aws.infra.fargate import size_for
from harbor_aws.infra.image_reference import through_cache
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import load_stack
from harbor_aws.worker import standalone
from harbor_aws.worker.attempt import current_attempt
from harbor_aws.worker.dockerfile import final_user
from harbor_aws.worker.exec.command import ShellMissingError, run_command
from harbor_aws.worker.exec.command_script import Command
from harbor_aws.worker.isolation import isolation_for
from harbor_aws.worker.network_probe import (
    PROBE_SECONDS,
    NetworkNotIsolatedError,
    NetworkUnclearError,
    confirm_no_network,
)
from harbor_aws.worker.network_targets import network_targets
from harbor_aws.worker.pod import not_started
from harbor_aws.worker.pod_security import ROOT, restricted_user, user_within
from harbor_aws.worker.pod_spec import PodOwner, PodRequest
from harbor_aws.worker.pods import CAPACITY_PATIENCE_SECONDS
from harbor_aws.worker.transfer.compression import Compression
from harbor_aws.worker.transfer.download import download_directory, download_file
from harbor_aws.worker.transfer.upload import upload_directory, upload_file

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.fargate import FargateSize
    from harbor_aws.worker.attempt import Attempt
    from harbor_aws.worker.pod import Pod

_EXPLANATION_SECONDS = 5.0
"""How long to wait for the watch to say why a stream was cut."""

_NEWER_ARGUMENTS = {"auto_mounts", "auto_mounting"}
"""Arguments that Harbor 0.25 adds to every environment's."""


class FargateEnvironment(BaseEnvironment):
    """A task's container, as a pod.

    Commands run as the user that Harbor names, else as the Dockerfile's last ``USER``, else as root: a pod's container
    is root's, and a user that only a prebuilt image knows is not seen. With ``--ek restricted=true`` nothing in the pod
    is root's; see :mod:`harbor_aws.worker.pod_security`.

    Raises:
        PermanentError: this backend cannot run the task, or an ``--ek`` is not known.
    """

    def __init__(self, *, restricted: bool = False, **kwargs: Any) -> None:
        if not isinstance(restricted, bool):
            raise PermanentError(f"--ek restricted is true or false, and not {restricted!r}.")
        known = set(inspect.signature(BaseEnvironment.__init__).parameters) | _NEWER_ARGUMENTS
        unknown = sorted(set(kwargs) - known)
        if unknown:
            raise PermanentError(
                f"The harbor-aws environment takes no --ek but restricted, and got {', '.join(unknown)}."
            )
        self._attempt = current_attempt.get()
        self._isolation = isolation_for(self._attempt, kwargs)
        super().__init__(**{**kwargs, "persistent_env": resolve_env_vars(kwargs.get("persistent_env") or {})})
        self._is_standalone = self._attempt is None
        self._pod: Pod | None = None
        self._start_failure: InfrastructureError | None = None
        self._pod_name: str | None = None
        self._image_user: str | None = None
        self._is_restricted = restricted
        self._pod_user = ROOT

    @staticmethod
    @override
    def type() -> str:
        return "harbor-aws"

    @property
    @override
    def capabilities(self) -> EnvironmentCapabilities:
        return EnvironmentCapabilities(disable_internet=self._isolation != "none")

    @classmethod
    @override
    def resource_capabilities(cls) -> EnvironmentResourceCapabilities:
        return EnvironmentResourceCapabilities(cpu_limit=True, cpu_request=True, memory_limit=True, memory_request=True)

    @classmethod
    @override
    def preflight(cls) -> None:
        try:
            load_stack(Settings().stack)
        except UsageError as error:
            raise SystemExit(f"The harbor-aws environment needs a stack. {error}") from error

    @override
    def _validate_definition(self) -> None:
        if (self.environment_dir / COMPOSE_FILE_NAME).exists():
            raise PermanentError(
                f"{self.environment_name} is a task of several containers ({COMPOSE_FILE_NAME}); a trial is one pod "
                "of one container here."
            )
        require_agent_environment_definition(self.environment_dir, docker_image=self.task_env_config.docker_image)
        self._size()

    @override
    async def start(self, force_build: bool) -> None:
        """Make the pod, and wait until commands run in it.

        Raises:
            PodStartError: it does not start.
            NetworkNotIsolatedError: it is to have no network, and has one, or nothing to confirm by that it has none.
            PermanentError: the image cannot be built, or the cluster refuses the pod.
            AccessRefusedError: the cluster refuses to let this worker make a pod.
            TransientError: the cluster does not answer, or its quota is used up.
            RemoteFileError: the image's own files do not allow the task's files to be put there.
        """
        if self._attempt is None:
            self._attempt = await standalone.join(self.session_id)
        attempt = self._attempt
        with self._recording():
            image = await self._image(attempt, force_build=force_build)
            self._pod_user = restricted_user(self._image_user) if self._is_restricted else ROOT
            request = PodRequest(
                owner=self._owner(attempt),
                image=image,
                size=self._size(),
                deadline_seconds=attempt.settings.pod_deadline_seconds,
                cpus=self._wanted("cpu"),
                memory_mib=self._wanted("memory"),
                storage_mib=self._effective_storage_mb,
                has_network=not self._network_disabled,
                user=self._pod_user,
            )
            await attempt.pods.launches.spend(attempt.turn)
            self._pod_name = request.owner.pod_name
            attempt.pod_names.append(self._pod_name)
            self._start_failure = None
            self._pod = await attempt.pods.create(request)
            attempt.used.add(self._pod)
            await self._wait_until_running(self._pod, attempt)
            if self._network_disabled:
                await self._confirm_no_network(self._pod)
            await self._make_directories()
            await self._upload_environment_dir_after_start()

    @override
    async def stop(self, delete: bool) -> None:
        """Delete the pod. One that is gone is no error; one that cannot be deleted now is left to the pod keeper."""
        attempt, name = self._attempt, self._pod_name
        if attempt is None:
            return
        try:
            if name is not None and delete:
                await self._look_and_delete(name, attempt)
            elif name is not None:
                self.logger.warning("Pod %s is left as asked for, until its deadline.", name)
        finally:
            self._pod = self._pod_name = self._start_failure = None
            if self._is_standalone:
                self._attempt = None
                await standalone.leave()

    async def _look_and_delete(self, name: str, attempt: Attempt) -> None:
        """A dead letter tells what became of the pod, a result what it used, and nobody can ask the cluster later."""
        try:
            if self._pod is not None and attempt.failures:
                attempt.pod_ends.append(await attempt.pods.last_look(self._pod))
            elif self._pod is not None and not attempt.is_cancelled:
                await attempt.used.ask(self._pod, attempt.pods.cluster)
        finally:
            await attempt.pods.delete(name)

    @override
    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        """Run a command by bash, or by sh where the image has no bash.

        Returns:
            Its exit code, 124 if it ran out of time, and what it printed: at most 10 MiB of each stream.

        Raises:
            PodGoneError, PodFailedError: the pod ended meanwhile.
            ExecError: what became of the command cannot be told.
        """
        resolved, pod = self._resolve_user(user), self._running_pod
        result = await self._in_pod(
            run_command(
                self._cluster,
                pod.name,
                Command(
                    text=command,
                    env=self._merge_env(env) or {},
                    cwd=cwd or self.task_env_config.workdir,
                    user=user_within(self._image_user if resolved is None else resolved, pod_user=self._pod_user),
                ),
                timeout_seconds=timeout_sec,
                on_output=self._output_callback(),
                on_left_running=self._record,
                on_outage=self._note_outage,
                can_be_ended=lambda: not pod.is_over,
            )
        )
        return ExecResult(stdout=result.stdout, stderr=result.stderr, return_code=result.exit_code)

    @override
    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        """See :func:`~harbor_aws.worker.transfer.upload.upload_file`."""
        pod, compression = self._running_pod.name, self._compression
        await self._in_pod(
            upload_file(
                self._cluster, pod, Path(source_path), target_path, compression=compression, on_outage=self._note_outage
            )
        )

    @override
    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        """See :func:`~harbor_aws.worker.transfer.upload.upload_directory`."""
        pod, compression = self._running_pod.name, self._compression
        await self._in_pod(
            upload_directory(
                self._cluster, pod, Path(source_dir), target_dir, compression=compression, on_outage=self._note_outage
            )
        )

    @override
    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        """See :func:`~harbor_aws.worker.transfer.download.download_file`."""
        pod, compression = self._running_pod.name, self._compression
        await self._in_pod(
            download_file(
                self._cluster, pod, source_path, Path(target_path), compression=compression, on_outage=self._note_outage
            )
        )

    @override
    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        """See :func:`~harbor_aws.worker.transfer.download.download_directory`."""
        await self._download_dir(source_dir, target_dir)

    @override
    async def download_dir_with_exclusions(
        self, *, source_dir: str, target_dir: Path | str, exclude: list[str]
    ) -> None:
        """Like :meth:`download_dir`, without what matches a pattern of ``tar --exclude``."""
        await self._download_dir(source_dir, target_dir, exclude=exclude)

    @override
    async def download_dir_filtered(
        self,
        *,
        source_dir: str,
        target_dir: Path | str,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        protect: Sequence[str] | None = None,
    ) -> None:
        """Like :meth:`download_dir`, only of files whose path matches; ``protect`` is downloaded whatever matches."""
        listing = await self.exec(f"cd {shlex.quote(source_dir)} && find . -type f", user="root", cwd="/")
        if listing.return_code != 0:
            raise FileNotFoundError(f"There is no directory {source_dir} to download: {listing.stderr}")
        paths = [line.removeprefix("./") for line in (listing.stdout or "").splitlines() if line]
        selected = filter_paths_by_patterns(paths, include=include, exclude=exclude)
        protected = set(protect or ()) - set(selected)
        selected += [path for path in paths if path in protected]
        if selected:
            await self._download_dir(source_dir, target_dir, names=selected)
        else:
            self.logger.warning("No file in %s matched include=%s exclude=%s.", source_dir, include, exclude)

    async def _download_dir(
        self,
        source: str,
        target: Path | str,
        *,
        exclude: Sequence[str] = (),
        names: Sequence[str] | None = None,
    ) -> None:
        await self._in_pod(
            download_directory(
                self._cluster,
                self._running_pod.name,
                source,
                Path(target),
                exclude=exclude,
                names=names,
                compression=self._compression,
                on_outage=self._note_outage,
            )
        )

    async def _in_pod[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the pod; if the pod is why it failed, say that."""
        pod, pods = self._running_pod, self._running_attempt.pods
        cut: InfrastructureError | None = None
        with self._recording(), self._recorded_if_cancelled(lambda: pod.ending or cut):
            try:
                return await pods.while_running(pod, work)
            except (ExecError, TransferError) as error:
                cut = error
                ending = await pods.explanation(pod, within_seconds=_EXPLANATION_SECONDS)
                if ending is not None:
                    raise ending from error
                raise

    async def _wait_until_running(self, pod: Pod, attempt: Attempt) -> None:
        """Harbor's own time-out for a start cancels it, and would hide why the pod did not start."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await attempt.pods.wait_until_running(
                pod,
                timeout_seconds=attempt.settings.pod_start_timeout_seconds,
                # what a trial under way has done would be lost if it went to wait in the queue
                capacity_patience_seconds=inf if attempt.has_begun else CAPACITY_PATIENCE_SECONDS,
            )
        except InfrastructureError as error:
            self._start_failure = error
            raise
        except asyncio.CancelledError:
            self._start_failure = not_started(pod, after_seconds=clock() - began)
            self._record(self._start_failure)
            raise

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Harbor swallows some exceptions; the worker must not."""
        try:
            yield
        except InfrastructureError as error:
            self._record(error)
            raise

    @contextmanager
    def _recorded_if_cancelled(self, failure: Callable[[], InfrastructureError | None]) -> Iterator[None]:
        """Harbor's time-outs cancel, and make an outcome of their own of it, whatever has failed by then."""
        try:
            yield
        except asyncio.CancelledError:
            error = failure()
            if error is not None:
                self._record(error)
            raise

    def _record(self, error: InfrastructureError) -> None:
        attempt = self._attempt
        if attempt is not None and not any(known is error for known in attempt.failures):
            attempt.failures.append(error)

    def _note_outage(self, seconds: float) -> None:
        if self._attempt is not None:
            self._attempt.note_outage(seconds)

    async def _image(self, attempt: Attempt, *, force_build: bool) -> str:
        docker_image = self.task_env_config.docker_image
        if docker_image and should_use_prebuilt_docker_image(
            self.environment_dir, docker_image=docker_image, force_build=force_build
        ):
            return through_cache(docker_image, attempt.stack.docker_hub_prefix)
        image = f"{attempt.stack.image_repository}:{self.environment_id}"
        if attempt.stack.image_builder == "embedded":
            await attempt.pods.images.ensure(attempt.stack.trials, image=image, context=self.environment_dir)
        self._image_user = final_user(self.environment_dir / DOCKERFILE_NAME)
        return image

    async def _confirm_no_network(self, pod: Pod) -> None:
        async def run(script: str) -> str:
            result = await self.exec(script, cwd="/", timeout_sec=PROBE_SECONDS, user="root")
            return result.stdout or ""

        try:
            await confirm_no_network(run, pod=pod.name, targets=network_targets(self._isolation, api=self._cluster.url))
        except ShellMissingError as error:
            raise PodStartError(str(error), pod=pod.name, reason="NoShell") from error
        except (NetworkNotIsolatedError, NetworkUnclearError) as error:
            self._start_failure = error  # nobody is to run anything in it
            raise

    async def _make_directories(self) -> None:
        pod = self._running_pod
        try:
            made = await self.ensure_dirs(self._mount_targets(writable_only=True))
        except ShellMissingError as error:
            raise PodStartError(str(error), pod=pod.name, reason="NoShell") from error
        if made is not None and made.return_code != 0:
            raise PodStartError(
                f"Directories could not be made in pod {pod.name}: {made.stderr}", pod=pod.name, reason="NoDirectories"
            )

    def _owner(self, attempt: Attempt) -> PodOwner:
        return PodOwner(
            job=attempt.job,
            trial=attempt.trial,
            attempt_id=attempt.attempt_id,
            worker=attempt.pods.worker,
            session=self.session_id,
            stack=attempt.stack.name,
        )

    def _size(self) -> FargateSize:
        return size_for(self._wanted("cpu"), self._wanted("memory"), self._effective_storage_mb)

    def _wanted(self, resource: Any) -> int | None:
        """What the task asks for, request or limit: on Fargate they are one."""
        request = self._resource_request_value(resource, auto_mode=ResourceMode.GUARANTEE)
        return (
            request if request is not None else self._resource_limit_value(resource, auto_mode=ResourceMode.GUARANTEE)
        )

    @property
    def _running_attempt(self) -> Attempt:
        if self._attempt is None:
            raise RuntimeError("The environment is not started.")
        return self._attempt

    @property
    def _running_pod(self) -> Pod:
        if self._pod is None:
            raise RuntimeError("The environment is not started.")
        if self._start_failure is not None:  # Harbor asks for the logs of a pod that never ran, too
            raise self._start_failure
        return self._pod

    @property
    def _compression(self) -> Compression:
        return Compression(self._running_attempt.settings.transfer_compression)

    @property
    def _cluster(self) -> Cluster:
        return self._running_attempt.pods.cluster
