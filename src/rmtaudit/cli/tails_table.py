"""How the tails of a sample look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value, percent

_WIDE = 110  # columns from which the table has room for the bootstrap's own columns
_INDEPENDENT = (
    "p-values and intervals treat the values as independent draws. Eigenvalues of one matrix are "
    "not independent: they repel each other, so sums over them vary less than assumed here."
)
_COVERAGE = (
    "90 % intervals of the exponent contained it in 81 to 94 % of independent samples, depending "
    "on the distribution below the tail, and the goodness of fit rejected a true power law at 5 "
    "% in 2 to 16 % (docs: tails, how far the exponent can be trusted)."
)
_HEADINGS = {
    "upper": "upper tail: x ≥ xmin",
    "lower": "lower tail: x ≤ xmax, fitted as the upper tail of 1/x",
    "near_zero": "near zero",
}
_GREEK = {"alpha": "α", "beta": "β", "mu": "μ", "sigma": "σ", "rate": "rate", "strength": "s"}


def draw_tails(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of :mod:`rmtaudit.engine.samples.tails` on a console."""
    subject = document["subject"]
    console.print(Text(display_name(subject["path"]) or "values", style="bold", overflow="fold"))
    console.print(Text(_facts(subject), style="dim"))
    if "gradients" in subject:
        console.print(Text(_gradients(subject["gradients"]), style="dim"))
    for part, heading in _HEADINGS.items():
        if part not in document:
            continue
        tail = document[part]
        console.print()
        console.print(Text(heading, style="bold"))
        if tail["status"] != "ok":
            console.print(Text(f"no fit: {tail['reason']}", style="yellow"))
            continue
        for warning in tail.get("warnings", ()):
            console.print(Text(warning, style="yellow"))
        lines = _near_zero_lines(tail) if part == "near_zero" else _tail_lines(tail)
        console.print(label_grid(lines))
        if "laws" in tail:
            console.print()
            console.print(_laws(tail, wide=console.width >= _WIDE))
        console.print(Text(tail["sentence"] if part == "near_zero" else tail["verdict"]["sentence"]))
    console.print()
    for note in _notes(document):
        console.print(Text(note, style="yellow"))
    measured = f"{_COVERAGE}\n" if document["tool"]["options"]["bootstrap"] else ""
    console.print(Text(f"{_INDEPENDENT}\n{measured}{_options(document)}", style="dim"))


def _facts(subject: Mapping[str, Any]) -> str:
    text = f"{subject['values']} values"
    if subject["grid_step"] is not None:
        text += (
            f" on a grid of step {format_value(subject['grid_step'])}, {subject['distinct']} distinct values,"
        )
    if subject["positive"]:
        text += f" from {format_value(subject['least_positive'])} to {format_value(subject['greatest'])}"
    if subject["excluded"]:
        text += f"; {subject['excluded']} zero or negative, excluded"
    return text


def _gradients(facts: Mapping[str, Any]) -> str:
    first, last = facts["steps"]
    text = f"gradient norms of {facts['parameters']} parameters together, steps {first} to {last}"
    for count, why in ((facts["nonfinite"], "not finite"), (facts["absent"], "without a gradient")):
        text += f"; {count} steps {why}, excluded" if count else ""
    return text


def _tail_lines(tail: Mapping[str, Any]) -> list[tuple[str, str]]:
    upper = "alpha" in tail
    name, start = ("alpha", "xmin") if upper else ("exponent", "xmax")
    low, high = tail[f"{name}_range"]
    law = "density ~ x^-alpha" if upper else "P(x < y) ~ y^exponent"
    if tail["support"] == "discrete":
        law = "P(x) ~ x^-alpha, whole steps"
    lines = [
        (name, f"{_estimate(tail[name])}   {law}"),
        ("", f"from {low:.3f} to {high:.3f} over the values of xmin that fit as well"),
        (start, _estimate(tail[start])),
        ("in the tail", f"{tail['tail_size']} values, {percent(tail['tail_share'])}"),
        ("KS distance", format_value(tail["ks_distance"])),
    ]
    if tail["p_value"] is not None:
        lines.append(("goodness of fit", f"p = {_p(tail['p_value'])} for the power law"))
    return lines


