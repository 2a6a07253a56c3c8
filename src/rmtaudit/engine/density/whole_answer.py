"""The answer for a matrix whose spectrum was found on all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.density.method import Plan
from rmtaudit.engine.density.settings import DensitySettings
from rmtaudit.engine.sources import SourceOptions

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.density.whole import WholeSpectrum
    from rmtaudit.matrices.sources import MatrixSource

MOST_QUANTILES = 1 << 24
"""A convention: 128 MiB of float64."""


@dataclass(frozen=True, slots=True)
class WholeResult:
    """The document of a whole spectrum, and what it was made of.

    Attributes
    ----------
    document
        JSON values: see ``docs/commands/density.md``.
    spectrum
        Eigenvalues, or their distribution function with its bounds.
    """

    document: Mapping[str, Any]
    spectrum: WholeSpectrum

    @property
    def verdict(self) -> str:
        """``exact`` or ``measured``."""
        return str(self.document["verdict"]["word"])

    @property
    def answered(self) -> bool:
        """Whether there is a spectrum: always."""
        return True

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for could be told."""
        return bool(self.document["ridge"]["status"] != "refused")

    def quantiles(self) -> torch.Tensor:
        """Return the eigenvalues, ascending: all of them, or as many quantiles of their distribution."""
        return self.spectrum.quantiles(min(self.spectrum.order, MOST_QUANTILES))


def whole_answer(
    text: str,
    source: MatrixSource,
    plan: Plan,
    settings: DensitySettings,
    options: SourceOptions,
    compared: Path | None,
) -> WholeResult:
    """Find the spectrum of a matrix on all of it.

    Raises
    ------
    InputError
        As :func:`rmtaudit.engine.density.whole.measure`.
    """
    from rmtaudit.engine.density.whole import measure
    from rmtaudit.engine.density.whole_document import whole_document

    spectrum = measure(source, plan, settings, lower=options.symmetric is True)
    return WholeResult(
        whole_document(text, settings, options=options, source=source, spectrum=spectrum, compared=compared),
        spectrum,
    )
