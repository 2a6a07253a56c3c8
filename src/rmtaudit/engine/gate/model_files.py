"""The files of a model and their digests, by which attestations and bills of materials name it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from rmtaudit.checkpoints.weight_files import weight_files
from rmtaudit.errors import ChangedError, InputError, OutputError

Stamp = tuple[int, int, int]
"""Size, time of the last change and inode of a file: what changes when it is written again."""

_SIGNATURES = ("*.sig", "*.sigstore", "*.sigstore.json", "*.bundle")
"""Names of signatures: those of OpenSSF model signing (``model.sig``), of cosign and of sigstore."""

_SIGNED_TREE = ("model.sig", "*.sigstore", "*.sigstore.json")
"""Those that cover a folder with everything below it."""


def file_stamps(path: Path) -> dict[str, Stamp]:
    """Return the stamps of the files of a model by name: one file, or the weights of a folder.

    Empty for a path that is neither: a model of the Hub, or one inside an archive.
    """
    if path.is_dir():
        files = {name: path / name for name in weight_files(path)}
    else:
        files = {path.name: path} if path.is_file() else {}
    stamps = {}
    for name, file in files.items():
        seen = file.stat()
        stamps[name] = (seen.st_size, seen.st_mtime_ns, seen.st_ino)
    return stamps


def file_digests(path: Path, stamps: Mapping[str, Stamp]) -> dict[str, str]:
    """Return the SHA-256 of the files of a model, in hexadecimal, by name.

    Parameters
    ----------
    path
        The model, as given to :func:`file_stamps`.
    stamps
        What :func:`file_stamps` returned before the model was judged.

    Raises
    ------
    ChangedError
        RA-IN-007: a file has changed since, so that its digest is not that of what was judged.
    InputError
        RA-IN-001: a file cannot be read any more.
    """
    digests = {}
    try:
        for name in stamps:
            with (path / name if path.is_dir() else path).open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        now = file_stamps(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            "RA-IN-001", f"The file can no longer be read: {reason}.", where=str(path)
        ) from error
    if now != stamps:
        raise ChangedError(
            "RA-IN-007",
            "The model changed while it was being judged, so its digest would be that of different bytes.",
            hint="Wait until no process writes to it.",
            where=str(path),
        )
    return digests


def require_unsigned(target: Path) -> None:
    """Raise ``OutputError`` (RA-OU-007) where a new file would break the signature of a folder.

    A folder counts as signed if a signature lies in it, or a signature of a whole model lies in a folder
    above it.
    """
    folder = target.absolute().parent
    for place, patterns in ((folder, _SIGNATURES), *((above, _SIGNED_TREE) for above in folder.parents)):
        signature = next((each for pattern in patterns for each in _matching(place, pattern)), None)
        if signature is not None:
            raise OutputError(
                "RA-OU-007",
                f"The folder is signed ({signature.name}): a new file in it would break the signature.",
                hint="Write the statement to a folder outside the model.",
                where=str(target),
            )


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
