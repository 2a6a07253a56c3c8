"""How a predicted spectrum looks in a terminal: the verdict first, then numbers, then the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value

FUNCTIONALS = {
    "mean": "mean",
    "standard_deviation": "standard deviation",
    "skewness": "skewness",
    "lower_edge": "smallest",
    "upper_edge": "largest",
    "atom": "share in atoms",
    "effective_rank": "effective rank / size",
    "log_det": "log det / size",
    "condition": "condition number",
}
_WIDE = 110
"""Columns from which all baselines fit beside each other."""
_MOST_SPIKES = 6
"""A convention: spikes that are listed."""
_REFUSED = "Nothing is predicted. The block and the evidence follow."


def draw_density(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of :mod:`rmtaudit.engine.density` on a console."""
    verdict, predicted = document["verdict"], document["prediction"]
    console.print(Text(display_name(document["subject"]["name"]), style="bold", overflow="fold"))
    console.print(Text(_what(document), style="dim"))
    sentence = Text(verdict["word"], style=_style(verdict))
    console.print(sentence.append(f": {verdict['reason']}" if verdict["reason"] else "", style="not bold"))
    if predicted is None:
        console.print(Text(_REFUSED, style="red"))
    else:
        console.print(Text(f"route: {verdict['route']}", style="dim"))
        if not verdict["granted"]:
            console.print(Text(_advice(verdict["assumptions"]), style="yellow"))
    console.print()
    console.print(_values(document, wide=console.width >= _WIDE))
    console.print()
    console.print(label_grid(_lines(document)))


def _style(verdict: Mapping[str, Any]) -> str:
    if verdict["obstacle"] is not None:
        return "bold red"
    return "bold yellow" if verdict["assumptions"] else "bold green"


def _advice(assumptions: Sequence[str]) -> str:
    flags = " ".join(f"--assume-{one}" for one in assumptions)
    return f"The answer rests on assumptions that the data do not show. If you make them, add {flags}."


def _what(document: Mapping[str, Any]) -> str:
    subject, target = document["subject"], document["target"]
    samples, order = subject["samples"], subject["order"]
    block = f"block of order {subject['block']}" if samples == 1 else f"blocks of order {subject['block']}"
    text = f"{samples} {block}"
    if subject["holds"] == "matrix":
        text += f" of {order}" if subject["block"] < order else ", the whole matrix"
        if subject["sampling"] in ("paired", "blocks"):
            run = f" of {subject['block_size']}" if subject["block_size"] else ""
            text += f" ({subject['sampling']}{run})"
    return f"{text}, to order {target['size']} ({target['factor']:.4g} times)"


def _values(document: Mapping[str, Any], *, wide: bool) -> Table:
    predicted, block = document["prediction"], document["block"]
    compared = document["against"] if document["against"] and document["against"]["status"] == "ok" else None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("eigenvalues")
    table.add_column("block", justify="right", no_wrap=True)
    if predicted is not None:
        table.add_column("predicted", justify="right", no_wrap=True)
        table.add_column("90 % interval", justify="right")
    baselines = _shown_baselines(document, wide)
    if compared is not None:
        table.add_column("true", justify="right", no_wrap=True)
    for order in baselines:
        table.add_column(f"{order} cum.", justify="right", no_wrap=True)
    for name, label in (FUNCTIONALS | {"upper_edge": "largest, without spikes"}).items():
        if predicted is None and name not in block:
            continue
        row = [label, _number(block.get(name))]
        if predicted is not None:
            number = predicted["functionals"][name]
            if number["value"] is None:
                continue  # the reason follows below
            row += [_number(number["value"]), _range(number)]
        if compared is not None:
            row.append(_number(compared["functionals"].get(name), blank=True))
        row += [_number(document["baselines"][order].get(name), blank=True) for order in baselines]
        table.add_row(*(Text(cell) for cell in row))
    levels = [round(0.1 * step, 1) for step in range(1, 10)]
    for index, level in enumerate(levels):
        row = [f"quantile {level:.0%}", _number(block["quantiles"][index])]
        if predicted is not None:
            number = predicted["quantiles"][index]
            row += [_number(number["value"]), _range(number)]
        if compared is not None:
            row.append(_number(compared["quantiles"][index]))
        row += [_number(document["baselines"][order]["quantiles"][index]) for order in baselines]
        table.add_row(*(Text(cell) for cell in row))
    return table


