"""The message on the wire: what Celery and kombu make of it, and what is refused."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport import SQS, virtual

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer.celery_message import (
    UndecodableMessageError,
    decode,
    decode_envelope,
    delivered_envelope,
    encode,
)
from harbor_aws.producer.message import TASK_NAME, TrialMessage

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = TrialMessage(
    job="2026-11-22__a", trial="task__xYz", attempt=2, bundle="0f" * 32, trial_config={"task": {"path": "/ä"}}
)


_KOMBUS = {"__type__": "uuid", "__value__": "none"}
"""What kombu takes for one of its types, and fails to read."""

_DEEP = json.loads("[" * 100 + "]" * 100)


class SentMessages:
    """Stands where kombu's SQS transport has its client."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def send_message(self, *, MessageBody: str, **_: object) -> None:  # noqa: N803 - boto3's name
        self.bodies.append(MessageBody)

    def get_queue_attributes(self, **_: object) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}


@pytest.fixture
def sent_by_celery(monkeypatch: pytest.MonkeyPatch) -> str:
    """The body that Celery itself sends through kombu's SQS transport."""
    client = SentMessages()
    monkeypatch.setattr(SQS.Channel, "sqs", lambda _channel, queue=None: client)
    app = Celery(broker="sqs://", set_as_current=False)
    app.conf.broker_transport_options = {
        "region": "us-east-1",
        "predefined_queues": {"trials": {"url": "http://localhost/trials"}},
    }
    app.conf.task_default_queue = "trials"
    app.send_task(TASK_NAME, args=[MESSAGE.model_dump(mode="json")], ignore_result=True)
    app.close()
    return client.bodies[0]


def test_it_comes_back_as_it_was() -> None:
    """Decoding undoes encoding."""
    assert decode(encode(MESSAGE)) == MESSAGE


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_any_configuration_comes_back(configuration: dict[str, Any]) -> None:
    """Whatever JSON a trial's configuration holds travels unharmed."""
    message = MESSAGE.model_copy(update={"trial_config": configuration})
    assert decode(encode(message)) == message


def test_what_celery_sends_is_read(sent_by_celery: str) -> None:
    """A message that Celery's own `send_task` puts on SQS decodes."""
    assert decode(sent_by_celery) == MESSAGE


def test_it_is_shaped_as_celery_sends_it(sent_by_celery: str) -> None:
    """Ours has exactly the fields that Celery and kombu send themselves."""
    ours, theirs = decode_envelope(encode(MESSAGE)), decode_envelope(sent_by_celery)
    assert ours.keys() == theirs.keys()
    assert ours["headers"].keys() == theirs["headers"].keys()
    assert ours["properties"].keys() == theirs["properties"].keys()


def test_kombu_reads_it() -> None:
    """kombu's Message decodes it to Celery's arguments, keyword arguments and embedded options."""
    with Celery(broker="memory://", set_as_current=False).connection_for_read() as connection:
        message = virtual.Message(decode_envelope(encode(MESSAGE)), channel=connection.default_channel)  # type: ignore[no-untyped-call]  # kombu's
        args, kwargs, embed = message.decode()  # type: ignore[no-untyped-call]  # kombu's
    assert (args, kwargs) == ([MESSAGE.model_dump(mode="json")], {})
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert message.headers["task"] == TASK_NAME


def test_nothing_foreign_reaches_celery(sent_by_celery: str) -> None:
    """What a worker's Celery gets is ours, whatever came: no header, and no configuration that kombu cannot read."""
    envelope = decode_envelope(encode(MESSAGE.model_copy(update={"trial_config": {"a": _KOMBUS, "b": _DEEP}})))
    envelope["headers"].update(timelimit=5, stamped_headers=5, foreign="x" * 1000)
    envelope["properties"].update(priority="x", foreign="x")
    delivered = delivered_envelope(decode(_base64(json.dumps(envelope))), delivery_tag="receipt")
    theirs = decode_envelope(sent_by_celery)
    assert delivered["headers"].keys() == theirs["headers"].keys()
    assert delivered["headers"]["timelimit"] == [None, None]
    assert delivered["properties"].keys() == theirs["properties"].keys()
    assert delivered["properties"]["delivery_tag"] == "receipt"
    with Celery(broker="memory://", set_as_current=False).connection_for_read() as connection:
        message = virtual.Message(delivered, channel=connection.default_channel)  # type: ignore[no-untyped-call]  # kombu's
        args, kwargs, _ = message.decode()  # type: ignore[no-untyped-call]  # kombu's
    assert (args, kwargs) == ([{"job": MESSAGE.job, "trial": MESSAGE.trial, "attempt": 2}], {})


