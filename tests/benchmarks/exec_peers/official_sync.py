"""The official client's synchronous half, ``kubernetes.stream``: a thread for every command that is open."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration, CoreV1Api
from kubernetes.stream import stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.benchmarks.target import Target

_THREADS = 512
"""More than are ever open: what opens the gate for 500 that wait is one more."""


class OfficialSync:
    """Each thread has an ``ApiClient`` of its own: ``stream`` replaces a method of it meanwhile."""

    def __init__(self, configuration: Any, target: Target, threads: ThreadPoolExecutor) -> None:
        self._configuration = configuration
        self._target = target
        self._threads = threads
        self._local = threading.local()

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[OfficialSync]:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the kubeconfig decides what is verified
        configuration = Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]  # ships no types
            config_file=str(target.kubeconfig), client_configuration=configuration
        )
        with ThreadPoolExecutor(_THREADS) as threads:
            yield cls(configuration, target, threads)

    async def run(self, text: str, *, on_output: Callable[[], None] = lambda: None) -> int:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, text, lambda: loop.call_soon_threadsafe(on_output))

    def _run(self, text: str, on_output: Callable[[], object]) -> int:
        if not hasattr(self._local, "api"):
            self._local.api = CoreV1Api(ApiClient(self._configuration))
        response = stream(
            self._local.api.connect_get_namespaced_pod_exec,
            self._target.pod,
            self._target.namespace,
            container="main",
            command=["bash", "-c", text],
            stdin=False,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        try:
            while response.is_open():
                response.update(timeout=1)
                if response.peek_stdout():
                    response.read_stdout()
                    on_output()
            return int(response.returncode)
        finally:
            response.close()

    def requests(self) -> int | None:
        return None
