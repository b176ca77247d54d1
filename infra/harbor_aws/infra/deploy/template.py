"""The CloudFormation template as text. Reads a file of this package, nothing else."""

from __future__ import annotations

import re
from importlib.resources import files

LONGEST_BODY = 51_200
"""Bytes of a template that is sent in the request itself; a larger one would have to lie in a bucket first.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""


BUDGET = "Budget"


def template_body(*, has_budget: bool) -> str:
    """The template, without the lines of comment, which are for readers and would take room in a request.

    Without a budget it does not name that type, which many regions do not know.

    A condition is no help: CloudFormation checks the types of all resources, whatever comes of their conditions.
    """
    text = re.sub(r"^ *#.*\n", "", files(__package__).joinpath("template.yaml").read_text(), flags=re.MULTILINE)
    return text if has_budget else _without(text, BUDGET)


def _without(text: str, resource: str) -> str:
    """The template without one of its resources: the line with its name, and those that are indented below."""
    return re.sub(rf"^  {resource}:\n(    .*\n)+", "", text, count=1, flags=re.MULTILINE)
