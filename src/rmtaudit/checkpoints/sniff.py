"""What a file is that no reader knows: a broken download, or a format that is not read yet."""

from __future__ import annotations

import re
from pathlib import Path

from rmtaudit.errors import NotACheckpointError
from rmtaudit.names import display_name

_LFS = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?:.*\r?\n)*?size (\d{1,20})")
_PARTIAL = (".part", ".partial", ".incomplete", ".crdownload", ".download", ".tmp", ".aria2")
_AGAIN = "Download it again."

_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"tjgg", "a GGML file, the format before GGUF"),
    (0, b"fmgg", "a GGML file, the format before GGUF"),
    (0, b"lmgg", "a GGML file, the format before GGUF"),
    (4, b"ORTM", "an ONNX Runtime model (.ort)"),
    (0, b"RIFF", "a RIFF file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"PK\x05\x06", "an empty zip archive"),
)


def broken_download(path: Path, head: bytes, size: int) -> NotACheckpointError | None:
    """Return the error for what is left where a download failed, or ``None``.

    Parameters
    ----------
    path
        The file, for its name.
    head
        Its first bytes (up to 4096).
    size
        Its size in bytes.
    """
    where = display_name(path.name)
    if size == 0:
        return NotACheckpointError("RA-IN-010", "The file is empty.", hint=_AGAIN, where=where)
    pointer = _LFS.match(head)
    if pointer:
        return NotACheckpointError(
            "RA-IN-011",
            f"This is a Git LFS pointer, not the weights: the file has {size} bytes but should "
            f"have {int(pointer[1])}.",
            hint="Run: git lfs pull",
            where=where,
        )
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return NotACheckpointError(
            "RA-IN-012", "This is an HTML page, not a checkpoint.", hint=_AGAIN, where=where
        )
    if size < 8:
        return NotACheckpointError(
            "RA-IN-014", f"{size} bytes are too few for a checkpoint.", hint=_AGAIN, where=where
        )
    if text[:1] in {b"{", b"["} and re.match(rb"[\[{]\s*([\"\[{\]}\d]|$)", text):
        if b'"error"' in text or b'"message"' in text:
            return NotACheckpointError(
                "RA-IN-013", "This is a JSON error message, not a checkpoint.", hint=_AGAIN, where=where
            )
        return NotACheckpointError(
            "RA-IN-013",
            "This is a JSON file, not a checkpoint.",
            hint="Give the folder that contains it.",
            where=where,
        )
    if path.name.lower().endswith(_PARTIAL):
        return NotACheckpointError(
            "RA-IN-015", "The name is that of an incomplete download.", hint=_AGAIN, where=where
        )
    return None


def foreign_format(path: Path, head: bytes) -> NotACheckpointError | None:
    """Return the error for a format that is known and not read yet, or ``None``."""
    kind = next((kind for at, magic, kind in _MAGICS if head[at : at + len(magic)] == magic), None)
    if kind is None:
        return None
    archive = kind.endswith("archive")
    return NotACheckpointError(
        "RA-IN-017",
        f"This is {kind}, not a checkpoint." if archive else f"This is {kind}, which is not supported yet.",
        hint="Unpack it first." if archive else "",
        where=display_name(path.name),
    )
