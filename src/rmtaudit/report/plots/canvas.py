"""How every figure looks, and how it becomes bytes that do not change from run to run.

An SVG is made so that many can stand on one page: no external reference, ids of its own, styles that reach no
further than itself, text as text.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, VERMILION = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#D55E00",
)  # fmt: skip
"""Okabe and Ito's colours, which the colour-blind can tell apart."""
GREY = "#6e6e6e"

_DPI = 150
_LOCK = threading.RLock()  # matplotlib's settings and font cache are the process's
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    "lines.linewidth": 1.3,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "rmtaudit",
    "text.parse_math": False,  # a layer may be called $x$
}


@contextmanager
def style() -> Iterator[None]:
    """Hold matplotlib alone, with the look of the figures; draw and save inside it."""
    import matplotlib as mpl

    with _LOCK, mpl.rc_context():
        mpl.rcdefaults()  # the user's own settings would change the bytes
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain_logarithms(axes: Axes) -> None:
    """Give logarithmic axes few ticks, and labels that are no formulas: ``1e-3``."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=5))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def settle(figure: Figure) -> None:
    """Place the parts of a figure, once for all the formats that it is saved in."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def png(figure: Figure) -> bytes:
    """Return the figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, prefix: str, title: str) -> str:
    """Return the figure as an ``<svg>`` element.

    Parameters
    ----------
    figure
        Drawn inside :func:`style`.
    prefix
        Of every id; letters, digits and ``-``, starting with a letter. Different for figures on one page.
    title
        What a screen reader says.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(\sid=")', rf"\g<1>{prefix}", text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{prefix}", text)
    text = text.replace("*{", f"#{prefix}svg *{{", 1)
    label = escape(title, quote=True)
    head, body = text.split(">", 1)
    return f'{head} id="{prefix}svg" role="img" aria-label="{label}">{body}'.rstrip() + "\n"
