"""Rows as a pandas table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def data_frame(rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows as a frame; raises ``UsageError`` (RA-US-301) where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError as error:
        raise UsageError(
            "RA-US-301", "The package pandas is not installed.", hint="pip install 'rmtaudit[pandas]'"
        ) from error
    return pd.DataFrame([list(row) for row in rows], columns=list(columns))
