"""A diagnosis in words: one sentence a kind, made of its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rmtaudit.report.numbers import format_value, percent

Numbers = Mapping[str, Any]

_ORDERS = {
    "transposed": "transposed",
    "rows permuted": "its rows permuted",
    "columns permuted": "its columns permuted",
    "rows and columns permuted": "its rows and columns permuted",
    "shuffled": "its entries shuffled",
}
_UNITS = {"tensor": "the tensor", "row": "each row", "column": "each column", "block": "each square block"}
_REASONS = {
    "too_small": "changed, but it has too few entries to determine how",
    "not_floating": "changed, and its values are not floating-point numbers",
    "nonfinite": "holds values that are not finite",
    "constant_base": "changed from a constant",
    "no_signs": "changed, in too few places that share rows and columns to determine how",
}


def sentence_of(kind: str, numbers: Numbers) -> str:
    """Return what happened to a tensor, without a full stop: ``carries an update of rank 8 …``."""
    return _SENTENCES[kind](numbers)


def _cast(numbers: Numbers) -> str:
    how = {"nearest": "", "toward zero": ", rounded toward zero", "within one unit": ", rounded"}
    if numbers["rounding"] == "within one unit":
        return f"differs by the rounding of {numbers['dtype']} alone"
    changed = "" if numbers["changed"] else "; no value changed"
    return f"was cast to {numbers['dtype']}{how[numbers['rounding']]}{changed}"


def _scaled(numbers: Numbers) -> str:
    if numbers["along"] == "matrix":
        sign = "its sign was flipped" if numbers["factor"] == -1 else ""
        return sign or f"was multiplied by {numbers['factor']:.6g}"
    low, high = format_value(numbers["lowest"]), format_value(numbers["highest"])
    return f"has its {numbers['along']} multiplied by factors from {low} to {high}"


def _edit(numbers: Numbers) -> str:
    count, lines = numbers["entries"], numbers["lines"]
    bit = " by one bit" if numbers["one_bit"] else ""
    if lines:
        of = "rows" if numbers["rows"] else "columns"
        listed = numbers[of]
        noun = of[:-1] if lines == 1 else of
        shown = ", ".join(map(str, listed[:5])) + (" …" if lines > 5 else "")
        return f"is unchanged except for {lines} {noun} ({shown})"
    row, column = numbers["positions"][0]
    if count == 1:
        return f"is unchanged except for the entry ({row}, {column}){bit}"
    return f"is unchanged except for {count} entries{bit}, the first at ({row}, {column})"


def _pruned(numbers: Numbers) -> str:
    sparsity = percent(numbers["sparsity"])
    pattern, along = numbers["pattern"], numbers["along"]
    if pattern == "N:M":
        where = "" if along == "rows" else f" along {along}"
        return f"was pruned {numbers['n']}:{numbers['m']}{where}"
    where = "" if along == "matrix" else f" in each of the {along}"
    how = {
        "magnitude": f" by magnitude{where}",
        "random": " at random",
        "rows": " by whole rows",
        "columns": " by whole columns",
        "other": "",
    }[pattern]
    return f"was pruned to {sparsity} zeros{how}"


def _quantised(numbers: Numbers) -> str:
    scheme = numbers["scheme"] or (f"{numbers['bits']} bits" if numbers["bits"] else "a few levels")
    unit = _UNITS.get(numbers["unit"], f"each {numbers['unit']}")
    if numbers["group"]:
        side = "columns" if numbers["unit"].endswith("columns") else "rows"
        unit = f"each group of {numbers['group']} along {side}"
    folded = " after its rows were multiplied by factors" if numbers["folded_rows"] else ""
    return (
        f"was quantised to {scheme} with a scale for {unit}{folded}, relative error "
        f"{format_value(numbers['relative_error'])}"
    )


def _truncated(numbers: Numbers) -> str:
    values = " with its singular values changed" if numbers["shrunk"] else ""
    return (
        f"was truncated to rank {numbers['rank']}{values}, keeping {percent(numbers['energy'])} of its energy"
    )


def _low_rank(numbers: Numbers) -> str:
    rank, least = numbers["rank"], numbers["least_rank"]
    words = str(rank) if rank == least else f"{least} to {rank}"
    return f"carries an update of rank {words} and relative norm {format_value(numbers['relative_norm'])}"


def _noise(numbers: Numbers) -> str:
    low, high = (format_value(end) for end in numbers["interval"])
    return (
        f"carries noise of {format_value(numbers['sigma'])} ({low} to {high}) of the standard deviation of "
        "its entries"
    )


def _dense(numbers: Numbers) -> str:
    if numbers["apart"]:
        return f"has little in common with the base (correlation {numbers['correlation']:.3f})"
    count = numbers["spikes"]
    verb = "direction stands" if count == 1 else "directions stand"
    spikes = f", of which {count} {verb} above noise" if count else ""
    return (
        f"carries a dense update of relative norm {format_value(numbers['relative_norm'])}{spikes} "
        f"(correlation with the base {numbers['correlation']:.3f})"
    )


def _replaced(numbers: Numbers) -> str:
    return (
        "shows nothing of the base: replaced, trained independently or relabelled (a mean cosine "
        f"of {_short(numbers['smallest_seen'])} would have been detected)"
    )


def _short(value: float) -> str:
    return f"{value:.2g}"


def _unknown(numbers: Numbers) -> str:
    relative = numbers["relative_norm"]
    size = "" if relative is None else f" (relative change {format_value(relative)})"
    if numbers["reason"] == "other_quantisation":
        levels = numbers["quantised"]
        name = levels["scheme"] or f"{levels['bits']} bits"
        return (
            f"lies on the levels of {name}, but only {percent(levels['nearest'])} of its entries on the "
            f"level nearest to the base: calibrated rounding, or another base{size}"
        )
    return f"{_REASONS[numbers['reason']]}{size}"


_SENTENCES: Mapping[str, Callable[[Numbers], str]] = {
    "identical": lambda _: "is identical",
    "same_values": lambda _: "holds the same values, stored differently",
    "cast": _cast,
    "scaled": _scaled,
    "rearranged": lambda numbers: (
        f"holds the entries of the base with {_ORDERS[numbers['order']]}"
        if numbers["order"] != "transposed"
        else "is the transpose of the base"
    ),
    "sparse_edit": _edit,
    "pruned": _pruned,
    "quantised": _quantised,
    "truncated": _truncated,
    "low_rank_update": _low_rank,
    "noise": _noise,
    "replaced": _replaced,
    "dense_update": _dense,
    "unknown": _unknown,
}

DIAGNOSES = tuple(_SENTENCES)
"""The kinds of diagnosis of :mod:`rmtaudit.kernels.difference.diagnosis`, without importing torch."""
