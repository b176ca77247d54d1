"""An AWS account on moto's server, for CloudFormation: what moto leaves out of it, done as AWS does it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.request import Request, urlopen

from moto.cloudformation.models import ChangeSet
from moto.ec2.models import ec2_backends
from moto.ec2.models.route_tables import RouteTable
from tests.integration.moto_stack import REGION, moto_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

UNKNOWN_TO_MOTO = "ignore:Tried to parse AWS:UserWarning"
"""Queue and bucket policies and alarms: moto's CloudFormation passes them over with a warning."""


@contextmanager
def moto_account() -> Iterator[str]:
    """The URL of a fresh account's endpoint."""
    with (
        patch.object(ChangeSet, "apply", _apply),
        patch.object(RouteTable, "delete", _delete_route_table, create=True),
        moto_server() as url,
    ):
        urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()  # noqa: S310 - moto, on the loopback
        yield url


def use_account(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let all that follows AWS's own configuration go to this account."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "moto",
        "AWS_SECRET_ACCESS_KEY": "moto",
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HARBOR_AWS_STACK", raising=False)


def _apply(change_set: Any) -> None:
    """moto changes the resources, forgets parameters and outputs, and takes a default that is said for a change."""
    stack, template = change_set.stack, change_set.template_dict
    defaults = {name: each["Default"] for name, each in template["Parameters"].items() if "Default" in each}
    stack.parameters = {**defaults, **change_set.parameters}
    stack.resource_map.update(template, stack.parameters)
    stack.template = change_set.template
    stack._parse_template()
    stack.output_map = stack._create_output_map()


def _delete_route_table(table: Any, account_id: str, region: str) -> None:
    """moto deletes no route tables, and then no VPC."""
    backend = ec2_backends[account_id][region]
    for association in list(table.associations):
        backend.disassociate_route_table(association)
    backend.delete_route_table(table.id)
