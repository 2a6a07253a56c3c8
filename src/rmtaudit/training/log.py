"""The log of a training: JSON lines, one record each."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from rmtaudit.errors import OutputError
from rmtaudit.names import display_name

SCHEMA_NAME = "rmtaudit.training"
SCHEMA_VERSION = "1.0"


class TrainingLog:
    """A file of JSON lines. A disk that fails later ends the log with a warning, not the training.

    Parameters
    ----------
    path
        The file. Its folder must exist.
    append
        Whether to continue a file that exists.

    Raises
    ------
    OutputError
        RA-TR-001: the file exists and is not to be continued. RA-TR-002: it cannot be written.
    """

    def __init__(self, path: Path, *, append: bool) -> None:
        self._path = path
        where = display_name(str(path))
        try:
            self._file: TextIO | None = path.open("a" if append else "x", encoding="utf-8")
        except FileExistsError as error:
            raise OutputError(
                "RA-TR-001",
                "The log exists already.",
                hint="Give another path, or append=True to continue it.",
                where=where,
            ) from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OutputError("RA-TR-002", f"The log cannot be written: {reason}.", where=where) from error

    def write(self, *records: dict[str, Any]) -> None:
        """Write records, each as a line of strict JSON, and flush them."""
        if self._file is None:
            return
        lines = "".join(
            json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n" for record in records
        )
        try:
            self._file.write(lines)
            self._file.flush()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            warnings.warn(f"the training log {self._path} ends here: {reason}", stacklevel=2)
            with suppress(OSError):  # what could not be written cannot be flushed either
                self._file.close()
            self._file = None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
