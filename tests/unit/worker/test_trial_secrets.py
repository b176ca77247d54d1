"""What a trial's ending says of secrets: its worker's, and those that its own configuration refers to."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, override

import pytest
from harbor.agents.installed.base import NonZeroAgentExitCodeError
from harbor.models.trial.result import TrialResult
from tests.unit.worker.test_trial import TRIAL, Bench
from tests.unit.worker.trial_fakes import IdleAgent

from harbor_aws.infra.layout import result_key
from harbor_aws.producer.dead_letters.letter import LetterDetails
from harbor_aws.worker.attempt import current_attempt
from harbor_aws.worker.scrub.records import scrub_trial, scrubbed_record, scrubbed_result
from harbor_aws.worker.scrub.scrubber import Scrubber

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

VALUE = "zk3vq8x7lw2pm-r9tyb"
SAID = VALUE.encode().hex()
"""In which Harbor does not look for it."""


class TellingAgent(IdleAgent):
    """Says what it knows."""

    @override
    async def run(self, *args: Any, **kwargs: Any) -> None:
        raise NonZeroAgentExitCodeError(f"it is {SAID}")


def agent(import_path: str = f"{__name__}:TellingAgent", **env: str) -> dict[str, Any]:
    return {"agent": {"import_path": import_path, "env": env}}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A worker with a variable whose name does not tell that it is a secret."""
    monkeypatch.setenv("ORDINARY", VALUE)
    return Bench(tmp_path)


async def test_one_trials_secrets_are_not_another_ones(bench: Bench) -> None:
    """Who gives a variable on as a secret has it taken out of his own result, and out of nobody else's."""
    runner = bench.runner()
    await runner(bench.delivery(config=agent(API_KEY="${ORDINARY}")))
    assert bench.result is not None
    assert bench.result["result"]["exception_info"]["exception_message"] == "it is [ORDINARY]"
    await runner(bench.delivery(config=agent(), job="another"))
    other = json.loads(bench.store.objects[result_key("another", TRIAL)])
    assert other["result"]["exception_info"]["exception_message"] == f"it is {SAID}"


async def test_secrets_are_known_before_the_trial_is_made(bench: Bench) -> None:
    """What Harbor says when it cannot be made has none."""
    await bench.run(bench.delivery(config=agent(f"no.{VALUE}:Agent", API_KEY="${ORDINARY}")))
    (letter,) = bench.dead_letters.sent
    assert "no.[ORDINARY]" in letter.attributes["reason"]
    assert VALUE not in str(letter.attributes)


async def test_a_result_is_scrubbed_off_the_loop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is, other trials go on meanwhile; the attempt is known there, to whoever logs."""
    seen: list[tuple[threading.Thread, bool]] = []

    def noted(path: Path, scrubber: Scrubber) -> Any:
        seen.append((threading.current_thread(), current_attempt.get() is not None))
        return scrubbed_result(path, scrubber)

    monkeypatch.setattr("harbor_aws.worker.trial.scrubbed_result", noted)
    await bench.run(bench.delivery())
    ((thread, is_known),) = seen
    assert thread is not threading.current_thread()
    assert is_known


async def test_a_result_stays_the_trials_own(bench: Bench, tmp_path: Path) -> None:
    """Secrets that are words in it change neither what it is of, nor what decides its ending, nor any field's name.

    So it is where it is judged, and where it is archived.
    """
    await bench.run(bench.delivery(config=agent()))
    assert bench.result is not None
    told = bench.result["result"]
    told["agent_result"] = {"metadata": {"exception_type": "exception_type", f"a {VALUE}": VALUE}}
    file = tmp_path / "left" / "result.json"
    file.parent.mkdir()
    file.write_text(json.dumps(told))
    words = ("NonZeroAgentExitCodeError", "exception_type", "exception_message", told["task_name"], "task_name")
    scrubber = Scrubber({f"W{number}": word for number, word in enumerate(words)} | {"KEY": VALUE})
    result = scrubbed_result(file, scrubber)
    assert "KEY" in scrub_trial(file.parent, scrubber)
    assert TrialResult.model_validate_json(file.read_bytes()) == result
    dumped = result.model_dump(mode="json")
    for kept in ("task_name", "trial_name", "task_id", "source", "agent_info"):
        assert dumped[kept] == told[kept]
    assert dumped["exception_info"]["exception_type"] == "NonZeroAgentExitCodeError"
    assert dumped["exception_info"]["exception_message"] == "it is [KEY]"
    assert dumped["agent_result"]["metadata"] == {"[W1]": "[W1]", "a [KEY]": "[KEY]"}


def test_a_letter_keeps_its_fields() -> None:
    """A secret that is a field's name is taken out of what is said, and the letter can still be read."""
    details = LetterDetails(budget=3, traceback="the traceback")
    values = scrubbed_record(details.model_dump(mode="json"), details, Scrubber({"KEY": "traceback"}))
    assert LetterDetails.model_validate(values) == LetterDetails(budget=3, traceback="the [KEY]")
