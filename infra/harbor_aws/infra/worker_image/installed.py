"""The files of harbor-aws as it is installed here: the same, under the same names, from a wheel or from a checkout."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DISTRIBUTION = "harbor-aws"

_PACKAGES = ("harbor_aws.infra", "harbor_aws.producer", "harbor_aws.worker")
"""Each may lie in a directory of its own. Others may add to the namespace, so its path is no guide."""

_RECIPE = ("Dockerfile", "requirements.txt")
_RECIPE_PLACE = "harbor_aws/infra/worker_image"


def recipe() -> dict[str, bytes]:
    """The Dockerfile and the requirements: in a wheel they are beside this module, in a checkout in ``docker/``."""
    here = Path(__file__).parent
    directory = here if (here / _RECIPE[0]).exists() else here.parents[3] / "docker"
    return {name: (directory / name).read_bytes() for name in _RECIPE}


def installed_files() -> dict[str, bytes]:
    """Every file of the distribution by its path in a wheel, without metadata and without what Python compiles."""
    found = {f"{_RECIPE_PLACE}/{name}": content for name, content in recipe().items()}
    for package in _PACKAGES:
        found |= dict(_files_of(package))
    return dict(sorted(found.items()))


def _files_of(package: str) -> Iterator[tuple[str, bytes]]:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    root, prefix = Path(spec.origin).parent, package.replace(".", "/")
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        if path.is_file() and not _is_left_out(inside):
            yield f"{prefix}/{inside.as_posix()}", path.read_bytes()


def _is_left_out(path: Path) -> bool:
    """Bytecode, and the hidden files of editors and systems."""
    return path.suffix == ".pyc" or any(part.startswith(".") or part == "__pycache__" for part in path.parts)