def _shown_baselines(document: Mapping[str, Any], wide: bool) -> list[str]:
    """Return the orders whose laws are shown: all, or where there is little room the best of them."""
    orders = list(document["baselines"])
    if wide or not orders:
        return orders
    tests = document["tests"]
    scores = (tests["nested"] or tests["validation"] or {"baselines": {}})["baselines"]
    known = [order for order in orders if order in scores]
    return [min(known, key=lambda order: float(scores[order]))] if known else orders[:1]


def _lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tests = document["tests"]
    if document["prediction"] is not None:
        yield from missing_values(document["prediction"]["functionals"])
    yield from _test_lines(tests)
    if tests["mass"] is not None:
        yield "mass", f"{tests['mass']:.5f}, which is 1 for a law"
    moments = document["moments"]
    if moments:
        mean, variance = moments["mean"], moments["variance"]
        yield (
            "moments",
            (
                f"mean {_with_error(mean)}, variance {_with_error(variance)} at the target, from "
                "entries: freeness is not needed"
            ),
        )
    if document["prediction"]:
        for atom in document["prediction"]["atoms"]:
            yield "atom", f"{atom['mass']:.2%} at {_number(atom['place'])}"
    dimension, size = document["subject"]["dimension"], document["target"]["size"]
    if dimension is not None and size > dimension:
        zeros = 1 - dimension / size
        yield (
            "rank",
            (f"at most {dimension} of {size}: at least {zeros:.2%} are 0, regardless of the prediction"),
        )
    if document["spikes"]:
        yield "spikes", _spikes(document["spikes"])
    yield from _ridge_lines(document["ridge"])
    yield from rounding_lines(document["subject"].get("rounding"))
    yield from _companion_lines(document)


def _spikes(spikes: Sequence[Mapping[str, Any]]) -> str:
    """Return the outliers of the block, largest first, with where each goes."""
    ordered = sorted(spikes, key=lambda spike: -spike["block"])
    shown = [
        _number(spike["block"])
        + (f" (to {_number(spike['predicted'])})" if spike["predicted"] is not None else "")
        for spike in ordered[:_MOST_SPIKES]
    ]
    rest = f" and {len(ordered) - _MOST_SPIKES} more" if len(ordered) > _MOST_SPIKES else ""
    predicted = any(spike["predicted"] is not None for spike in ordered)
    where = "; the value in parentheses assumes that its direction is spread evenly" if predicted else ""
    return f"{', '.join(shown)}{rest}, removed{where}"