def _near_zero_lines(fit: Mapping[str, Any]) -> list[tuple[str, str]]:
    size = f"{fit['tail_size']} values up to {format_value(fit['threshold'])}"
    p_value = f"p = {_p(fit['p_value'])}"
    if fit["bootstrap_p_value"] is not None:
        p_value += f", by bootstrap {_p(fit['bootstrap_p_value'])}"
    return [
        ("lowest", f"{percent(fit['fraction'])}: {size}"),
        ("inverse gamma", "x^-power · e^(-rate/x)"),
        ("  power", _estimate(fit["power"])),
        ("  rate", _estimate(fit["rate"])),
        ("power law", f"P(x < y) ~ y^{_estimate(fit['exponent'])}"),
        ("gain", f"{fit['gain']:.1f} nats over the power law, {p_value}"),
    ]


def _laws(tail: Mapping[str, Any], *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("law", no_wrap=True)
    table.add_column(f"parameters of {tail['laws'][0]['of']}", overflow="fold")
    if wide:
        table.add_column("KS", justify="right", no_wrap=True)
    table.add_column("gain", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    boot = wide and tail["p_value"] is not None
    if boot:
        table.add_column("p boot", justify="right", no_wrap=True)
        table.add_column("best in", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=not wide, overflow="fold")
    names = {law["law"]: law["name"] for law in tail["laws"]} | {"distance": "its distance"}
    judged = tail["verdict"]["status"] != "tied"
    beaten = {case["law"]: names[case["by"]] for case in tail["verdict"]["ruled_out"]}
    winner = tail["verdict"]["winner"]
    for law in tail["laws"]:
        out = law["law"] in beaten
        kept = "not rejected" if judged else "not judged"
        word = "winner" if law["law"] == winner else "ruled out" if out else kept
        if wide and out:
            word += f" by {beaten[law['law']]}"
        cells = [law["name"], _parameters(law)]
        cells += [f"{law['ks_distance']:.4f}"] if wide else []
        cells += [f"{law['gain']:.1f}", _p(law["p_value"])]
        if boot:
            cells += [_p(law["bootstrap_p_value"]), percent(law["best_share"])]
        style = "dim" if out else "bold" if law["law"] == winner else ""
        table.add_row(*(Text(cell) for cell in [*cells, word]), style=style)
    return table


def _parameters(law: Mapping[str, Any]) -> str:
    if law["degenerate"]:
        return "is the power law"
    return ", ".join(f"{_GREEK[name]} {_estimate(each)}" for name, each in law["parameters"].items())


def _estimate(estimate: Mapping[str, Any]) -> str:
    value, se, ci = estimate["value"], estimate.get("se"), estimate.get("ci")
    if value is None:
        return "beyond floats"
    if se is not None and 0.0005 <= se < 100 and abs(value) >= 0.01:
        digits = 3 if se < 0.1 else 2
        text = f"{value:.{digits}f} ± {se:.{digits}f}"
    else:
        text = format_value(float(value)) + ("" if se is None else f" ± {se:.1e}")
    return text if ci is None else f"{text}  [{format_value(float(ci[0]))}, {format_value(float(ci[1]))}]"


def _p(value: float | None) -> str:
    if value is None:
        return "—"
    if value < 1e-4:
        return f"{value:.0e}" if value > 1e-99 else "< 1e-99"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.4f}"


def _notes(document: Mapping[str, Any]) -> list[str]:
    subject = document["subject"]
    notes = []
    rounding = subject["positive_below_rounding"]
    if rounding and "lower" in document:
        notes.append(
            f"If these are eigenvalues: {rounding} are below the rounding error of a float64 "
            "solver (n · 2^-52 · the largest), and the lower tail consists of such values."
        )
    halves = subject.get("gradients", {}).get("halves")
    if halves:
        early, late = (format_value(median) for median in halves["medians"])
        notes.append(
            "Norms change during training: the two halves of these steps differ by "
            f"{halves['ks_distance']:.2f} in KS distance, with medians {early} and {late}. Use "
            "--window to fit a part of the training run."
        )
    if subject["excluded"] and "lower" in document:
        notes.append(
            f"{subject['excluded']} values are zero or negative; the lower tail is that of the other values."
        )
    return notes


def _options(document: Mapping[str, Any]) -> str:
    options = document["tool"]["options"]
    parts = [f"bootstrap {options['bootstrap'] or 'none'}", f"level {options['level']:g}"]
    if options["bootstrap"]:
        parts += [f"intervals {100 * options['confidence']:g} %", f"seed {options['seed']}"]
    return ", ".join(parts)
