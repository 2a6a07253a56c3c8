"""Every error that rmtaudit raises on purpose.

::

    RmtauditError                 code, message, hint, where
    ├── UsageError                the call cannot be carried out as written (exit 2)
    ├── InputError                the input cannot be read (exit 2)
    │   ├── NotACheckpointError   no reader knows this file
    │   ├── CorruptError          the file breaks its own format
    │   ├── UnsafeError           reading it further could run code or exhaust the machine
    │   └── ChangedError          the file changed while it was being read
    ├── UnreachableError          the matrix cannot be reached in the way that was asked for (exit 2)
    ├── OutputError               a result cannot be written (exit 2)
    ├── NothingAuditableError     read without fault, but holds no weight matrix (exit 3)
    └── StoppedWorkError          the work was stopped on request (exit 130)

They are grouped by what the caller would do about them. ``code`` is stable (``RA-IN-012``) and is what a
machine should read; ``hint`` says what to do next; ``where`` names the file, the tensor or the byte.
"""

from __future__ import annotations


class RmtauditError(Exception):
    """Root of all errors.

    Parameters
    ----------
    code
        Stable identifier, ``RA-<family>-<number>``.
    message
        What is wrong, in one sentence that names the facts.
    hint
        What the user can do about it.
    where
        The file, and inside it the tensor or byte position, that the message is about.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.hint}" if self.hint else ""
        return f"{place}{self.message}{advice} [{self.code}]"


class UsageError(RmtauditError):
    """The call cannot be carried out as written."""


class InputError(RmtauditError):
    """The input cannot be read."""


class NotACheckpointError(InputError):
    """No reader knows this file."""


class CorruptError(InputError):
    """The file breaks its own format."""


class UnsafeError(InputError):
    """Reading the file further could run code or exhaust the machine."""


class ChangedError(InputError):
    """The file changed while it was being read."""


class UnreachableError(RmtauditError):
    """The matrix cannot be reached in the way that was asked for."""


class OutputError(RmtauditError):
    """A result cannot be written."""


class NothingAuditableError(RmtauditError):
    """The checkpoint was read without fault, but holds no weight matrix."""


class StoppedWorkError(RmtauditError):
    """The work was stopped on request, by a signal or by the caller's own ``stop``.

    Parameters
    ----------
    message
        How far it came.
    kept
        Whether finished parts are on disk, so that the same call with ``resume`` continues from them.
    """

    def __init__(self, message: str, *, kept: bool) -> None:
        super().__init__("RA-LD-040", message)
        self.kept = kept
