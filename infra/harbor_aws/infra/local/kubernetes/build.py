"""Builds images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harbor_aws.infra.local.kubernetes.machine import Machine


class Builder:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def build(self, image: str, context_tar: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def close(self) -> None: ...
