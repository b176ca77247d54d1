"""A trial's message as it travels on SQS: an ordinary Celery task message, protocol 2. Pure: no broker, no I/O.

The body is what kombu's SQS transport puts there: the base64 of a JSON envelope, whose own ``body`` is the base64 of
the JSON ``[args, kwargs, embed]``.
https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2
"""

from __future__ import annotations

import base64
import binascii
import json
from functools import cache
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu.serialization import dumps
from pydantic import ValidationError

from harbor_aws.infra.errors import HarborAwsError, UsageError
from harbor_aws.producer.message import MESSAGE_LIMIT_BYTES, TASK_NAME, TrialMessage

CELERY_QUEUE = "trials"
"""Celery's own name of the trials' queue, which it asks for in the envelope; the SQS queue may be called anything."""

_UNSUPPORTED_HEADERS = ("eta", "expires", "compression")
"""They ask for what no worker here does; nobody of ours sets them."""

_SHOWN_CHARACTERS = 60


class UndecodableMessageError(HarborAwsError):
    """A message that no worker can run; the text says what is wrong with it."""


def encode(message: TrialMessage) -> str:
    """The SQS body of ``message``.

    Raises:
        UsageError: the trial's configuration is too large for a message.
    """
    envelope = _envelope(message, message.model_dump(mode="json"), delivery_tag=str(uuid4()))
    body = _to_base64(json.dumps(envelope))
    if len(body) > MESSAGE_LIMIT_BYTES:
        raise UsageError(
            f"The configuration of trial {message.trial} makes a message of {len(body)} bytes; at most "
            f"{MESSAGE_LIMIT_BYTES} go. Put what is large into the task's files."
        )
    return body


def decode(body: str) -> TrialMessage:
    """The message in an SQS body, checked to the last field.

    Raises:
        UndecodableMessageError: it is not a message that :func:`encode` could have written.
    """
    envelope = decode_envelope(body)
    _check_headers(_member(envelope, "headers"))
    _check_format(envelope)
    args, kwargs, embed = _task_body(envelope)
    if len(args) != 1 or kwargs:
        raise UndecodableMessageError(f"{TASK_NAME} takes one positional argument, not {len(args)} and {len(kwargs)}.")
    if asked := [name for name, value in embed.items() if value]:
        raise UndecodableMessageError(f"The message asks for {', '.join(map(_shown, asked))}, which nothing here does.")
    try:
        return TrialMessage.model_validate(args[0])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the argument"
        raise UndecodableMessageError(
            f"The trial does not fit the schema: {place}: {first['msg']} ({error.error_count()} in all)."
        ) from error


def delivered_envelope(message: TrialMessage, *, delivery_tag: str) -> dict[str, Any]:
    """What a worker's Celery gets for a message that was decoded: what kombu makes a message of.

    It is ours from end to end. A header that came with the message could end the worker (a ``timelimit`` that is no
    pair), and so could a configuration that kombu's own JSON takes for one of its types. So its argument only names
    the attempt; the worker's register has the message itself.
    """
    named = {"job": message.job, "trial": message.trial, "attempt": message.attempt}
    return _envelope(message, named, delivery_tag=delivery_tag)


def decode_envelope(body: str) -> dict[str, Any]:
    """The envelope in an SQS body, as it came; :func:`decode` checks what is in it.

    Raises:
        UndecodableMessageError: it is not the base64 of a JSON object.
    """
    envelope = _json(_from_base64(body, "the body"), "the body")
    if not isinstance(envelope, dict):
        raise UndecodableMessageError("The body is not a JSON object.")
    return envelope


@cache
def _app() -> Celery:
    return Celery("harbor_aws", set_as_current=False)


def _envelope(message: TrialMessage, argument: dict[str, Any], *, delivery_tag: str) -> dict[str, Any]:
    task = _app().amqp.as_task_v2(
        str(uuid4()),
        TASK_NAME,
        args=[argument],
        argsrepr=f"{message.job}/{message.trial} attempt {message.attempt}",
        kwargsrepr="",
        ignore_result=True,
    )
    content_type, content_encoding, payload = dumps(task.body, serializer="json")  # type: ignore[no-untyped-call]  # kombu's dumps has no types
    return {
        "body": _to_base64(payload),
        "content-type": content_type,
        "content-encoding": content_encoding,
        "headers": task.headers,
        "properties": {
            **task.properties,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": CELERY_QUEUE},
            "delivery_mode": 2,
            "delivery_tag": delivery_tag,
            "priority": 0,
        },
    }


def _check_headers(headers: dict[str, Any]) -> None:
    task = headers.get("task")
    if task is None:
        raise UndecodableMessageError("It is not a Celery message of protocol 2: its headers name no task.")
    if task != TASK_NAME:
        raise UndecodableMessageError(f"Unknown task {_shown(task)}; the only one is {TASK_NAME}.")
    if not isinstance(headers.get("id"), str) or not headers["id"]:
        raise UndecodableMessageError("It has no task id.")
    for name in _UNSUPPORTED_HEADERS:
        if headers.get(name):
            raise UndecodableMessageError(f"Its header {name} ({_shown(headers[name])}) is not supported.")


def _check_format(envelope: dict[str, Any]) -> None:
    content_type = envelope.get("content-type")
    if content_type != "application/json":
        raise UndecodableMessageError(f"Its content type is {_shown(content_type)}; only application/json is read.")
    content_encoding = envelope.get("content-encoding")
    if content_encoding != "utf-8":
        raise UndecodableMessageError(f"Its content encoding is {_shown(content_encoding)}; only utf-8 is read.")
    properties = _member(envelope, "properties")
    body_encoding = properties.get("body_encoding")
    if body_encoding != "base64":
        raise UndecodableMessageError(f"Its body encoding is {_shown(body_encoding)}; only base64 is read.")
    if not isinstance(properties.get("delivery_info"), dict):
        raise UndecodableMessageError("Its properties have no delivery_info.")


def _task_body(envelope: dict[str, Any]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    inner = envelope.get("body")
    if not isinstance(inner, str):
        raise UndecodableMessageError("The envelope has no body.")
    match _json(_from_base64(inner, "the task's body"), "the task's body"):
        case [list() as args, dict() as kwargs, dict() as embed]:
            return args, kwargs, embed
    raise UndecodableMessageError("The task's body is not [args, kwargs, embed].")


def _member(envelope: dict[str, Any], name: str) -> dict[str, Any]:
    value = envelope.get(name)
    if not isinstance(value, dict):
        raise UndecodableMessageError(f"It is not a Celery envelope: it has no {name}.")
    return value


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UndecodableMessageError(f"{what.capitalize()} is not JSON: {error}.") from error


def _to_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _from_base64(text: str, what: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise UndecodableMessageError(f"{what.capitalize()} is not the base64 of a text: {error}.") from error


def _shown(value: object) -> str:
    """A foreign value as it may stand in a log line or an SQS attribute: short, and printable."""
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