def missing_values(functionals: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the functionals that have no value or no interval, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, number in functionals.items():
        if number["reason"]:
            reasons.setdefault(number["reason"], []).append(FUNCTIONALS[name])
    for reason, names in reasons.items():
        yield "left out", f"{', '.join(names)}: {display_name(reason)}"


def _test_lines(tests: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    fit, nested, free = tests["fit"], tests["nested"], tests["freeness"]
    if fit:
        end = f", ends at factor {fit['last_factor']:.3g}" if fit["last_factor"] else ""
        kind = "stays positive at every size" if fit["stays_positive"] else "of both signs"
        yield "fit", f"χ²/ndata {fit['chi_square_per_datum']:.2f} (1 is a fit), {kind}{end}"
    if tests["form"]:
        form = tests["form"]
        yield "form", f"a {form['name']} law explains the block (p = {form['p_value']:.2f})"
    if tests["unresolved"]:
        yield (
            "unfixed",
            (f"laws that fit equally well place {tests['unresolved']:.1%} of the eigenvalues elsewhere"),
        )
    if tests["validation"]:
        validation = tests["validation"]
        yield (
            "validation",
            (
                f"free quarters differ from the block by {validation['score']:.2%} of its spread; "
                f"cumulants {_scores(validation['baselines'])}"
            ),
        )
    if nested:
        rows = f", growth by rows {nested['rows']:.2%}" if nested["rows"] is not None else ""
        yield (
            "nested",
            (
                f"real quarters differ from it by {nested['free']:.2%}{rows}; cumulants "
                f"{_scores(nested['baselines'])}"
            ),
        )
    if free:
        end = f"; tolerable up to {free['largest_factor']:.3g} times" if free["largest_factor"] else ""
        yield (
            "freeness",
            (
                f"p = {free['p_value']:.2g}; nested blocks differ from free ones by KS "
                f"{free['distance']:.2%} (expected by chance: {free['chance']:.2%}){end}"
            ),
        )
    for level in tests["determination"] or ():
        yield (
            "determined",
            f"as a free block of one {level['parent']:g} times as large: laws that fit differ by up to "
            f"{level['width']:.1%} of the eigenvalues, p = {level['p_value']:.2f}",
        )
    if tests["diagonal_share"] is not None:
        yield "diagonal", f"holds {tests['diagonal_share']:.1%} of the variance of the spectrum"
    elif not free:
        yield "freeness", "not tested: eigenvalues alone do not show it"


def _ridge_lines(ridge: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if ridge["ridge"] is None:
        if ridge["r_min"] is not None:
            yield "ridge", (f"none requested; r_min, the smallest resolved ridge, is {ridge['r_min']:.3g}")
        return
    head = f"{ridge['ridge']:g}: "
    if ridge["status"] != "ok":
        yield "ridge", f"{head}{ridge['status']}: {display_name(ridge['reason'])}"
        return
    missed = ridge["missed"]
    checked = f"; real quarters differ by {missed:.2g}" if missed is not None else ""
    note = f"; {ridge['reason']}" if ridge["reason"] else ""
    yield (
        "ridge",
        f"{head}log det / size {_with_error(ridge['log_det'])}, effective dimension / size "
        f"{_with_error(ridge['effective_dimension'])}; r_min {ridge['r_min']:.3g}{checked}{note}",
    )


def rounding_lines(rounding: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    """Yield why nothing is claimed about the rounding of the entries, if so."""
    if rounding is not None and rounding["reason"]:
        yield "rounding", rounding["reason"]


def _companion_lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kpm, compared = document["kpm"], document["against"]
    if kpm["status"] != "ok":
        if document["subject"]["holds"] == "matrix":
            yield "KPM", f"skipped: {display_name(kpm['reason'])}"
    elif kpm["distance"] is None:
        yield "KPM", f"{kpm['moments']} moments of {kpm['probes']} probes: see the plot"
    else:
        yield (
            "KPM",
            f"counts of the matrix itself differ from the prediction by at most {kpm['distance']:.2%} ± "
            f"{kpm['se']:.2%}, both smoothed over {kpm['width']:.2g}",
        )
    if compared and compared["status"] == "ok":
        simple = compared["two_moments"]
        baseline = f"; two cumulants KS {simple:.2%}" if simple is not None else ""
        yield (
            "against",
            f"{compared['eigenvalues']} true eigenvalues: KS {compared['ks']:.2%}, W1 "
            f"{_number(compared['wasserstein'])}{baseline}",
        )
    elif compared:
        yield "against", compared["reason"]


def _scores(baselines: Mapping[str, float]) -> str:
    return ", ".join(f"{order}: {score:.2%}" for order, score in baselines.items()) or "do not form a law"


def _with_error(number: Mapping[str, float | None]) -> str:
    error = number["se"]
    return f"{_number(number['value'])}{f' ± {error:.2g}' if error is not None else ''}"


def _range(number: Mapping[str, Any]) -> str:
    if number["low"] is None:
        return ""
    return f"{_number(number['low'])} to {_number(number['high'])}"


def _number(value: float | None, *, blank: bool = False) -> str:
    if value is None:
        return "" if blank else "–"
    return format_value(value)
