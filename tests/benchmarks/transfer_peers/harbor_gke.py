"""``kubernetes.stream`` as Harbor's GKE environment uses it: its own methods, without its retries.

They need a pod and an API client, and nothing else of an environment.
"""

from __future__ import annotations

import contextvars
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import urllib3
from harbor.environments.gke import GKEEnvironment
from harbor.models.task.config import EnvironmentConfig
from kubernetes import config
from kubernetes.client import ApiClient, Configuration, CoreV1Api
from tests.benchmarks.transfer_peers.peer import OwnMemory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.benchmarks.target import Target


class HarborGke:
    def __init__(self, environment: GKEEnvironment) -> None:
        self._environment = environment
        self.memory = OwnMemory()

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[HarborGke]:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the kubeconfig decides what is verified
        configuration = Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]  # ships no types
            config_file=str(target.kubeconfig), client_configuration=configuration
        )
        yield cls(_Connected(CoreV1Api(ApiClient(configuration)), target))

    async def warm_up(self) -> None:
        await self._environment.exec("true")

    async def upload(self, source: Path, target: str) -> None:
        method: Any = GKEEnvironment.upload_dir if source.is_dir() else GKEEnvironment.upload_file
        await method.__wrapped__(self._environment, source, target)

    async def download(self, source: str, target: Path, *, directory: bool) -> None:
        method: Any = GKEEnvironment.download_dir if directory else GKEEnvironment.download_file
        await method.__wrapped__(self._environment, source, target)

    def requests(self) -> int | None:
        return None


class _Connected(GKEEnvironment):
    """A GKE environment whose pod runs already, in whatever cluster."""

    def __init__(self, api: Any, target: Target) -> None:
        self._core_api = api
        self._client_manager = api  # never asked for a client, since there is one
        self.pod_name = target.pod
        self.namespace = target.namespace
        self._compose_mode = False
        self.default_user = None
        self._persistent_env = {}
        self._exec_env_overlays = contextvars.ContextVar("overlays", default=())
        self.task_env_config = EnvironmentConfig()
        self.logger = logging.getLogger(__name__)
