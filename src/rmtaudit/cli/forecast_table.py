"""How the forecast of a spectrum looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value

_INTERVALS = (
    "Intervals take the eigenvalues for independent draws. Those of one matrix repel each other: most "
    "intervals are then too wide, but not that of the exponent at the smallest ridges, where few decide."
)
_PAPER = (
    "times l for mu = n^-l, as Hodgkinson, Wang and Mahoney (2025) print it: it does not follow from the "
    "bias above, whose exponent is at most 2."
)
_BELOW = (
    "Below the smallest eigenvalue every finite spectrum has the exponent 2 (0 if some eigenvalues are 0)."
)


def draw_forecast(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of :mod:`rmtaudit.engine.forecast` on a console."""
    subject, law = document["subject"], document["htmp"]
    console.print(Text(display_name(subject["path"]) or "values", style="bold", overflow="fold"))
    console.print(Text(_facts(subject), style="dim"))
    console.print(Text("ridge mu, bias L = mu² E (λ + mu)^-2, exponent d log L/d log mu", style="dim"))
    console.print()
    console.print(_curve(document))
    console.print(_law(law))
    console.print()
    console.print(Text(f"{_INTERVALS}\n{_BELOW}", style="dim"))


def _facts(subject: Mapping[str, Any]) -> str:
    ends = f"{format_value(subject['least_positive'])} to {format_value(subject['greatest'])}"
    zeros = f"; {subject['zeros']} more are 0" if subject["zeros"] else ""
    return f"{subject['values'] - subject['zeros']} eigenvalues from {ends}{zeros}"


def _curve(document: Mapping[str, Any]) -> Table:
    law = document["htmp"]
    curve = law["curve"] if law["status"] == "ok" else None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    heads = ["mu", "bias", "interval", "exp.", "interval"]
    if curve is not None:
        heads += ["HTMP", "exp."]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for index, row in enumerate(document["empirical"]):
        cells = [f"{row['mu']:.3g}"]
        for name, digits in (("bias", None), ("exponent", 2)):
            cells += [_number(row[name]["value"], digits), _interval(row[name]["ci"], digits)]
        if curve is not None:
            cells += [f"{curve[index]['bias']:.3g}", f"{curve[index]['exponent']:.3f}"]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _law(law: Mapping[str, Any]) -> Table | Text:
    if law["status"] != "ok":
        return Text(f"HTMP not fitted: {law['reason']}", style="dim")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    kappa = law["kappa"]
    bad = law["verdict"] == "rejected"
    bound = "≤ " if law["p_value"] <= 0.005 else ""
    fitted = f"gamma {law['gamma']:.4g}, kappa {kappa['value']:.4g} ± {kappa['se']:.2g}"
    lines = [
        ("HTMP", f"{fitted}, delta {law['delta']:.4g}", ""),
        ("fit", f"p {bound}{law['p_value']:.2g}: {law['sentence']}", "yellow" if bad else ""),
        ("limit", f"exponent min(2, delta) = {law['limit_exponent']:.4g} as mu goes to 0", ""),
        ("paper", f"2 + delta = {law['paper_exponent']:.4g}, {_PAPER}", ""),
    ]
    for name, text, style in lines:
        grid.add_row(Text(name), Text(text, style=style))
    return grid


def _number(value: float, digits: int | None) -> str:
    return f"{value:.3g}" if digits is None else f"{value:.{digits}f}"


def _interval(ends: Sequence[float] | None, digits: int | None) -> str:
    return "—" if ends is None else f"{_number(ends[0], digits)}–{_number(ends[1], digits)}"
