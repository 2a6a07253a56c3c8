"""What a folder holds, on this machine or in a remote tree."""

from __future__ import annotations

import os
from pathlib import Path

from rmtaudit.checkpoints.remote.paths import RemotePath


def listed(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders in a folder, each sorted. Raises ``OSError``."""
    if isinstance(folder, RemotePath):
        return folder.listed()
    files: list[str] = []
    folders: list[str] = []
    for entry in os.scandir(folder):
        (folders if entry.is_dir() else files).append(entry.name)
    return sorted(files), sorted(folders)
