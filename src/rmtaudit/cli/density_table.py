"""How a predicted spectrum looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value

_NAMES = {
    "mean": "mean",
    "standard_deviation": "standard deviation",
    "skewness": "skewness",
    "lower_edge": "lower edge",
    "upper_edge": "upper edge",
    "effective_rank_share": "effective rank / size",
    "log_det": "log det / size",
    "condition": "condition number",
}
_STYLES = {
    "decompressible": "bold green",
    "baseline as good": "bold yellow",
    "not decompressible": "bold red",
}


def draw_density(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of :mod:`rmtaudit.engine.density` on a console."""
    subject, target, verdict = document["subject"], document["target"], document["verdict"]
    console.print(Text(display_name(subject["path"]), style="bold", overflow="fold"))
    samples = f", {subject['samples']} samples" if subject["samples"] > 1 else ""
    console.print(
        Text(f"{subject['kind']} of size {subject['size']}{samples}, to size {target['size']}", style="dim")
    )
    sentence = Text(verdict["word"], style=_STYLES[verdict["word"]])
    console.print(sentence.append(f": {verdict['reason']}" if verdict["reason"] else "", style="not bold"))
    if verdict["word"] == "not decompressible":
        warning = f"What is shown is the law of {verdict['shown']}, not a prediction to rely on."
        console.print(Text(warning, style="red"))
    else:
        console.print(Text(f"shown: {verdict['shown']}", style="dim"))
    console.print()
    console.print(_values(document))
    for line in _notes(document):
        console.print(Text(line))


def _values(document: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_column("90 % interval", justify="right")
    for key, found in document["functionals"].items():
        table.add_row(_NAMES[key], _number(found["value"]), _range(found) or display_name(found["reason"]))
    for found in document["quantiles"]:
        table.add_row(f"quantile {found['level']:.0%}", _number(found["value"]), _range(found))
    return table


def _notes(document: Mapping[str, Any]) -> Iterator[str]:
    tests = document["tests"]
    end = f"; ends at factor {tests['last_factor']:.3g}" if tests["last_factor"] else ""
    kind = "stays positive" if tests["stays_positive"] else "both signs"
    yield f"fit         χ² {tests['chi_square']:.2f} per datum, {kind}, slack {tests['slack']:g}{end}"
    if tests["validation"]:
        scores = ", ".join(
            f"{order}: {score:.2%}" for order, score in tests["validation"]["baselines"].items()
        )
        yield f"validation  {tests['validation']['score']:.2%} of the spread; with free cumulants {scores}"
    if tests["freeness"]:
        found = tests["freeness"]
        yield (
            f"freeness    KS {found['distance']:.2%} on nested blocks (chance {found['chance']:.2%}), "
            f"diagonal {found['diagonal_share']:.1%} of the variance"
        )
    else:
        yield "freeness    not tested: eigenvalues alone do not tell"
    if "rows" in tests:
        found = tests["rows"]
        shares = f"{found['deformed']:.2%} (row-scaled), {found['free']:.2%} (free)"
        yield f"rows        a quarter misses all by {shares}"
    for atom in document["atoms"]:
        yield f"atom        {atom['mass']:.2%} at {_number(atom['place'])}"
    for spike in document["spikes"]:
        spread = _number(spike["predicted"])
        yield f"spike       {_number(spike['block'])}, taken out; {spread} if spread over all"
    ridge = document["ridge"]
    if ridge and ridge["status"] == "ok":
        error = f" ± {ridge['se']:.2g}" if ridge["se"] else ""
        yield (
            f"ridge       {ridge['ridge']:g}: log det / size {ridge['log_det']:.5g}{error}, "
            "effective dimension / "
            f"size {ridge['effective_dimension']:.4g}; resolvable above {ridge['resolvable']:.3g}"
        )
    elif ridge:
        yield f"ridge       {ridge['ridge']:g}: {ridge['reason']}"


def _range(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return ""
    return f"{_number(found['low'])} … {_number(found['high'])}"


def _number(value: float | None) -> str:
    return "–" if value is None else format_value(value)
