"""How a spectrum that was found on the whole matrix looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.density_table import FUNCTIONALS, missing_values, rounding_lines
from rmtaudit.cli.grid import label_grid
from rmtaudit.engine.resources.memory_size import format_bytes
from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value

_MOST_ATOMS = 8
"""A convention: atoms that are listed."""


def draw_whole(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of a spectrum that is exact, or measured by products."""
    verdict, subject = document["verdict"], document["subject"]
    console.print(Text(display_name(subject["name"]), style="bold", overflow="fold"))
    console.print(Text(f"the whole matrix, of order {subject['order']}", style="dim"))
    style = "bold yellow" if verdict["reason"] else "bold green"
    console.print(Text(verdict["word"], style=style).append(f": {verdict['route']}", style="not bold"))
    console.print()
    console.print(_values(document))
    console.print()
    console.print(label_grid(_lines(document)))


def _values(document: Mapping[str, Any]) -> Table:
    predicted, compared = document["prediction"], document["against"]
    eigenvalues = document["method"]["name"] == "eigenvalues"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("eigenvalues")
    table.add_column(document["verdict"]["word"], justify="right", no_wrap=True)
    if not eigenvalues:
        table.add_column("90 % bounds", justify="right")
    if compared is not None:
        table.add_column("true", justify="right", no_wrap=True)
    known = compared or {"functionals": {}, "quantiles": [None] * len(predicted["quantiles"])}
    rows = [
        (label, predicted["functionals"][name], known["functionals"].get(name))
        for name, label in FUNCTIONALS.items()
    ]
    rows += [
        (f"quantile {one['level']:.0%}", one, true)
        for one, true in zip(predicted["quantiles"], known["quantiles"], strict=True)
    ]
    for label, number, true in rows:
        if number["value"] is None:
            continue  # the reason follows below
        row = [label, format_value(number["value"])]
        if not eigenvalues:
            row.append(_bounds(number))
        if compared is not None:
            row.append("" if true is None else format_value(true))
        table.add_row(*(Text(cell) for cell in row))
    return table


def _lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    predicted, method = document["prediction"], document["method"]
    yield from missing_values(predicted["functionals"])
    atoms = sorted(predicted["atoms"], key=lambda one: -float(one["mass"]))
    for atom in atoms[:_MOST_ATOMS]:
        share = f"{atom['mass']:.2%}"
        if atom["low"] is not None and atom["low"] < atom["high"]:
            share = f"{atom['low']:.2%} to {atom['high']:.2%} of the eigenvalues"
        yield "atom", f"{share} at {format_value(atom['place'])}"
    if len(atoms) > _MOST_ATOMS:
        yield "atom", f"and {len(atoms) - _MOST_ATOMS} smaller ones"
    if method["probes"] is not None:
        yield (
            "products",
            (
                f"{method['steps']} Lanczos steps with each of {method['probes']} probes; "
                f"{format_bytes(method['memory'])} in addition to the matrix"
            ),
        )
    yield "symmetry", display_name(document["subject"]["symmetric"])
    yield from rounding_lines(document["subject"]["rounding"])
    yield from _ridge(document["ridge"])
    compared = document["against"]
    if compared is not None:
        yield (
            "against",
            f"{compared['eigenvalues']} true eigenvalues: KS {compared['ks']:.2%}, W1 "
            f"{format_value(compared['wasserstein'])}",
        )


def _ridge(ridge: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if ridge["ridge"] is None:
        return
    head = f"{ridge['ridge']:g}: "
    if ridge["status"] != "ok":
        yield "ridge", f"{head}{ridge['status']}: {display_name(ridge['reason'])}"
        return
    parts = [
        f"{name} {format_value(number['value'])} ({_bounds(number)})"
        if number["low"] is not None and number["low"] < number["high"]
        else f"{name} {format_value(number['value'])}"
        for name, number in (
            ("log det / size", ridge["log_det"]),
            ("effective dimension / size", ridge["effective_dimension"]),
        )
    ]
    yield "ridge", head + ", ".join(parts)


def _bounds(number: Mapping[str, Any]) -> str:
    low, high = number["low"], number["high"]
    if low is None and high is None:
        return ""
    if low is None:
        return f"at most {format_value(high)}"
    return f"at least {format_value(low)}" if high is None else f"{format_value(low)} to {format_value(high)}"