def test_a_large_configuration_is_refused() -> None:
    """A message over its limit is refused before anything is sent, by the trial's name."""
    with pytest.raises(UsageError, match="task__xYz"):
        encode(MESSAGE.model_copy(update={"trial_config": {"large": "x" * 40_000}}))


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _changed(change: Callable[[dict[str, Any]], object]) -> str:
    envelope = decode_envelope(encode(MESSAGE))
    change(envelope)
    return _base64(json.dumps(envelope))


def _with_task_body(*parts: object) -> str:
    return _changed(lambda envelope: envelope.update(body=_base64(json.dumps(parts))))


_EMBED: dict[str, object] = {}

UNDECODABLE = [
    ("", "body is not JSON"),
    ("hello", "body is not the base64"),
    ("héllo", "body is not the base64"),
    (_base64(b"\xff\xfe"), "body is not the base64 of a text"),
    (_base64("hello"), "body is not JSON"),
    (_base64("[" * 100_000), "body is not JSON"),
    (_base64("[]"), "not a JSON object"),
    (_base64("{}"), "no headers"),
    (_changed(lambda e: e.update(headers={})), "name no task"),
    (_changed(lambda e: e["headers"].update(task="celery.ping")), "Unknown task 'celery.ping'"),
    (_changed(lambda e: e["headers"].update(task=["x" * 1000])), "Unknown task .*…"),
    (_changed(lambda e: e["headers"].update(id="")), "no task id"),
    (_changed(lambda e: e["headers"].update(eta="2026-01-01T00:00:00")), "header eta"),
    (_changed(lambda e: e["headers"].update(expires="2026-01-01T00:00:00")), "header expires"),
    (_changed(lambda e: e["headers"].update(compression="gzip")), "header compression"),
    (_changed(lambda e: e.update({"content-type": "application/x-python-serialize"})), "x-python-serialize"),
    (_changed(lambda e: e.update({"content-encoding": "binary"})), "content encoding"),
    (_changed(lambda e: e.pop("properties")), "no properties"),
    (_changed(lambda e: e["properties"].pop("body_encoding")), "body encoding"),
    (_changed(lambda e: e["properties"].pop("delivery_info")), "delivery_info"),
    (_changed(lambda e: e.update(body=None)), "envelope has no body"),
    (_changed(lambda e: e.update(body="%")), "task's body is not the base64"),
    (_changed(lambda e: e.update(body=_base64("x"))), "task's body is not JSON"),
    (_with_task_body(1), "not \\[args, kwargs, embed\\]"),
    (_with_task_body([], {}, _EMBED), "one positional argument"),
    (_with_task_body([{}], {"more": 1}, _EMBED), "one positional argument"),
    (_with_task_body([{}], {}, {"callbacks": [1]}), "'callbacks'"),
    (_with_task_body(["text"], {}, _EMBED), "schema: the argument"),
    (_with_task_body([{**MESSAGE.model_dump(), "schema_version": 2}], {}, _EMBED), "schema_version"),
    (_with_task_body([{**MESSAGE.model_dump(), "foreign": 1}], {}, _EMBED), "foreign"),
    (_with_task_body([{**MESSAGE.model_dump(), "trial": "../x"}], {}, _EMBED), "trial"),
]


@pytest.mark.parametrize(("body", "reason"), UNDECODABLE, ids=[reason for _, reason in UNDECODABLE])
def test_what_nobody_can_run_is_refused(body: str, reason: str) -> None:
    """Each kind of broken message raises the one error, which says what is wrong."""
    with pytest.raises(UndecodableMessageError, match=reason):
        decode(body)
