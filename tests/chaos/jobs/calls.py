"""What a request to SQS or S3 asks for, and what its answer means for the history. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.chaos.jobs.events import Kind

from harbor_aws.producer.celery_message import UndecodableMessageError, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SQS_TARGET = "AmazonSQS."

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    actor: str
    service: str
    """``sqs`` or ``s3``."""
    operation: str
    """SQS's action; the HTTP method of S3."""
    key: str = ""
    """S3: of the object."""
    body: bytes = b""

    @classmethod
    def of(cls, actor: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Self:
        target = headers.get("X-Amz-Target", "")
        if target.startswith(SQS_TARGET):
            return cls(actor, "sqs", target.removeprefix(SQS_TARGET), body=body)
        return cls(actor, "s3", method, key=path.lstrip("/").partition("/")[2], body=body)

    @property
    def fields(self) -> Fields:
        """The arguments of an SQS action."""
        return json.loads(self.body) if self.service == "sqs" and self.body else {}

    def with_fields(self, fields: Fields) -> bytes:
        return json.dumps(fields).encode()


@dataclass(frozen=True, slots=True)
class Happened:
    """A part of an event, without its time."""

    kind: Kind
    fields: Fields


def trial_of(body: str) -> Fields:
    """Which attempt at which trial a message's body is about; nothing if it is no message of ours."""
    try:
        message = decode(body)
    except UndecodableMessageError:
        return {}
    return {"job": message.job, "trial": message.trial, "replay": message.replay, "attempt": message.attempt}


def meaning(call: Call, status: int, answer: bytes, *, dead_letter_queue_url: str) -> Iterator[Happened]:
    """What a service has done that matters to the history."""
    if call.service == "s3":
        yield from _of_s3(call, status)
    elif status == 200:
        yield from _of_sqs(call, json.loads(answer or b"{}"), dead_letter_queue_url=dead_letter_queue_url)


def _of_s3(call: Call, status: int) -> Iterator[Happened]:
    job, folder, trial = _object(call.key)
    if call.operation != "PUT" or "tagging" in call.key:
        return
    if folder == "results":
        kinds = {200: Kind.COMMITTED, 412: Kind.REFUSED}
        if status in kinds:
            yield Happened(kinds[status], {"job": job, "trial": trial})
    elif folder == "states" and status == 200:
        state = _json_within(call.body)
        told = {name: state.get(name, 0) for name in ("attempt", "replay")}
        yield Happened(Kind.PHASE, {"job": job, "trial": trial, "note": state.get("phase", ""), **told})


def _object(key: str) -> tuple[str, str, str]:
    """Job, folder and trial of ``jobs/<job>/<folder>/<trial>.json``."""
    parts = key.partition("?")[0].split("/")
    if len(parts) != 4 or parts[0] != "jobs":
        return "", "", ""
    return parts[1], parts[2], parts[3].removesuffix(".json")


def _json_within(body: bytes) -> Fields:
    """The JSON object in a body that may be framed with its checksum."""
    start, end = body.find(b"{"), body.rfind(b"}")
    found: Fields = json.loads(body[start : end + 1]) if start >= 0 else {}
    return found


def _of_sqs(call: Call, answer: Fields, *, dead_letter_queue_url: str) -> Iterator[Happened]:
    asked = call.fields
    to_dead_letters = same_queue(asked.get("QueueUrl", ""), dead_letter_queue_url)
    match call.operation:
        case "SendMessage" | "SendMessageBatch":
            taken = {entry["Id"]: entry["MessageId"] for entry in answer.get("Successful", [])}
            for entry in asked.get("Entries") or [{**asked, "Id": None}]:
                message = answer.get("MessageId") or taken.get(entry["Id"])
                if message:
                    kind = Kind.DEAD if to_dead_letters else Kind.SENT
                    yield Happened(kind, {"message": message, **trial_of(entry["MessageBody"])})
        case "ReceiveMessage" if not to_dead_letters:
            for got in answer.get("Messages", []):
                fields = {"message": got["MessageId"], "receipt": got["ReceiptHandle"], **trial_of(got["Body"])}
                yield Happened(Kind.RECEIVED, fields)
        case "DeleteMessage" if not to_dead_letters:
            yield Happened(Kind.ACKNOWLEDGED, {"receipt": asked["ReceiptHandle"]})
        case "ChangeMessageVisibility" if not to_dead_letters:
            note = f"after {asked['VisibilityTimeout']} s"
            yield Happened(Kind.SHOWN, {"receipt": asked["ReceiptHandle"], "note": note})
        case "ChangeMessageVisibilityBatch" if not to_dead_letters:
            done = {entry["Id"] for entry in answer.get("Successful", [])}
            for entry in asked["Entries"]:
                if entry["Id"] in done:
                    yield Happened(Kind.EXTENDED, {"receipt": entry["ReceiptHandle"]})


def same_queue(url: str, other: str) -> bool:
    """By name: the host of a queue's URL differs by the way to it."""
    return bool(url) and url.rpartition("/")[2] == other.rpartition("/")[2]
