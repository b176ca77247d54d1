"""Moving a finished tree to its place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def merge(source: Path, target: Path) -> None:
    """Move what is below ``source`` to the same place below ``target``, over what is there.

    If nothing is there it is one rename. Otherwise every file appears whole, one after the other, and links in the
    target are replaced rather than followed.
    """
    if not target.exists() and not target.is_symlink():
        source.rename(target)
        return
    for entry in os.scandir(source):
        place = target / entry.name
        if entry.is_dir(follow_symlinks=False) and place.is_dir() and not place.is_symlink():
            status = entry.stat(follow_symlinks=False)
            merge(Path(entry.path), place)
            place.chmod(status.st_mode & 0o777)
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
        else:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            elif entry.is_dir(follow_symlinks=False) and (place.exists() or place.is_symlink()):
                place.unlink()
            Path(entry.path).replace(place)
