"""A report as a pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.errors import UsageError
from rmtaudit.report.writers.csv import IDENTITY, identity, metric_names

if TYPE_CHECKING:
    import pandas as pd

    from rmtaudit.report.model import Report


def report_to_pandas(report: Report) -> pd.DataFrame:
    """Return one row a layer, in the report's order: identity columns, then one column a metric.

    A metric without a value is ``None`` (``NaN`` in a column of numbers); names are as they are stored.

    Raises
    ------
    UsageError
        RA-US-301 where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise UsageError(
            "RA-US-301", "pandas is not installed.", hint="pip install 'rmtaudit[pandas]'"
        ) from error
    names = metric_names([report])
    rows = [
        [*identity(layer), *(layer.metrics[name].value if name in layer.metrics else None for name in names)]
        for layer in report.layers
    ]
    return pd.DataFrame(rows, columns=[*IDENTITY, *names])
