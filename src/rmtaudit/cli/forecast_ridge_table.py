"""How the forecast of random-feature regression looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.names import display_name

_NOTES = (
    "Model: f(x) = βᵀφ(Wx), W random, β by ridge regression: β = Σ(ΣᵀΣ/n + γ)⁻¹y/n, Σ = φ(WX). "
    "Errors are mean squared errors, averages over W. Intervals account for the choice of the "
    "test samples and, in the table of sample sizes, of the subset of the training samples; they "
    "do not account for the choice of the training set itself."
)
_VERDICT_STYLES = {"helps": "green", "hurts": "yellow", "no difference seen": ""}


def draw_ridge(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of :mod:`rmtaudit.engine.samples.ridge` on a console."""
    subject, network = document["subject"], document["network"]
    console.print(Text(display_name(subject["path"]) or "arrays", style="bold", overflow="fold"))
    console.print(Text(_facts(document), style="dim"))
    console.print()
    console.print(
        label_grid(
            [
                ("more data?", _data(document["answers"]["data"], given=network["ridge_given"])),
                ("more units?", _width(document["answers"]["width"])),
                ("network", _network(network)),
                ("best", _best(document["best"])),
                ("peak", _peak(document["peak"])),
                ("check", _check(document["check"])),
            ]
        )
    )
    console.print()
    chosen = f"at γ = {network['ridge']:.2g}"
    rows = [
        (
            f"{row['width']}",
            f"{row['train']:.3g}",
            _interval(row["test"]),
            f"{row['tuned']['ridge']:.2g}",
            _interval(row["tuned"]["test"]),
        )
        for row in document["width"]
    ]
    console.print(Text(f"{subject['samples']} samples, {chosen} and at the best ridge", style="bold"))
    console.print(_table(("units", "train", "test", "best γ", "test"), rows))
    by_size = [
        (
            f"{row['samples']}",
            f"{row['parts']}",
            f"{row['ridge']:.2g}",
            f"{row['train']:.3g}",
            _interval(row["test"]),
        )
        for row in document["samples"]
    ]
    console.print(Text(f"{network['width']} units", style="bold"))
    console.print(_table(("samples", "parts", "γ", "train", "test"), by_size))
    console.print(
        _table(
            ("γ", "train", "test"),
            [
                (f"{row['ridge']:.2g}", f"{row['train']:.3g}", _interval(row["test"]))
                for row in document["ridge"]
            ],
        )
    )
    console.print(Text(_NOTES, style="dim"))


def _facts(document: Mapping[str, Any]) -> str:
    subject, options = document["subject"], document["tool"]["options"]
    held = ", held out" if subject["held_out"] else ""
    more = "" if subject["available"] == subject["samples"] else f" of {subject['available']}"
    return (
        f"{subject['samples']}{more} training samples, {subject['tested']} test samples{held}; "
        f"{subject['features']} features, {subject['outputs']} outputs; {options['activation']}; "
        f"error of a constant {subject['constant_error']:.3g}"
    )


def _data(answer: Mapping[str, Any], *, given: bool) -> Text:
    text = f"{_gain(answer)} from {answer['from']} to {answer['to']} samples"
    if answer["same_factor"] is not None:
        past = answer["hindcast"]
        text += (
            f". If it falls by the same factor again, it is {answer['same_factor']:.3g} with "
            f"{2 * answer['to']}; that rule would have predicted {past['predicted']:.3g} of "
            f"{answer['to']}, where the error is {past['value']:.3g}"
        )
    elif answer["verdict"] == "hurts" and given:
        text += ". To use the best ridge for every size, omit --ridge"
    return Text(text + ".", style=_VERDICT_STYLES[answer["verdict"]])


def _width(answer: Mapping[str, Any]) -> Text:
    text = f"{_gain(answer)} from {answer['from']} to {answer['to']} units."
    return Text(text, style=_VERDICT_STYLES[answer["verdict"]])


def _gain(answer: Mapping[str, Any]) -> str:
    low, high = answer["gain"]["ci"]
    if answer["verdict"] == "no difference seen":
        change = f"{-answer['share']:+.1%}, by {-high:+.2g} to {-low:+.2g}"
        return f"no difference seen: the test error changes by {change},"
    if answer["verdict"] == "helps":
        return f"helps: the test error falls by {answer['share']:.1%}, by {low:.2g} to {high:.2g},"
    return f"hurts: the test error rises by {-answer['share']:.1%}, by {-high:.2g} to {-low:.2g},"


def _network(network: Mapping[str, Any]) -> str:
    chosen = [
        f"{network[name]:.4g} {unit}" + ("" if network[f"{name}_given"] else " (the best)")
        for name, unit in (("width", "units"), ("ridge", "ridge"))
    ]
    return f"{', '.join(chosen)}: train {network['train']:.3g}, test {_interval(network['test'])}"


def _best(best: Mapping[str, Any]) -> str:
    edge = ", at the edge of the grid" if best["at_edge"] else ""
    return f"{best['width']} units, ridge {best['ridge']:.2g}{edge}: test {_interval(best['test'])}"


def _peak(peak: Mapping[str, Any]) -> str:
    if peak["status"] != "ok":
        return f"none on the grid at γ = {peak['ridge']:g}"
    return (
        f"{peak['test']:.3g} at {peak['width']} units ({peak['ratio']:.2g} a sample) and "
        f"γ = {peak['ridge']:g}: double descent"
    )


def _check(check: Mapping[str, Any]) -> Text:
    if check["verdict"] == "not checked":
        return Text("no network was trained (--draws 0)")
    rows = [
        f"{row['width']} units: {row['test']['mean']:.3g} ± {row['test']['se']:.1g}, "
        f"theory {row['test']['theory']:.3g}"
        for row in check["rows"]
    ]
    word = (
        "theory and trained networks agree"
        if check["verdict"] == "agrees"
        else "theory and trained networks differ"
    )
    return Text(f"{word} ({'; '.join(rows)})", style="" if check["verdict"] == "agrees" else "yellow")


def _interval(number: Mapping[str, Any]) -> str:
    low, high = number["ci"]
    return f"{number['value']:.3g} ({low:.3g}–{high:.3g})"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
