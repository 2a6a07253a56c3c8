"""How a log-determinant, and the plan for one, look in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.engine.resources.memory_size import format_bytes
from rmtaudit.names import display_name
from rmtaudit.report.numbers import format_value

_WIDE = 110
"""Columns from which the plan shows what is moved: what all of its columns take."""
_MOST_DIGITS = 15
"""Significant decimal digits that every float64 keeps."""
_SIGNS = {1: "+1", -1: "-1", 0: "0"}


def draw_logdet(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of an answer (:mod:`rmtaudit.engine.logdet.answer`) on a console."""
    _draw_subject(console, document)
    result = document["result"]
    console.print()
    if result["status"] == "ok":
        console.print(label_grid(_number_lines(document)))
        if not result["granted"]:
            words = f"The result is valid only if {result['assumption']}, which was not tested: exit code 3."
            console.print(Text(f"{words} Use --assume-random-order to assume it.", style="yellow"))
    else:
        console.print(Text(f"no {result['quantity']}: {result['reason']}", style="yellow"))
        if result["sign"] == 0:
            console.print(Text("the determinant is 0", style="yellow"))
        if result["advice"]:
            console.print(Text(result["advice"]))
    lines = list(_evidence_lines(document))
    if lines:
        console.print(label_grid(lines))
    for warning in document["warnings"]:
        console.print(Text(f"{warning['code']} {warning['message']}", style="yellow"))
    console.print(Text(_footer(document), style="dim"))


