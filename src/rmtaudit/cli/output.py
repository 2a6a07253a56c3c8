"""Where a result goes: stdout, or a file that is either the old one or the whole new one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rmtaudit.errors import OutputError, UsageError
from rmtaudit.report.writers import FORMATS, SUFFIXES

ALL_FORMATS = ("table", *FORMATS)
DOCUMENT_FORMATS = ("table", "json")
"""Those of a result that is no report of a scan."""


def format_for(chosen: str | None, output: Path | None, formats: Sequence[str] = ALL_FORMATS) -> str:
    """Return the format of a result: the chosen one, else what the file's ending says, else the table.

    Raises ``UsageError`` (RA-US-002) for an ending that says none of ``formats``.
    """
    if chosen is not None:
        return chosen
    if output is None or output.suffix.lower() == ".txt":
        return "table"
    said = SUFFIXES.get(output.suffix.lower(), "")
    if said not in formats:
        raise UsageError(
            "RA-US-002",
            f"The ending {output.suffix!r} says no format.",
            hint=f"Add --format {'|'.join(formats)}.",
            where=str(output),
        )
    return said


@dataclass(slots=True)
class OutputFile:
    """A file to be written at the end of a run."""

    target: Path
    temporary: Path | None

    def write(self, text: str) -> None:
        """Write the whole file; a reader sees the old one or this. Raises ``OutputError`` (RA-OU-003)."""
        self.write_bytes(text.encode())

    def write_bytes(self, data: bytes) -> None:
        """As :meth:`write`, of what is no text."""
        try:
            if self.temporary is None:
                self.target.write_bytes(data)
                return
            with self.temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self.temporary.replace(self.target)
        except OSError as error:
            raise _refusal("RA-OU-003", "Cannot be written", self.target, error) from error


@contextmanager
def output_file(path: Path, inputs: Sequence[Path] = ()) -> Iterator[OutputFile]:
    """Open a file for writing at the end; whether it can be written is found out now.

    A temporary file beside it takes the text and then its place. A device or a pipe is written as it is.

    Raises
    ------
    OutputError
        RA-OU-002 where the path is a folder, one of the inputs, or nothing can be created there.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise OutputError("RA-OU-002", "Is a folder.", hint="Name a file.", where=str(path))
        if any(item.exists() and target.exists() and item.samefile(target) for item in inputs):
            raise OutputError(
                "RA-OU-002", "Is one of the inputs.", hint="Name another file.", where=str(path)
            )
        temporary = None
        if stat.S_ISREG(mode):
            temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
            temporary.touch(exist_ok=False)
    except OSError as error:
        raise _refusal("RA-OU-002", "Cannot be written", path, error) from error
    try:
        yield OutputFile(target, temporary)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _refusal(code: str, message: str, path: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(code, f"{message}: {reason}.", where=str(path))
