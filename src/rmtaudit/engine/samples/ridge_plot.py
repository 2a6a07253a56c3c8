"""The curves of a forecast of random-feature regression, as a file."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmtaudit.errors import OutputError, UsageError


def check_plot(path: Path) -> None:
    """Find out before the work whether a figure can be drawn.

    Raises
    ------
    UsageError
        RA-US-506: neither .png nor .svg; RA-US-303: matplotlib is not installed.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        message = f"The ending {path.suffix!r} is neither .png nor .svg."
        raise UsageError("RA-US-506", message, where=str(path))
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "RA-US-303",
            "Plots need matplotlib, which is not installed.",
            hint="pip install 'rmtaudit[plots]'",
        )


def save_plot(document: Mapping[str, Any], path: Path) -> None:
    """Draw the errors against width and sample size.

    Raises
    ------
    UsageError
        As :func:`check_plot`.
    OutputError
        RA-OU-003: the file cannot be written.
    """
    check_plot(path)
    from rmtaudit.report.plots.canvas import png, settle, style, svg
    from rmtaudit.report.plots.ridge import ridge_figure

    with style():
        figure = ridge_figure(document)
        settle(figure)
        title = document["subject"]["path"] or "arrays"
        if path.suffix.lower() == ".png":
            data = png(figure)
        else:
            prefix = f"rmt-{hashlib.sha256(title.encode(errors='replace')).hexdigest()[:8]}-"
            data = svg(figure, prefix, title).encode()
    try:
        path.write_bytes(data)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError("RA-OU-003", f"The file cannot be written: {reason}.", where=str(path)) from error