def draw_plan(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of a plan on a console."""
    _draw_subject(console, document)
    plan, run = document["plan"], document["run"]
    wide = console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("method", no_wrap=True)
    table.add_column("where", no_wrap=True)
    for head in ("flops", "memory", "disk", *(("moved",) if wide else ())):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for each in plan["candidates"]:
        verdict, possible = each["verdict"], each["verdict"] != "not possible"
        cells = [each["method"], each["place"] if wide else each["place"].split()[-1]]
        cells.append("—" if each["flops"] is None else f"{each['flops']:.1e}")
        cells += [size(each["memory_bytes"]), size(each["scratch_bytes"] or None)]
        cells += [size(each["moved_bytes"] or None)] if wide else []
        reason = each["reason"] if possible else f"no: {each['reason']}"
        style = "bold" if verdict == "taken" else "" if possible else "dim"
        table.add_row(*(Text(cell) for cell in cells), Text(reason), style=style)
    console.print(table)
    if document["singular"]:
        console.print(Text(f"The determinant is 0: {document['singular']}.", style="yellow"))
    if plan["method"] is None:
        console.print(Text(f"No method applies: {plan['why']}.", style="yellow"))
    else:
        console.print(Text(f"{plan['method']} {plan['place']}: {plan['why']}."))
    budget = f"{size(run['memory_budget_bytes'])} of memory ({run['memory_from']}), {_threads(run)}"
    scratch = display_name(run["scratch"], longest=1000)
    console.print(
        Text(f"{budget}, scratch in {scratch}\nNothing was computed.", style="dim", overflow="fold")
    )


def size(count: int | None) -> str:
    """Return a number of bytes for people; a dash for none."""
    return "—" if count is None else format_bytes(count)


def with_margin(value: float, half_width: float | None) -> str:
    """Return a number with as many decimals as its margin leaves meaning to, at most 15 digits in all."""
    before = max(1, math.floor(math.log10(abs(value))) + 1) if value else 1
    most = max(0, _MOST_DIGITS - before)
    if not half_width:
        return f"{value:.{min(most, 10)}f}"
    decimals = 2 - math.floor(math.log10(half_width))
    return f"{value:.{min(max(decimals, 0), most)}f}"


def _draw_subject(console: Console, document: Mapping[str, Any]) -> None:
    subject = document["subject"]
    console.print(Text(display_name(subject["name"], longest=1000), style="bold", overflow="fold"))
    source = display_name(subject.get("source", ""), longest=1000)
    if source and source != subject["name"]:
        console.print(Text(source, style="dim", overflow="fold"))
    if subject["kind"] == "series":
        sizes = ", ".join(f"{each:,}" for each in subject["sizes"][-8:])
        console.print(
            Text(f"log-determinants of {sizes} points, {subject['outputs']} outputs each", style="dim")
        )
        return
    rows, cols = subject["shape"]
    facts = f"{rows:,} x {cols:,} {subject['dtype']} ({subject['kind']})"
    if subject.get("graph"):
        graph = subject["graph"]
        facts += f", {graph['edges']:,} edges, {graph['components']:,} connected component"
        facts += "s" if graph["components"] > 1 else ""
    symmetry = "symmetric" if subject["symmetric"] else "not symmetric"
    facts += f", {symmetry}: {display_name(subject['symmetry'], longest=200)}"
    if subject["semidefinite"]:
        facts += "; positive semidefinite by construction"
    console.print(Text(facts, style="dim"))


def _number_lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    result = document["result"]
    margin = result["margin"]
    half = None if margin is None else margin["half_width"]
    dimension = result["dimension"]
    computed = document["evidence"].get("as_computed")
    digits = half if computed is None else computed["half_width"]
    yield result["quantity"], f"{with_margin(result['logdet'], digits)} nats, sign {_SIGNS[result['sign']]}"
    each = None if digits is None else digits / dimension
    rows = "eigenvalues" if result["quantity"] != "log-determinant" else "dimensions"
    yield "per dimension", f"{with_margin(result['per_dimension'], each)} nats, {dimension:,} {rows}"
    if half is None and margin is not None:
        yield "margin", f"{margin['kind']}: {margin['basis']}"
    elif half is not None:
        yield _margin_line(margin)
        percent = margin["half_width_percent"]
        share = "" if percent is None else f", {format_value(percent)} %"
        yield "", f"± {half:.2g} nats, {half / dimension:.2g} a dimension{share}"
        yield "rests on", margin["basis"]
    yield "method", f"{result['method']} {result['place']}: {result['why']}"
    if result["tolerance_met"] is not None:
        tolerance = document["tool"]["options"]["tolerance"]
        word = "met" if result["tolerance_met"] else "not met"
        yield "tolerance", f"{tolerance:g} nats a dimension: {word}"


def _margin_line(margin: Mapping[str, Any]) -> tuple[str, str]:
    level = f" ({100 * margin['level']:g} %)" if margin["level"] is not None else ""
    low, high = (with_margin(margin[end], margin["half_width"]) for end in ("low", "high"))
    return f"{margin['kind']}{level}", f"{low} to {high}"


def _evidence_lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    evidence, work = document["evidence"], document["work"]
    if evidence.get("as_computed"):
        kind, ends = _margin_line(evidence["as_computed"])
        yield "as computed", f"{ends}: {kind} of the entries as computed"
    if evidence.get("factored"):
        yield "factored", evidence["factored"]
    if evidence.get("smallest_pivot") is not None:
        of = f", of {evidence['pivots_of']}" if evidence.get("pivots_of") else ""
        low, high = evidence["smallest_pivot"], evidence["largest_pivot"]
        yield "pivots", f"{format_value(low)} to {format_value(high)}{of}"
    if evidence.get("smallest_diagonal") is not None:
        low, high = evidence["smallest_diagonal"], evidence["largest_diagonal"]
        yield "diagonal", f"{format_value(low)} to {format_value(high)}, of {evidence['diagonal_of']}"
    if evidence.get("negative_eigenvalues"):
        yield "negative", f"{evidence['negative_eigenvalues']:,} eigenvalues"
    rounding = evidence.get("rounding")
    if isinstance(rounding, Mapping) and rounding["likely"] is not None:
        yield "likely rounding", f"{rounding['likely']:.2g} nats, if errors are independent"
    if "probes" in evidence:
        yield (
            "probes",
            f"{evidence['probes']} with {evidence['steps']} steps each, standard error "
            + (f"{evidence['standard_error']:.3g} nats"),
        )
    if evidence.get("bracket"):
        low, high = evidence["bracket"]
        ends = f"{_or_dash(low)} to {_or_dash(high)}"
        yield "quadrature", f"{ends}: bounds on the mean over these probes"
    if evidence.get("lower_bound") is not None:
        yield "lower bound", f"{evidence['lower_bound']:.3g} of the spectrum: {evidence['lower_bound_from']}"
    yield from _shift_lines(evidence.get("without_shift"))
    if "rank" in evidence:
        kept, dropped = (format_value(evidence[name]) for name in ("smallest_kept", "largest_dropped"))
        yield "rank", f"{evidence['rank']:,}; smallest eigenvalue kept {kept}, largest dropped {dropped}"
    yield from _extrapolation_lines(evidence)
    if work.get("scratch_bytes_written"):
        text = f"{size(work['scratch_bytes_written'])} written, {size(work['scratch_bytes_read'])} read back"
        resumed = work["tiles_resumed"]
        text += f"; {resumed} of {work['tiles']} tiles reused" if resumed else f", {work['tiles']} tiles"
        yield "scratch", text


def _shift_lines(evidence: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if evidence is None:
        return
    if evidence["logdet"] is None:
        yield "without shift", f"unknown: {evidence['reason']}"
        return
    error = f", standard error {evidence['standard_error']:.2g}" if evidence["standard_error"] else ""
    lower = f"{evidence['at_most_lower_by']:.2g}"
    yield "without shift", f"{format_value(evidence['logdet'])} nats{error}, or lower by at most {lower}"


def _extrapolation_lines(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "extrapolation" not in evidence:
        return
    if evidence["extrapolation"] == "KNOWN":
        yield "extrapolated", "nothing: this size is among the known ones"
        return
    order = evidence.get("order")
    if order is not None:
        yield (
            "order of points",
            f"p = {format_value(order['p_value'])} among random orders of {order['points']}",
        )
    if evidence["extrapolation"] == "ORDER":
        return
    exponent = "" if evidence["exponent"] is None else f", exponent {evidence['exponent']:.3f} a point"
    yield "extrapolated", f"from {evidence['from_points']:,} to {evidence['to_points']:,} points{exponent}"
    if evidence.get("noise_half_width"):
        yield "future noise", f"± {evidence['noise_half_width']:.3g} nats of it"
    tests = evidence["back_test"]
    if tests is not None:
        held = (
            f"{tests['intervals'] - tests['missed']} of {tests['intervals']} intervals "
            "contained the true value"
        )
        widened = f"; widened {tests['inflation']:.2f} times" if tests["inflation"] > 1 else ""
        reach = f", up to {tests['factor']:.2f} times further{widened}"
        yield "back-test", held + reach if tests["intervals"] else "too few sizes for a back-test"
    if evidence["floor"] is not None:
        floor = evidence["floor"]
        yield "rounding floor", f"{floor['floor']:.2g}; smallest pivot or eigenvalue {floor['smallest']:.2g}"
    if evidence.get("stop") and len(evidence["looks"]) > 1:
        yield "stopped", f"{evidence['stop']}, after {len(evidence['looks'])} looks"
    held_out = evidence.get("held_out")
    if held_out is not None:
        inside = "inside" if held_out["inside"] else "outside"
        yield (
            "held out",
            (
                f"{format_value(held_out['logdet'])} in the table: {inside}, error "
                f"{held_out['error_per_dimension']:+.2g} nats a dimension"
            ),
        )


def _footer(document: Mapping[str, Any]) -> str:
    run = document["run"]
    if not run:
        return f"seed {document['tool']['seed']}"
    return (
        f"{run['wall_seconds']:.1f} s ({run['cpu_seconds']:.1f} s CPU), {_threads(run)}, budget "
        f"{size(run['memory_budget_bytes'])} ({run['memory_from']}), seed {document['tool']['seed']}"
    )


def _threads(run: Mapping[str, Any]) -> str:
    return "1 thread" if run["threads"] == 1 else f"{run['threads']} threads"


def _or_dash(value: float | None) -> str:
    return "—" if value is None else f"{value:.8g}"
