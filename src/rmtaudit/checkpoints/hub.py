"""The Hugging Face hub: its cache, ``models--org--name/{blobs, refs, snapshots}``, and what is not local."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rmtaudit.checkpoints.files import read_small
from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name

_URL = re.compile(r"([a-z][a-z0-9+]{1,9}):/+(.*)", re.DOTALL)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")


_FILE_ENDINGS = frozenset(
    (".safetensors", ".bin", ".pt", ".pth", ".th", ".ckpt", ".pkl", ".pickle", ".json", ".gguf", ".onnx",
     ".h5", ".hdf5", ".keras", ".npz", ".npy", ".pb", ".tflite", ".zip", ".tar", ".msgpack", ".pt2", ".xml")
)  # fmt: skip


def as_given(path: Path) -> str:
    """Return a path as text; of a URL, with the slashes that :class:`pathlib.Path` has taken out."""
    text = os.fspath(path)
    url = _URL.fullmatch(text)
    return f"{url[1]}://{url[2]}" if url else text


def remote_refusal(path: Path) -> InputError | None:
    """Return the refusal of a URL or of the name of a model of the hub; ``None`` for a path of a file.

    A path that exists, or whose folder does, or that has the ending of a file, is no name of a model.
    """
    text = as_given(path)
    where = display_name(text)
    url = _URL.fullmatch(text)
    if url is not None:
        repository = _of_hub(url[1], url[2])
        fetch = f": hf download {repository}" if repository else ""
        fetch = fetch or (f": curl -LO {text}" if url[1].startswith("http") else ".")
        return InputError(
            "RA-IN-094",
            "a URL; rmtaudit reads local files only.",
            hint=f"Download it first{display_name(fetch)}",
            where=where,
        )
    if not _REPOSITORY.fullmatch(text) or path.suffix.lower() in _FILE_ENDINGS or os.path.lexists(path):
        return None
    if path.parent != Path() and path.parent.exists():
        return None
    cached = _hub_cache() / f"models--{text.replace('/', '--')}"
    if cached.is_dir():
        hint = f"The model of that name in the cache of the Hugging Face hub is read with {cached}."
    else:
        hint = f"Check the path. A model of the Hugging Face hub is downloaded first: hf download {text}"
    return InputError(
        "RA-IN-001", "no such file or folder; rmtaudit reads local files only.", hint=hint, where=where
    )


def _of_hub(scheme: str, rest: str) -> str:
    """Return the repository of the hub that a URL is of; ``""`` for any other URL."""
    host, _, path = rest.partition("/") if scheme != "hf" else ("huggingface.co", "", rest)
    if host not in {"huggingface.co", "www.huggingface.co", "hf.co"}:
        return ""
    owner, _, name = path.partition("/")
    name = name.partition("/")[0]
    repository = owner if name in {"", "resolve", "blob", "tree", "raw"} else f"{owner}/{name}"
    return repository if _REPOSITORY.fullmatch(repository) else ""


def _hub_cache() -> Path:
    """Return the folder of the cache, as ``huggingface_hub.constants`` finds it."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"])
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"], "hub")
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path(os.environ.get("HOME", ""), ".cache")
    return root / "huggingface" / "hub"


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
                "RA-IN-093", "no snapshot was downloaded.", hint="Download it again.", where=where
            )
        return _one(snapshots, folder, "snapshots")
    revision = read_small(main, 1024).decode("ascii", "replace").strip()
    for snapshot in snapshots:  # by comparison, so that a revision cannot be a path
        if snapshot.name == revision:
            return snapshot
    raise InputError(
        "RA-IN-093",
        f"refs/main names the snapshot '{display_name(revision)}', which is not there.",
        hint="Download it again.",
        where=where,
    )


def _one(paths: list[Path], folder: Path, what: str) -> Path:
    if len(paths) > 1:
        shown = ", ".join(display_name(path.name, longest=100) for path in paths[:8])
        raise UsageError(
            "RA-IN-092",
            f"several {what}: {shown}{', …' if len(paths) > 8 else ''}.",
            hint="Give the path of one of them.",
            where=display_name(folder.name),
        )
    return paths[0]
