"""A table of sizes and log-determinants, as others have computed them: what FLODANCE extrapolates.

A text file with a row a matrix and a first line of names. Columns are known by their names::

    points, n, size               points of the matrix
    matrix_size, rows, dimension  its rows: points times outputs
    logdet, log_determinant       in nats; rows where it is empty are left out
    min_eigenvalue, smallest      optional, for the test of the rounding floor
    max_eigenvalue, largest
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.files import read_small
from rmtaudit.engine.logdet.settings import LogdetSettings
from rmtaudit.engine.sources.words import printed
from rmtaudit.errors import CorruptError, InputError, UsageError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.kernels.flodance import MinorSeries

_MOST_BYTES = 1 << 24
"""Of a table: a choice, some hundred thousand rows."""
_POINTS, _ROWS = ("points", "n", "size"), ("matrix_size", "rows", "dimension")
_LOGDET = ("logdet", "log_determinant", "logabsdet")
_SMALLEST, _LARGEST = ("min_eigenvalue", "smallest"), ("max_eigenvalue", "largest")


@dataclass(frozen=True, slots=True)
class Entry:
    """One matrix: points, log-determinant in nats, and its extreme eigenvalues where the table has them."""

    points: int
    logdet: float
    smallest: float | None = None
    largest: float | None = None


@dataclass(frozen=True, slots=True)
class SizeTable:
    """Nested matrices in the order of their sizes, and the file that they are from."""

    where: str
    entries: tuple[Entry, ...]

    def known(self, settings: LogdetSettings) -> MinorSeries:
        """Return the series of the sizes that may be looked at; ``UsageError`` (RA-LD-032) for none."""
        from rmtaudit.kernels.flodance import MinorSeries

        used = [each for each in self.entries if settings.up_to is None or each.points <= settings.up_to]
        if not used:
            raise UsageError(
                "RA-LD-032", f"The table has no size of at most {settings.up_to:,}.", where=self.where
            )
        last = used[-1]
        return MinorSeries.of(
            [each.points for each in used],
            [each.logdet for each in used],
            outputs=settings.outputs,
            smallest=last.smallest,
            largest=last.largest,
        )

    def held_out(self, settings: LogdetSettings) -> float | None:
        """Return the log-determinant of the size that is predicted, where the table has it."""
        return next((each.logdet for each in self.entries if each.points == settings.size), None)


def read_table(path: Path, select: str, outputs: int) -> SizeTable:
    """Return the table of a file.

    Parameters
    ----------
    path
        The file.
    select
        Only rows one of whose fields holds this text.
    outputs
        Rows of a point, where the table counts rows.

    Raises
    ------
    InputError
        RA-IN-… as for every file. RA-LD-033: no columns of these names, or no row.
    CorruptError
        RA-LD-034: a field that is no number.
    UsageError
        RA-LD-035: two rows of one size, or a size that is no multiple of the outputs.
    """
    where = printed(path)
    text = read_small(path, _MOST_BYTES).decode("utf-8", "replace")
    rows = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    names = {str(name).strip().lower(): name for name in (rows[0] if rows else {}) if name is not None}

    def column(candidates: tuple[str, ...]) -> str | None:
        return next((names[name] for name in candidates if name in names), None)

    points, count, logdet = column(_POINTS), column(_ROWS), column(_LOGDET)
    if logdet is None or (points is None and count is None):
        raise InputError(
            "RA-LD-033",
            "This is not a table of log-determinants: the first line must name a column of sizes "
            "and one of log-determinants.",
            hint="Name the columns points (or matrix_size, in rows) and logdet.",
            where=where,
        )
    entries = []
    for number, row in enumerate(rows, start=2):
        fields = [field for field in row.values() if isinstance(field, str)]
        if select and not any(select in field for field in fields):
            continue
        if not (row[logdet] or "").strip():
            continue
        place = f"{where}, line {number}"
        size = _number(row[points or count or ""], place)
        if points is None:
            size /= outputs
        if size != int(size) or size < 1:
            raise UsageError(
                "RA-LD-035",
                f"{row[points or count or '']} rows are not a whole number of points of {outputs} "
                "outputs each.",
                hint=(
                    "Use --outputs D for the rows of each point, or --select TEXT for some rows "
                    "of the table only."
                ),
                where=place,
            )
        extremes = [
            _number(row[name], place) if name is not None and (row[name] or "").strip() else None
            for name in (column(_SMALLEST), column(_LARGEST))
        ]
        entries.append(Entry(int(size), _number(row[logdet], place), *extremes))
    if not entries:
        raise InputError("RA-LD-033", "No row with a log-determinant is left.", where=where)
    entries.sort(key=lambda each: each.points)
    twice = next((a for a, b in pairwise(entries) if a.points == b.points), None)
    if twice is not None:
        raise UsageError(
            "RA-LD-035",
            f"Two rows have the size {twice.points:,}, so they cannot belong to one series.",
            hint="Use --select TEXT to keep only the rows with that text.",
            where=where,
        )
    return SizeTable(where, tuple(entries))


def _number(text: str | None, place: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise CorruptError(
            "RA-LD-034", f"{display_name(str(text))!r} is not a number.", where=place
        ) from None
    if not math.isfinite(value):
        raise CorruptError("RA-LD-034", f"{value} is not a log-determinant, size or eigenvalue.", where=place)
    return value
