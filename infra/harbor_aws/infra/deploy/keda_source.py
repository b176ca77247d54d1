"""Where KEDA's release manifest comes from: a file, or an address of the web. Blocking."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from harbor_aws.infra.deploy.keda_manifest import KEDA_VERSION, KedaManifestError

FETCH_SECONDS = 60.0
"""How long the other side may be silent."""

LARGEST_BYTES = 16 * 2**20
"""A release's file has about one MiB, most of it schemas."""


def read_keda_manifest(source: str) -> str:
    """The text behind a path or an https address.

    Raises:
        KedaManifestError: it cannot be had.
    """
    if "://" in source:
        return _fetch(source)
    try:
        return Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KedaManifestError(f"KEDA's manifest {source} cannot be read: {error}") from error


def _fetch(address: str) -> str:
    if not address.startswith("https://"):
        raise KedaManifestError(f"KEDA's manifest {address} is not fetched: whoever is on the way could change it.")
    try:
        with urllib.request.urlopen(address, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - https, by the line above
            if not answer.url.startswith("https://"):
                raise KedaManifestError(f"KEDA's manifest {address} leads to {answer.url}, which is not https.")
            body: bytes = answer.read(LARGEST_BYTES + 1)
        if len(body) > LARGEST_BYTES:
            raise KedaManifestError(f"What is at {address} is too large for KEDA's manifest.")
        return body.decode()
    except (urllib.error.URLError, HTTPException, OSError, UnicodeDecodeError) as error:
        raise KedaManifestError(
            f"KEDA's manifest cannot be fetched from {address}: {error}. Where there is no way to it, fetch "
            f"keda-{KEDA_VERSION}-core.yaml elsewhere and say --keda-manifest FILE; or --no-autoscaling."
        ) from error
