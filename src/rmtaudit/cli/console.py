"""Where tables are drawn: stdout, or a text as wide as for a pipe."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from rich.console import Console

WIDTH_ELSEWHERE = 160
"""Columns where there is no terminal and ``COLUMNS`` does not say."""

_HEIGHT_ELSEWHERE = 100  # nothing depends on it, but with a width alone rich asks the environment for both


def stdout_console() -> Console:
    """Return a console on stdout, as wide as the terminal."""
    width, height = (None, None) if sys.stdout.isatty() else (_width_elsewhere(), _HEIGHT_ELSEWHERE)
    return _Console(width=width, height=height, highlight=False)


def drawn_text(draw: Callable[[Console], None]) -> str:
    """Return what is drawn on a console as plain text, as wide as for a pipe."""
    text = io.StringIO()
    console = Console(
        file=text,
        width=_width_elsewhere(),
        height=_HEIGHT_ELSEWHERE,
        force_terminal=False,
        color_system=None,
        highlight=False,
    )
    draw(console)
    return text.getvalue()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich itself would end the process with 1, the code of a gate


def _width_elsewhere() -> int:
    columns = os.environ.get("COLUMNS", "")
    return max(int(columns), 40) if columns.isascii() and columns.isdigit() else WIDTH_ELSEWHERE
