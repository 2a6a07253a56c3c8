"""The contract between a command line and matrices that rmtaudit does not know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmtaudit.matrices.sources.base import MatrixSource


class SourceOpener(ABC):
    """What makes a :class:`~rmtaudit.matrices.sources.MatrixSource` of a SOURCE on a command line.

    Openers are classes in the entry-point group ``rmtaudit.sources``. One is asked about a text that names no
    file, and about a file or folder that none of rmtaudit's own formats knows.

    Attributes
    ----------
    name
        Of what it opens, for error messages: ``"toeplitz"``.
    usage
        How a SOURCE of this kind is written: ``"toeplitz:ORDER"``, ``"FILE.h5"``.
    """

    name: str
    usage: str

    @abstractmethod
    def opens(self, text: str) -> bool:
        """Whether a SOURCE is of this kind; decided by the text alone, or by a look at the file's head."""

    @abstractmethod
    def open(self, text: str) -> MatrixSource:
        """Open a SOURCE of this kind; rmtaudit closes it.

        Raises
        ------
        InputError, UsageError
            It cannot be read, or makes no sense. Any other exception is reported as a fault of the plugin.
        """
