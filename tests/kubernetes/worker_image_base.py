"""A stand-in for Docker's ``python:3.12-slim``: the cluster's Debian with the Python that runs these tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "config-*", "idlelib", "site-packages", "test", "tests", "tkinter", "_tkinter*"
)


def make_base(root: Path, *, debian: Path) -> None:
    """Fill the directory ``root`` with that Debian, and Python with pip below ``/usr/local``.

    Args:
        debian: a tar of the root file system of this machine's release, whose libraries fit this machine's Python.
    """
    subprocess.run(["tar", "xf", debian, "-C", root], check=True)
    prefix, local = Path(sys.base_prefix), root / "usr" / "local"
    for directory in ("bin", "lib"):
        (local / directory).mkdir(parents=True, exist_ok=True)
    shutil.copy2(prefix / "bin" / _VERSION, local / "bin" / _VERSION)
    for name in ("python", "python3"):
        (local / "bin" / name).symlink_to(_VERSION)
    for library in prefix.glob("lib/libpython*.so*"):
        shutil.copy2(library, local / "lib", follow_symlinks=False)
    shutil.copytree(prefix / "lib" / _VERSION, local / "lib" / _VERSION, ignore=_LEFT_OUT, symlinks=True)
    (local / "lib" / _VERSION / "site-packages").mkdir()
    _copy_libraries(root, [local / "bin" / _VERSION, *local.glob(f"lib/{_VERSION}/lib-dynload/*.so")])
    subprocess.run(["chroot", root, "/sbin/ldconfig"], check=True)
    subprocess.run(["chroot", root, "python", "-m", "ensurepip", "--default-pip"], check=True, capture_output=True)


def _copy_libraries(root: Path, programs: list[Path]) -> None:
    """What those need of this machine's libraries, as far as Debian's own are not there already."""
    said = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    for library in {Path(path) for path in re.findall(r"=> (/\S+)", said)}:
        inside = root / "usr" / library.relative_to("/usr" if library.is_relative_to("/usr") else "/")
        if not library.is_relative_to(sys.base_prefix) and not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library.resolve(), inside)
