"""No secret travels, and none is broken on the way."""

from __future__ import annotations

from typing import Any

import pytest
from harbor.models.job.config import JobConfig

from harbor_aws.producer.secrets import secret_reasons

ENVIRON = {"OPENAI_API_KEY": "sk-0123456789abcdef0123", "HOME": "/home/someone", "SHORT_KEY": "abc"}


def reasons(**config: Any) -> list[str]:
    return secret_reasons(JobConfig.model_validate(config), ENVIRON)


@pytest.mark.parametrize(
    "config",
    [
        {"agents": [{"name": "nop", "env": {"OPENAI_API_KEY": "${OPENAI_API_KEY}"}}]},
        {"agents": [{"name": "nop", "env": {"GREETING": "hello there, world"}}]},
        {"agents": [{"name": "nop", "kwargs": {"max_tokens": 1000, "api_key_env": "OPENAI_API_KEY", "key": "a"}}]},
        {"agents": [{"name": "nop", "kwargs": {"keys": ["abc"], "path": "/home/someone"}}]},
        {"verifier": {"env": {"JUDGE_TOKEN": "${JUDGE_TOKEN:-none}"}}},
    ],
)
def test_what_is_no_secret_passes(config: dict[str, Any]) -> None:
    """Templates, ordinary values, names of variables and numbers under a telling name are let through."""
    assert reasons(**config) == []


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"agents": [{"name": "nop", "env": {"OPENAI_API_KEY": "sk-other"}}]}, "--ae OPENAI_API_KEY"),
        ({"verifier": {"env": {"JUDGE_TOKEN": "t"}}}, "--ve JUDGE_TOKEN"),
        ({"environment": {"env": {"DB_PASSWORD": "p"}}}, "environment.env DB_PASSWORD"),
        ({"agents": [{"name": "nop", "kwargs": {"api_key": "sk-something"}}]}, "--ak api_key"),
        ({"agents": [{"name": "nop", "kwargs": {"client": {"auth_token": "0123456789"}}}]}, "--ak client.auth_token"),
        ({"environment": {"kwargs": {"secret": "0123456789"}}}, "--ek secret"),
        ({"agents": [{"name": "nop", "env": {"X": ENVIRON["OPENAI_API_KEY"]}}]}, "agents[0].env.X holds the value of"),
        ({"extra_instructions": [f"Use {ENVIRON['OPENAI_API_KEY']}."]}, "extra_instructions[0] holds the value of"),
    ],
)  # fmt: skip
def test_a_secret_is_refused_by_name(config: dict[str, Any], named: str) -> None:
    """Each place where a secret would be written is named, its value never."""
    found = reasons(**config)
    assert any(reason.startswith(named) for reason in found), found
    assert not any("0123456789" in reason or "sk-other" in reason for reason in found)


def test_a_secret_that_the_environment_has_too_travels_as_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """--ae KEY=value with the value of the producer's own KEY becomes ${KEY}, for the worker to fill in."""
    monkeypatch.setenv("OPENAI_API_KEY", ENVIRON["OPENAI_API_KEY"])
    agent = {"name": "nop", "env": {"OPENAI_API_KEY": ENVIRON["OPENAI_API_KEY"]}}
    assert reasons(agents=[agent]) == []
    assert JobConfig.model_validate({"agents": [agent]}).model_dump()["agents"][0]["env"] == {
        "OPENAI_API_KEY": "${OPENAI_API_KEY}"
    }
