"""The Celery app of a worker, and its one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.worker import state

from harbor_aws.producer.celery_message import CELERY_QUEUE
from harbor_aws.producer.message import TASK_NAME
from harbor_aws.worker import transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.worker.intake import Intake
    from harbor_aws.worker.settle import Settler

_BROKER_URL = f"{transport.SCHEME}://"

_CONFIGURATION = {
    "accept_content": ["json"],
    "broker_connection_retry_on_startup": True,
    "task_acks_late": True,
    "task_create_missing_queues": False,
    "task_default_queue": CELERY_QUEUE,
    "task_ignore_result": True,
    "worker_detect_quorum_queues": False,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "worker_prefetch_multiplier": 1,
    "worker_send_task_events": False,
}


class WorkerApp(Celery):  # type: ignore[misc]  # celery has no types
    """Celery whose broker is the stack's queue, whatever ``CELERY_BROKER_URL`` says."""

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        """The consumer's connection."""
        return super().connection_for_read(url or _BROKER_URL, **options)


def make_app(*, intake: Intake, settler: Settler, run: Callable[[str], None]) -> WorkerApp:
    """The app whose task blocks in ``run`` with the receipt of its message."""
    transport.register()
    app = WorkerApp("harbor_aws")
    app.conf.update(
        _CONFIGURATION,
        broker_url=_BROKER_URL,
        broker_transport_options={transport.INTAKE: intake, transport.SETTLER: settler},
    )

    @app.task(name=TASK_NAME, bind=True)  # type: ignore[untyped-decorator]  # celery has no types
    def run_trial(task: Any, message: dict[str, Any]) -> None:  # noqa: ARG001 - the register has the whole one
        run(task.request.properties["delivery_tag"])

    app.set_default()  # the pool's threads look for it there
    state.should_stop = None
    return app


def consume(app: WorkerApp, *, slots: int) -> None:
    """Consume in this thread until :func:`stop_consuming`, and then until the pool is idle."""
    worker = app.WorkController(
        pool="threads",
        concurrency=slots,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()


def stop_consuming() -> None:
    """Make :func:`consume` return after its current poll, or at once if it has yet to begin. Thread-safe."""
    state.should_stop = 0
