"""The Python API of the commands on samples: ``tails``, ``forecast`` and ``forecast_ridge``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rmtaudit.engine.samples.forecast import ForecastKeywords, ForecastSettings, forecast_values
from rmtaudit.engine.samples.ridge import RidgeKeywords, RidgeSettings, forecast_ridge_arrays
from rmtaudit.engine.samples.tails import TailKeywords, TailSettings, study_file, study_values
from rmtaudit.engine.settings.keywords import settings_from
from rmtaudit.errors import InputError
from rmtaudit.matrices.samples import read_samples

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any] | torch.Tensor
    Numbers = Sequence[float] | np.ndarray[Any, Any] | torch.Tensor


@dataclass(frozen=True, slots=True)
class SampleResult:
    """The answer about a sample of numbers.

    Attributes
    ----------
    document
        JSON values, as the command writes them: see ``docs/commands/tails.md`` and
        ``docs/commands/forecast.md``.
    """

    document: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        """Return a part of the document: ``result["upper"]["alpha"]["value"]``."""
        return self.document[key]

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        return dict(self.document)


def tails(
    values: str | Path | Numbers, *, settings: TailSettings | None = None, **keywords: Unpack[TailKeywords]
) -> SampleResult:
    """Fit the two tails of a sample.

    Parameters
    ----------
    values
        A file as the command reads it, or numbers: shape ``(n,)``.
    settings
        How tails are fitted, as an object.
    **keywords
        Or its fields: ``side``, ``bootstrap``, ``min_tail``, ``level``, ``confidence``, ``seed`` …

    Raises
    ------
    InputError
        The file cannot be read; RA-SA-006 not one-dimensional, RA-SA-007 empty, RA-SA-008 not finite.
    UsageError
        RA-US-401, and RA-US-701 to 703: a setting that is unknown, makes no sense, or is given twice.
    NothingAuditableError
        RA-NA-002: none of the tails asked for can be fitted.

    Examples
    --------
    >>> import numpy, rmtaudit
    >>> sample = (1 - numpy.random.default_rng(0).random(2000)) ** -0.5  # a Pareto law of exponent 3
    >>> upper = rmtaudit.tails(sample, side="upper")["upper"]
    >>> round(upper["alpha"]["value"], 1)
    3.0
    """
    chosen = settings_from(TailSettings, settings, keywords)
    if isinstance(values, str | Path):
        return SampleResult(study_file(Path(values), chosen))
    return SampleResult(study_values(_numbers(values, "values"), chosen))


def forecast(
    eigenvalues: str | Path | Numbers,
    *,
    population: str | Path | Numbers | None = None,
    signal: str | Path | Numbers | None = None,
    settings: ForecastSettings | None = None,
    **keywords: Unpack[ForecastKeywords],
) -> SampleResult:
    """Forecast the error of ridge regression from the spectrum of its features.

    Parameters
    ----------
    eigenvalues
        All eigenvalues, zeros included, of the covariance or of the kernel matrix: a file as the command
        reads it, or numbers, shape ``(n,)``, not negative.
    population, signal
        Eigenvalues of the population covariance, and squared coefficients of the target along its
        eigenvectors in the same order: files or numbers, as ``eigenvalues`` are.
    settings
        How the spectrum is read, as an object.
    **keywords
        Or its fields: ``matrix``, ``shape``, ``points``, ``bootstrap``, ``confidence``, ``level``, ``seed``.

    Raises
    ------
    InputError
        A file cannot be read; numbers as of :func:`tails`; RA-SA-009: a number is negative.
    UsageError
        RA-US-402 to 405: it cannot be told which matrix has these eigenvalues, or the lists do not go
        together; RA-US-701 to 703: a setting that is unknown, or given twice.
    NothingAuditableError
        RA-NA-003: every eigenvalue is 0, or they are out of range.

    Examples
    --------
    >>> import rmtaudit
    >>> found = rmtaudit.forecast([1.0] * 40 + [0.1] * 60, matrix="covariance", shape=(400, 100), bootstrap=0)
    >>> found["isotropy"]["verdict"]
    'contradicted'
    """
    chosen = settings_from(ForecastSettings, settings, keywords)
    population = chosen.population if population is None else population
    signal = chosen.signal if signal is None else signal
    named = replace(chosen, population=_file_name(population), signal=_file_name(signal))
    document = forecast_values(
        _nonnegative(eigenvalues, "eigenvalues"),
        named,
        population=None if population is None else _nonnegative(population, "population"),
        signal=None if signal is None else _nonnegative(signal, "signal"),
        path=_file_name(eigenvalues) or "",
    )
    return SampleResult(document)


def forecast_ridge(
    x: Array,
    y: Array,
    *,
    x_test: Array | None = None,
    y_test: Array | None = None,
    settings: RidgeSettings | None = None,
    **keywords: Unpack[RidgeKeywords],
) -> SampleResult:
    """Forecast the error of regression on random features against width, ridge and sample size.

    Parameters
    ----------
    x, y
        Inputs, shape ``(n, p)``, and targets, shape ``(n,)`` or ``(n, k)``.
    x_test, y_test
        Test data, likewise; without them a part of ``x`` and ``y`` is held out.
    settings
        What is forecast, as an object.
    **keywords
        Or its fields: ``activation``, ``width``, ``ridge``, ``labels``, ``raw``, ``hold_out``, ``samples``,
        ``points``, ``draws``, ``confidence``, ``seed``.

    Raises
    ------
    InputError
        RA-SA-005, 008 and 017 to 019: arrays that are no samples of a regression.
    UsageError
        RA-US-407: settings that make no sense; RA-US-701 to 703: one that is unknown, or given twice.

    Examples
    --------
    >>> import rmtaudit, numpy
    >>> x = numpy.random.default_rng(0).normal(size=(200, 10))
    >>> answer = rmtaudit.forecast_ridge(x, x[:, 0], width=50, draws=0)["answers"]["width"]
    >>> answer["from"], answer["to"], answer["verdict"]
    (50, 100, 'helps')
    """
    import torch

    given = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    arrays = {}
    for name, array in given.items():
        if array is None:
            continue
        try:
            arrays[name] = torch.as_tensor(array)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError("RA-SA-005", f"The array {name} has no numbers: {error}.") from error
    return SampleResult(forecast_ridge_arrays(arrays, settings_from(RidgeSettings, settings, keywords)))


def _file_name(given: object) -> str | None:
    return str(given) if isinstance(given, str | Path) else None


def _nonnegative(given: str | Path | Numbers, name: str) -> torch.Tensor:
    if isinstance(given, str | Path):
        return read_samples(given, sign="nonnegative")
    values = _numbers(given, name)
    if bool((values < 0).any()):
        raise InputError("RA-SA-009", f"The {name} contain a negative number.", where=f"<{name}>")
    return values


def _numbers(given: Numbers, name: str) -> torch.Tensor:
    """Return numbers as a float64 tensor of shape ``(n,)``, finite and at least one."""
    import torch

    try:
        known = hasattr(given, "dtype")  # torch would make float32 of a list
        values = torch.as_tensor(given, dtype=None if known else torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("RA-SA-005", f"The {name} are not numbers: {error}.") from error
    if values.is_complex():
        raise InputError("RA-SA-005", f"The {name} are complex numbers, not real ones.")
    values = values.to("cpu", torch.float64)
    if values.ndim != 1:
        shape = tuple(values.shape)
        raise InputError("RA-SA-006", f"Expected a 1-D array of {name}, got shape {shape}.")
    if not len(values):
        raise InputError("RA-SA-007", f"There are no {name}: the array is empty.")
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise InputError("RA-SA-008", f"{bad} of the {len(values)} {name} are NaN or infinite.")
    return values
