"""Celery's way to the queue: a kombu transport that reads SQS synchronously.

kombu's own SQS transport ends the worker on one HTTP 5xx, hangs on a half-open connection, forgets what it delivered
when it reconnects, and deletes or drops messages that it cannot read. Here a failure to receive never reaches Celery,
and what a message's end means is decided by :mod:`harbor_aws.worker.settle` alone.
"""

from __future__ import annotations

from queue import Empty
from typing import TYPE_CHECKING, Any

from kombu.transport import TRANSPORT_ALIASES, virtual

from harbor_aws.producer.celery_message import CELERY_QUEUE, delivered_envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.worker.intake import Intake
    from harbor_aws.worker.settle import Settler

SCHEME = "harbor-aws-sqs"
INTAKE = "intake"
SETTLER = "settler"
"""The transport options that carry the two parts of the worker that a channel talks to."""

_WAIT_SECONDS = 1.0
"""How long one turn of Celery's loop waits for a free slot."""


class Channel(virtual.Channel):
    """Delivers what the intake holds. It publishes nothing and restores nothing."""

    do_restore = False

    def drain_events(self, timeout: float | None = None, callback: Callable[..., None] | None = None) -> None:
        """Deliver what one poll brings.

        Raises:
            Empty: it brought nothing.
        """
        deliver = callback or self.connection._deliver
        taken = self._intake.take(_WAIT_SECONDS if timeout is None else min(timeout, _WAIT_SECONDS))
        if not taken:
            raise Empty
        for held in taken:
            deliver(delivered_envelope(held.delivery.message, delivery_tag=held.receipt), CELERY_QUEUE)

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: ARG002 - kombu's signature
        """Celery is done with a message. That alone deletes nothing."""
        self._let_go(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: ARG002 - kombu's signature
        """The same as an acknowledgement."""
        self._let_go(delivery_tag)

    def _let_go(self, delivery_tag: str) -> None:
        self.qos.ack(delivery_tag)
        self._settler.settle_unhandled(delivery_tag)

    @property
    def _intake(self) -> Intake:
        return self.connection.client.transport_options[INTAKE]  # type: ignore[no-any-return]  # ours, see run.py

    @property
    def _settler(self) -> Settler:
        return self.connection.client.transport_options[SETTLER]  # type: ignore[no-any-return]  # ours, see run.py


class Transport(virtual.Transport):
    """One turn of Celery's blocking loop is one poll."""

    Channel = Channel
    driver_type = "sqs"
    driver_name = "sqs"
    implements = virtual.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset(["direct"]), heartbeats=False
    )

    @property
    def default_connection_params(self) -> dict[str, Any]:
        """There is no host: the intake has its own client."""
        return {"port": None}

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:  # type: ignore[override]  # noqa: ARG002 - kombu's two bases disagree
        """One poll.

        Raises:
            TimeoutError: nothing came; Celery looks whether it is to stop, and calls again.
        """
        try:
            self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]  # set by kombu's __init__
        except Empty:
            raise TimeoutError from None


def register() -> None:
    """Make ``harbor-aws-sqs://`` known to kombu."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
