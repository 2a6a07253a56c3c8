"""The local cache of the Hugging Face Hub: ``models--org--name/{blobs, refs, snapshots}``."""

from __future__ import annotations

import os
from pathlib import Path

from rmtaudit.checkpoints.files import read_small
from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name


def hub_cache() -> Path:
    """Return the folder of the cache, as ``huggingface_hub.constants`` finds it."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"])
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"], "hub")
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path(os.environ.get("HOME", ""), ".cache")
    return root / "huggingface" / "hub"


def cached_snapshot(repository: str, revision: str) -> Path | None:
    """Return the folder of a model in the cache at a revision (``""``: main), or ``None``.

    Parameters
    ----------
    repository
        ``org/name`` or ``name``.
    revision
        A branch, a tag or a reference, as it was when it was downloaded, or a commit.
    """
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    try:
        commit = revision
        reference = folder / "refs" / (revision or "main")
        if reference.is_file():
            commit = read_small(reference, 1024).decode("ascii", "replace").strip()
        names = {path.name for path in (folder / "snapshots").iterdir() if path.is_dir()}
    except (OSError, InputError):
        return None
    return folder / "snapshots" / commit if commit in names else None  # by comparison: it cannot be a path


def cached_models() -> list[str]:
    """Return the names of the models in the cache, sorted."""
    folders = hub_cache().glob("models--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders)


def snapshot_of(folder: Path) -> Path:
    """Return the snapshot that a folder of the cache stands for; any other folder as it is.

    A model's folder stands for ``refs/main``, or for its only snapshot; the cache itself for its only model.

    Raises
    ------
    UsageError
        There are several models or snapshots to choose from.
    InputError
        The cache is damaged.
    """
    if not (folder / "snapshots").is_dir():
        models = sorted(path for path in folder.glob("models--*") if (path / "snapshots").is_dir())
        if not models:
            return folder
        folder = _one(models, folder, "models")
    where = display_name(folder.name)
    snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    main = folder / "refs" / "main"
    if not main.exists():
        if not snapshots:
            raise InputError(
                "RA-IN-093",
                "The cache holds no snapshot of the model.",
                hint="Download it again.",
                where=where,
            )
        return _one(snapshots, folder, "snapshots")
    revision = read_small(main, 1024).decode("ascii", "replace").strip()
    for snapshot in snapshots:  # by comparison, so that a revision cannot be a path
        if snapshot.name == revision:
            return snapshot
    raise InputError(
        "RA-IN-093",
        f"The file refs/main names the snapshot '{display_name(revision)}', which does not exist.",
        hint="Download it again.",
        where=where,
    )


def _one(paths: list[Path], folder: Path, what: str) -> Path:
    if len(paths) > 1:
        shown = ", ".join(display_name(path.name, longest=100) for path in paths[:8])
        raise UsageError(
            "RA-IN-092",
            f"The cache holds several {what}: {shown}{', …' if len(paths) > 8 else ''}.",
            hint="Give the path of one of them.",
            where=display_name(folder.name),
        )
    return paths[0]
