"""Which of a job's first messages were sent: the note beside its plan, that one command at a time holds.

It is written when sending begins, again and again while it goes on, and when it ends, each time on the condition that
nobody else has written it meanwhile. So a second command that would send for the job is refused; and where a first one
that stood still comes back, it finds the note taken and stops.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.layout import job_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor_aws.infra.objects import ObjectStore, ObjectVersion

logger = logging.getLogger(__name__)

SENT_NAME = "sent.json"
"""The note, beside the job's plan."""

WATCH_SECONDS = 10.0
"""How long a note that was not closed must stay as it is before its holder counts as killed: one that sends writes it
about once a second."""


class SendingElsewhereError(HarborAwsError):
    """Another command sends the job's messages."""

    def __init__(self, job: str) -> None:
        super().__init__(
            f"Another enqueue of the job {job!r} is sending its trials, so this one has stopped. When that one has "
            f"ended, `harbor-aws enqueue --resume {job}` sends what may be missing then."
        )


class _Note(BaseModel):
    """The note's content."""

    model_config = ConfigDict(frozen=True)

    holder: str = ""
    """Names the command that wrote it."""
    is_open: bool = False
    """Whether that command goes on sending, unless it was killed."""
    trials: list[str]

    @classmethod
    def of(cls, body: bytes) -> _Note:
        found = json.loads(body)
        return cls(trials=found) if isinstance(found, list) else cls.model_validate(found)  # a list is an older one's


class SentNote:
    """The note in the hands of this process.

    Attributes:
        before: names of the trials that were sent when it was taken.
        sent: those that were sent since; for the holder to add to.
    """

    def __init__(self, store: ObjectStore, job: str, *, taken: ObjectVersion | None) -> None:
        self.before = frozenset(_Note.of(taken.body).trials) if taken else frozenset()
        self.sent: set[str] = set()
        self._store = store
        self._job = job
        self._holder = uuid4().hex
        self._etag = taken.etag if taken else None

    def write(self, *, is_open: bool = True) -> None:
        """Note what was sent by now.

        Raises:
            SendingElsewhereError: another command has the note.
        """
        key = job_key(self._job, SENT_NAME)
        note = _Note(holder=self._holder, is_open=is_open, trials=sorted(self.before | self.sent))
        while (etag := self._store.put_if_unchanged(key, note.model_dump_json().encode(), etag=self._etag)) is None:
            there = self._store.get_version(key)
            if there is None or _Note.of(there.body).holder != self._holder:
                raise SendingElsewhereError(self._job)
            self._etag = there.etag  # this process wrote it, and was interrupted before it heard so
        self._etag = etag


@contextmanager
def held_note(store: ObjectStore, job: str) -> Iterator[SentNote]:
    """Hold the job's note for the length of a ``with``; what was sent in it is noted however that ends.

    Raises:
        SendingElsewhereError: another command has the note. It may take :data:`WATCH_SECONDS` to know.
    """
    note = SentNote(store, job, taken=_abandoned(store, job))
    note.write()
    try:
        yield note
    finally:
        try:
            note.write(is_open=False)
        except HarborAwsError as error:
            logger.warning(
                "What was sent last of job %s could not be noted; `enqueue --resume` would send it again: %s",
                job,
                error,
            )


def _abandoned(store: ObjectStore, job: str) -> ObjectVersion | None:
    """The note as it was left by whoever had it last, if that one is done or was killed."""
    key = job_key(job, SENT_NAME)
    left = store.get_version(key)
    if left is None or not _Note.of(left.body).is_open:
        return left
    logger.warning("The last enqueue of job %s has not ended properly; %.0f s show if it goes on.", job, WATCH_SECONDS)
    time.sleep(WATCH_SECONDS)
    now = store.get_version(key)
    if now is not None and now.etag != left.etag and _Note.of(now.body).is_open:
        raise SendingElsewhereError(job)
    return now
