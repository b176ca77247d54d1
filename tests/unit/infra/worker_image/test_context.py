"""What the workers' image is built from."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from harbor_aws.infra.worker_image.context import image_tag, worker_context
from harbor_aws.infra.worker_image.installed import installed_files
from harbor_aws.infra.worker_image.wheel import installed_wheel

ROOT = Path(__file__).parents[4]
SITE_PACKAGES = sysconfig.get_path("purelib")

SAY = "from harbor_aws.infra.worker_image.context import worker_context as c; print(c().digest, c().tag)"


@pytest.fixture(scope="module")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a release would have, from this very checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = directory.glob("*.whl")
    return wheel


def unpacked(wheel: Path, directory: Path) -> Path:
    """The wheel as an installation, as far as importing goes."""
    shutil.unpack_archive(wheel, directory, "zip")
    return directory


def said_by(installation: Path) -> list[str]:
    """Digest and tag of what is installed there; the checkout is out of sight, for nobody reads its ``.pth``."""
    environment = {**os.environ, "PYTHONPATH": f"{installation}{os.pathsep}{SITE_PACKAGES}"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", SAY], env=environment, cwd=installation, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_it_is_the_same_every_time() -> None:
    """Made anew it has the same bytes: nothing of this machine, this user or this hour is in it."""
    first = worker_context()
    worker_context.cache_clear()
    assert worker_context() == first
    with tarfile.open(fileobj=io.BytesIO(first.archive)) as archive:
        members = archive.getmembers()
    assert [each.name for each in members] == ["Dockerfile", installed_wheel()[0], "requirements.txt"]
    assert {(each.mtime, each.uid, each.gid, each.uname, each.mode) for each in members} == {(0, 0, 0, "", 0o644)}
    assert first.archive[4:8] == bytes(4), "gzip's own time"


def test_its_digest_is_the_tars() -> None:
    """Of what is in it, whatever zlib made of that."""
    context = worker_context()
    assert context.digest == hashlib.sha256(gzip.decompress(context.archive)).hexdigest()


@pytest.mark.slow
def test_a_wheel_and_a_checkout_give_the_same(built_wheel: Path, tmp_path: Path) -> None:
    """Whoever deploys a version builds the image under the same tag."""
    context = worker_context()
    assert said_by(unpacked(built_wheel, tmp_path)) == [context.digest, context.tag]


@pytest.mark.slow
def test_nothing_is_missing(built_wheel: Path) -> None:
    """The package's files are those of a wheel, no more and no fewer."""
    with zipfile.ZipFile(built_wheel) as archive:
        released = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert set(installed_files()) == released


@pytest.mark.slow
def test_another_file_is_another_tag(built_wheel: Path, tmp_path: Path) -> None:
    """A changed line of code or of the Dockerfile makes another image; bytecode and hidden files do not."""
    directory = unpacked(built_wheel, tmp_path)
    before = said_by(directory)
    package = directory / "harbor_aws" / "worker"
    (package / ".hidden").write_text("x")
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "run.cpython-312.pyc").write_bytes(b"x")
    assert said_by(directory) == before
    seen = [before]
    for name in ("harbor_aws/worker/run.py", "harbor_aws/infra/worker_image/Dockerfile"):
        with (directory / name).open("a") as file:
            file.write("\n# changed\n")
        seen.append(said_by(directory))
        assert seen[-1] not in seen[:-1]


@pytest.mark.slow
def test_what_it_installs_is_what_it_was_made_from(tmp_path: Path) -> None:
    """pip takes the wheel in it; the commands are there; and it gives the same context again, as in the image."""
    name, content = installed_wheel()
    (tmp_path / name).write_bytes(content)
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", str(target), str(tmp_path / name)], check=True, capture_output=True, timeout=100)
    assert said_by(target) == [worker_context().digest, worker_context().tag]
    assert {each.name for each in (target / "bin").iterdir()} == set(_project()["scripts"])


@pytest.mark.parametrize(
    ("version", "tag"),
    [("0.1.0", "0.1.0-abcdefabcdef"), ("1.2.dev3+g4.d5", "1.2.dev3-g4.d5-abcdefabcdef")],
)
def test_a_tag_is_one_that_a_registry_takes(version: str, tag: str) -> None:
    """Whatever the version looks like."""
    assert image_tag(version, "abcdef" * 10 + "0000") == tag
    assert re.fullmatch(r"\w[\w.-]{0,127}", tag)


def test_every_requirement_is_pinned() -> None:
    """To a version that the project asks for, and that the tests run with."""
    pins, tested = _pins(ROOT / "docker" / "requirements.txt"), _pins(ROOT / "requirements-dev.txt")
    for each in map(Requirement, _project()["dependencies"]):
        assert each.specifier.contains(pins[each.name]), each
    assert {name: tested.get(name) for name in pins} == pins


def _project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _pins(path: Path) -> dict[str, Version]:
    """Names with versions; a line that pins nothing is an error."""
    found = {}
    for requirement in map(Requirement, path.read_text().split("\n")[:-1]):
        ((operator, version),) = ((each.operator, each.version) for each in requirement.specifier)
        assert operator == "=="
        found[requirement.name] = Version(version)
    return found
