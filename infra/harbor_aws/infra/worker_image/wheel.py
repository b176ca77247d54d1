"""A wheel made from files, the same bytes from the same files.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib.metadata import Distribution
from typing import TYPE_CHECKING

from harbor_aws.infra.worker_image.installed import DISTRIBUTION, installed_files

if TYPE_CHECKING:
    from collections.abc import Mapping

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can say."""

_READABLE = 0o100644 << 16
"""A plain file's mode, where zip keeps it."""

_WHEEL = "Wheel-Version: 1.0\nGenerator: harbor-aws\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def installed_wheel() -> tuple[str, bytes]:
    """The name and the content of a wheel of harbor-aws as it is installed here.

    Its metadata are the name, the version and the commands; what it requires is pinned elsewhere.
    """
    distribution = Distribution.from_name(DISTRIBUTION)
    stem = f"{DISTRIBUTION.replace('-', '_')}-{distribution.version}"
    info = f"{stem}.dist-info"
    files = installed_files() | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {distribution.version}\n".encode(),
        f"{info}/WHEEL": _WHEEL.encode(),
        f"{info}/entry_points.txt": _commands(distribution).encode(),
    }
    record = f"{info}/RECORD"
    return f"{stem}-py3-none-any.whl", _zipped(files | {record: _record(files, name=record).encode()})


def _commands(distribution: Distribution) -> str:
    commands = sorted(each for each in distribution.entry_points if each.group == "console_scripts")
    return "\n".join(["[console_scripts]", *(f"{each.name} = {each.value}" for each in commands), ""])


def _record(files: Mapping[str, bytes], *, name: str) -> str:
    lines = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in files.items()]
    return "\n".join([*lines, f"{name},,", ""])


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """Not compressed: different releases of zlib give different bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files.items():
            member = zipfile.ZipInfo(path, date_time=_EARLIEST)
            member.create_system = 3  # Unix, wherever this runs
            member.external_attr = _READABLE
            archive.writestr(member, content)
    return buffer.getvalue()
