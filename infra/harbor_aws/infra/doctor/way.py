"""The way to AWS: names, this machine's clock, credentials."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from botocore.exceptions import BotoCoreError

from harbor_aws.infra import aws
from harbor_aws.infra.doctor.asking import ask, in_background
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.doctor.subject import Subject

LARGEST_SKEW_SECONDS = 300
"""AWS refuses a request whose signature is older or newer than that.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"""

SUSPECT_SKEW_SECONDS = 60

SHORTEST_VALIDITY = timedelta(hours=1)
"""Credentials that last less may run out while somebody waits for a job."""

_LOG_IN = "Log in again (`aws sso login`, or new keys), or set AWS_PROFILE to a profile that works."
_SYNCHRONISE = "Set this machine's clock: `timedatectl set-ntp true`, or `chronyc makestep`."


async def resolve(urls: Sequence[str], *, fix: str) -> Outcome:
    """Whether every URL's host has an address, unless a proxy finds it."""
    hosts = sorted({host for url in urls if (host := urlsplit(url).hostname)})
    proxy = getproxies().get("https")
    if proxy and not all(proxy_bypass(host) for host in hosts):
        return Outcome.skipped(f"{', '.join(hosts)}: names are the proxy's matter ({urlsplit(proxy).hostname})")
    unknown = [host for host in hosts if not await in_background(partial(_addresses, host))]
    if unknown:
        return Outcome.failed(f"no address for {', '.join(unknown)}", fix)
    return Outcome.ok(f"{', '.join(hosts)} resolve" if len(hosts) > 1 else f"{hosts[0]} resolves")


def _addresses(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return False


async def _configuration(subject: Subject) -> Outcome:
    try:
        await in_background(subject.sts)
    except (BotoCoreError, ValueError) as error:
        return Outcome.failed(f"AWS's configuration cannot be used: {error}", CONFIGURATION.fix)
    profile = os.environ.get("AWS_PROFILE")
    return Outcome.ok(f"region {subject.account.region}" + (f", profile {profile}" if profile else ""))


async def _names(subject: Subject) -> Outcome:
    def endpoints() -> list[str]:
        account = subject.account
        return [
            subject.sts().meta.endpoint_url,
            aws.cloudformation_client(account).meta.endpoint_url,
            aws.sqs_client(account).meta.endpoint_url,
            aws.s3_client(account).meta.endpoint_url,
        ]

    return await resolve(await in_background(endpoints), fix=NAMES.fix)


async def _clock(subject: Subject) -> Outcome:
    url = (await in_background(subject.sts)).meta.endpoint_url
    try:
        async with aiohttp.ClientSession(trust_env=True) as session:
            before, begun = datetime.now(UTC), time.monotonic()
            async with session.head(url, allow_redirects=False) as answer:
                passed = time.monotonic() - begun
                date = answer.headers.get("Date")
    except aiohttp.ClientError as error:
        raise TransientError(f"{url} cannot be reached: {error}") from error
    if date is None:
        return Outcome.skipped(f"{url} does not say what time it is")
    # The header has whole seconds, cut off; the answer was written about half way.
    skew = (before - parsedate_to_datetime(date)).total_seconds() + passed / 2 - 0.5
    evidence = f"this machine's clock is {abs(skew):.0f} s {'before' if skew > 0 else 'behind'} AWS's"
    if abs(skew) > LARGEST_SKEW_SECONDS:
        return Outcome.failed(f"{evidence}; beyond {LARGEST_SKEW_SECONDS} s AWS refuses what is signed", _SYNCHRONISE)
    if abs(skew) > SUSPECT_SKEW_SECONDS:
        return Outcome.warning(evidence, _SYNCHRONISE)
    return Outcome.ok(f"within {max(1, abs(skew)):.0f} s of AWS's")


async def _credentials(subject: Subject) -> Outcome:
    try:
        found = await in_background(lambda: aws.found_credentials(subject.account))
    except (BotoCoreError, RuntimeError) as error:  # botocore's word for some that are expired already
        return Outcome.failed(f"they cannot be had: {error}", _LOG_IN)
    if found is None:
        return Outcome.failed("there are none", _LOG_IN)
    arn = (await ask("sts:GetCallerIdentity", lambda: subject.sts().get_caller_identity()))["Arn"]
    return _validity(found, arn)


def _validity(found: aws.Credentials, arn: str) -> Outcome:
    who = f"{arn}, from {found.source}"
    if found.expires_at is None:
        return Outcome.ok(f"{who}, {'temporary, of unknown end' if found.is_temporary else 'which do not expire'}")
    left = found.expires_at - datetime.now(UTC)
    evidence = f"{who}, which expire at {found.expires_at:%Y-%m-%d %H:%M} UTC (in {left.total_seconds() / 60:.0f} min)"
    if found.renews_itself:
        return Outcome.ok(f"{evidence} and are then renewed")
    if left < SHORTEST_VALIDITY:
        return Outcome.warning(
            evidence, f"{_LOG_IN} Workers have their own; what waits for a job here would end with these."
        )
    return Outcome.ok(evidence)


CONFIGURATION = Check(
    id="aws-configuration",
    title="AWS's configuration can be used",
    look=_configuration,
    fix="Look at ~/.aws/config, AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL; `aws configure list` shows what counts.",
    applies_to=ON_AWS,
)
NAMES = Check(
    id="dns-aws",
    title="AWS's names resolve",
    look=_names,
    fix="Look at this machine's name server: `cat /etc/resolv.conf`; behind a VPN or proxy, connect it first.",
    needs=("aws-configuration",),
    applies_to=ON_AWS,
)
CLOCK = Check(
    id="clock",
    title="This machine's clock is right",
    look=_clock,
    fix="Let this machine reach AWS by HTTPS (port 443), or set HTTPS_PROXY.",
    needs=("dns-aws",),
    applies_to=ON_AWS,
)
CREDENTIALS = Check(
    id="credentials",
    title="AWS takes the credentials, and will for a while",
    look=_credentials,
    fix=_LOG_IN,
    needs=("clock",),
    applies_to=ON_AWS,
)

CHECKS = (CONFIGURATION, NAMES, CLOCK, CREDENTIALS)
