"""The command line's table of contents."""

from __future__ import annotations

import typer

from harbor_aws.producer.cli.demo import demo
from harbor_aws.producer.cli.enqueue import enqueue
from harbor_aws.producer.cli.fetch import fetch
from harbor_aws.producer.cli.local import local_app
from harbor_aws.producer.cli.scale import scale
from harbor_aws.producer.cli.status import status

_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="harbor-aws",
    help="Run Harbor's agent benchmarks on AWS: thousands of trials at once, on SQS, Celery and EKS Fargate.",
    no_args_is_help=True,
    add_completion=False,
    context_settings=_SETTINGS,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(enqueue)
app.command()(status)
app.command()(fetch)
app.command()(scale)
app.add_typer(local_app, name="local")
app.command()(demo)

enqueue_app = typer.Typer(
    name="harbor-aws-enqueue",
    add_completion=False,
    context_settings=_SETTINGS,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
enqueue_app.command()(enqueue)
