"""The credentials that the proxy gives to its clients: a token that it can end, in a kubeconfig of its own."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Admission:
    """One token at a time is good; who reads the kubeconfig has it."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.token = ""
        self._server = ""

    def open(self, server: str) -> None:
        """Write the kubeconfig, for a server at this URL."""
        self._server = server
        self.renew()

    def renew(self) -> None:
        """From now on the token is another, as when a cloud's credentials have run out."""
        self.token = secrets.token_hex(16)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "chaos",
            "clusters": [{"name": "chaos", "cluster": {"server": self._server}}],
            "users": [{"name": "chaos", "user": {"token": self.token}}],
            "contexts": [{"name": "chaos", "context": {"cluster": "chaos", "user": "chaos"}}],
        }
        partial = self.kubeconfig.with_suffix(".partial")
        partial.write_text(json.dumps(content))
        partial.replace(self.kubeconfig)
