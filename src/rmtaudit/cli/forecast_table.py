"""How the forecast of a spectrum looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value

_WIDE = 110  # columns from which the table has room for the intervals of the bias
_MODEL = (
    "Model: y = <w, φ> without noise, w random with the same variance along every feature. risk: error of "
    "prediction over the variance of y, by generalised cross-validation, for any E φφᵀ (many samples, "
    "features that concentrate). bias: mu² mean (λ + mu)^-2 over the features, the same error only if "
    "E φφᵀ = I. mu is added to the matrix whose eigenvalues are given; exp. is d log/d log mu."
)
_INTERVALS = (
    "Intervals treat the eigenvalues as independent draws. Those of one matrix repel each other, "
    "so most intervals are too wide, except that of the exponent at the smallest ridges, which "
    "depends on few eigenvalues."
)
_PAPER = (
    "times l for mu = n^-l, as printed in Hodgkinson, Wang and Mahoney (2025); it does not "
    "follow from the bias above, whose exponent is at most 2."
)
_NO_RISK = "— : the fit leaves fewer than 20 degrees of freedom, too few to estimate the risk."


def draw_forecast(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of :mod:`rmtaudit.engine.samples.forecast` on a console."""
    subject = document["subject"]
    console.print(Text(display_name(subject["path"]) or "values", style="bold", overflow="fold"))
    console.print(Text(_facts(subject), style="dim"))
    for text, style in _scope(document):
        console.print(Text(text, style=style))
    console.print()
    console.print(_curve(document, wide=console.width >= _WIDE))
    rows = document["empirical"]
    if subject["samples"] is not None and any(row["risk"] is None for row in rows):
        console.print(Text(_NO_RISK, style="dim"))
    _draw_population(console, document["population"])
    console.print(_law(document["htmp"]))
    console.print()
    console.print(Text(f"{_MODEL}\n{_INTERVALS}", style="dim"))


def _facts(subject: Mapping[str, Any]) -> str:
    ends = f"{format_value(subject['least_positive'])} to {format_value(subject['greatest'])}"
    zeros = f"; {subject['zeros']} more are 0" if subject["zeros"] else ""
    sides = [f"{subject[name]} {name}" for name in ("samples", "features") if subject[name] is not None]
    matrix = "features x features" if subject["matrix"] == "covariance" else "samples x samples"
    return (
        f"{subject['values'] - subject['zeros']} eigenvalues from {ends}{zeros}; {subject['matrix']} matrix, "
        f"{matrix}: {', '.join(sides)}"
    )


def _scope(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the answer is worth, before the answer."""
    subject, isotropy = document["subject"], document["isotropy"]
    if subject["samples"] is None:
        return [
            (
                "Only a scaling is given: without the number of samples (--shape) there is no "
                "risk, and the bias is the error of prediction only if E φφᵀ = I, which a "
                "spectrum cannot show.",
                "yellow",
            )
        ]
    if isotropy["verdict"] == "contradicted":
        return [
            (
                f"Risk and bias differ by up to a factor of {isotropy['largest_ratio']:.2f}: the features "
                "are not isotropic, or do not concentrate. Where E φφᵀ ≠ I, the bias is not the error of "
                "prediction.",
                "yellow",
            )
        ]
    return []


def _curve(document: Mapping[str, Any], *, wide: bool) -> Table:
    law, rows = document["htmp"], document["empirical"]
    curve = law["curve"] if law["status"] == "ok" else None
    risk, bias = rows[0]["residual"] is not None, rows[0]["bias"] is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    heads = ["mu"]
    heads += ["risk", "interval", "exp."] if risk else []
    heads += (["bias", "interval", "exp."] if wide or not risk else ["bias", "exp."]) if bias else []
    heads += ["HTMP", "exp."] if curve is not None else []
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        cells = [f"{row['mu']:.3g}"]
        if risk:
            cells += [
                _number(row["risk"], None),
                _interval(row["risk"], None),
                _number(row["risk_exponent"], 2),
            ]
        if bias:
            cells += [_number(row["bias"], None)]
            cells += [_interval(row["bias"], None)] if wide or not risk else []
            cells += [_number(row["exponent"], 2)]
        if curve is not None:
            cells += [f"{curve[index]['bias']:.3g}", f"{curve[index]['exponent']:.2f}"]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _draw_population(console: Console, forecast: Mapping[str, Any]) -> None:
    if forecast["status"] == "skipped":
        return
    if forecast["status"] == "failed":
        console.print(Text(f"no forecast from the population: {forecast['reason']}", style="yellow"))
        return
    target = "given" if forecast["signal"] == "given" else "random"
    console.print(Text(f"from the population, target {target}", style="bold"))
    if forecast["verdict"] == "contradicted":
        text = (
            "The sample does not come from this population: their degrees of freedom differ. The trace of "
            f"the sample is {forecast['trace_ratio']:.3g} times that of the population (a kernel matrix is "
            "ΦΦᵀ, not divided by n)."
        )
        console.print(Text(text, style="yellow"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for head in ("mu", "risk", "effective mu", "degrees of freedom", "of the sample"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in forecast["curve"]:
        cells = (row["mu"], row["risk"], row["kappa"], row["degrees"], row["degrees_of_sample"])
        table.add_row(*(Text(f"{cell:.3g}") for cell in cells))
    console.print(table)


def _law(law: Mapping[str, Any]) -> Table | Text:
    if law["status"] != "ok":
        return Text(f"HTMP not fitted: {law['reason']}", style="dim")
    kappa = law["kappa"]
    bad = law["verdict"] == "rejected"
    bound = "≤ " if law["p_value"] <= 0.005 else ""
    fitted = f"gamma {law['gamma']:.4g}, kappa {kappa['value']:.4g} ± {kappa['se']:.2g}"
    fit = f"p {bound}{law['p_value']:.2g}: {law['sentence']}"
    return label_grid(
        [
            ("HTMP", f"{fitted}, delta {law['delta']:.4g}"),
            ("fit", Text(fit, style="yellow" if bad else "")),
            ("limit", _limit(law)),
            ("paper", f"2 + delta = {law['paper_exponent']:.4g}, {_PAPER}"),
        ]
    )


def _limit(law: Mapping[str, Any]) -> str:
    if law["limit_exponent"] == 0:
        return "exponent 0 as mu goes to 0: there are more features than samples"
    return f"exponent min(2, delta) = {law['limit_exponent']:.4g} as mu goes to 0"


def _number(estimate: Mapping[str, Any] | None, digits: int | None) -> str:
    return "—" if estimate is None else _figure(estimate["value"], digits)


def _interval(estimate: Mapping[str, Any] | None, digits: int | None) -> str:
    if estimate is None or estimate["ci"] is None:
        return "—"
    low, high = estimate["ci"]
    return f"{_figure(low, digits)}–{_figure(high, digits)}"


def _figure(value: float, digits: int | None) -> str:
    return f"{value:.3g}" if digits is None else f"{value:.{digits}f}"
