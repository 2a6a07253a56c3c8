"""A comparison as text: its lines for a notebook, a terminal and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rmtaudit.names import display_name
from rmtaudit.report.comparison import Comparison, LayerComparison
from rmtaudit.report.numbers import format_value, percent

HEADS = ("layer", "what happened", "rel. change", "signal left", "spikes", "angle")
UNCHANGED = frozenset({"identical", "same_values"})
_SHOWN = 20


def changed(comparison: Comparison, *, vectors: bool = True) -> list[LayerComparison]:
    """Return the pairs that are not equal, those that changed most first, matrices before vectors."""
    rows = [
        layer
        for layer in comparison.layers
        if (layer.diagnosis is None or layer.diagnosis.kind not in UNCHANGED)
        and (vectors or layer.kind is not None)
    ]
    return sorted(rows, key=_size, reverse=True)


def _size(layer: LayerComparison) -> tuple[bool, float]:
    return layer.kind is not None, 0.0 if layer.change is None else layer.change.relative_frobenius


def cells(layer: LayerComparison) -> tuple[str, ...]:
    """Return the cells of one pair, in the order of :data:`HEADS`."""
    what = layer.reason if layer.diagnosis is None else layer.diagnosis.sentence
    change = "—" if layer.change is None else format_value(layer.change.relative_frobenius)
    kept = layer.distortion
    if kept is None or kept.value is None or kept.ci is None:
        return display_name(layer.name), display_name(what, longest=400), change, "—", "—", "—"
    share = percent(kept.value)
    spikes = f"{kept.survived}/{kept.directions}{'+' if kept.more else ''}"
    angle = f"{kept.angles[0]:.1f}°" if kept.angles else "—"
    return display_name(layer.name), display_name(what, longest=400), change, share, spikes, angle


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the labelled lines above the table: relation, coverage, distortion, what is unmatched, notes."""
    coverage, summary = comparison.coverage, comparison.summary
    lines = [
        (
            "compared",
            f"{coverage.compared} of {coverage.pairs} pairs of tensors, {percent(coverage.fraction)} of the "
            "base's parameters",
        )
    ]
    if comparison.relation is not None:
        lines.insert(0, ("relation", str(comparison.relation["sentence"])))
    if summary.distortion is not None and summary.distortion_ci is not None:
        low, high = summary.distortion_ci
        lines.append(
            (
                "signal left",
                f"{percent(summary.distortion)} ({percent(low)} to {percent(high)}) over all layers",
            )
        )
    for label, unmatched in (
        ("only in base", coverage.only_base),
        ("only in candidate", coverage.only_candidate),
    ):
        if unmatched:
            lines.append((label, _listed([each.name for each in unmatched])))
    if summary.exceptions:
        lines.append(("do not fit", _listed(summary.exceptions)))
    lines += [("note", display_name(note, longest=400)) for note in comparison.notes]
    return lines


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(display_name(name, longest=60) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def plain_text(comparison: Comparison) -> str:
    """Return the sentence and the lines under it, for ``repr``."""
    lines = [comparison.summary.sentence]
    lines += [f"{label}: {text}" for label, text in facts(comparison)]
    return "\n".join(lines)


def markdown(comparison: Comparison) -> str:
    """Return the comparison as GitHub's Markdown."""
    lines = [f"**{escaped(comparison.summary.sentence)}**", ""]
    rows = changed(comparison)
    if rows:
        lines += [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
        lines += [f"| {' | '.join(map(escaped, cells(layer)))} |" for layer in rows[:_SHOWN]]
        if len(rows) > _SHOWN:
            lines.append(f"\n… and {len(rows) - _SHOWN} more.")
        lines.append("")
    lines += [f"- {label}: {escaped(text)}" for label, text in facts(comparison)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text as Markdown shows it literally, also in a cell of a table."""
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text
