"""What is worth saying about the evidence: one small function a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.analyzers.base import LayerInput, Observation
from rmtaudit.analyzers.forensics.describe import INJURIES, block_words, clipped, code_book
from rmtaudit.analyzers.forensics.evidence import LOUD, SUSPICIOUS, Evidence
from rmtaudit.matrices.layers import LayerKind

if TYPE_CHECKING:
    from rmtaudit.kernels.forensics.outliers import OutlierTest

_LISTED = 20
_PADDING_ROWS = 4
_FEW_LOST, _SHARE_LOST = 3, 0.1
"""Losing no more directions than this many, or this share, harms no layer: stems and narrow layers do."""


def observe(given: LayerInput, traces: Evidence) -> tuple[Observation, ...]:
    """Return what was seen in a layer, in the order of the codes."""
    observations: list[Observation] = []
    # an adapter's matrix is the core of its product: no entry of it was stored
    for each in (_rank,) if given.layer.kind is LayerKind.ADAPTER else _TRACES:
        if each in _OF_ENCODING and given.layer.encoding is not None:
            continue  # the file itself says how the weight was quantised
        observations.extend(each(given, traces))
    return tuple(sorted(observations, key=lambda observation: observation.code))


def _rank(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    for index, deficit in traces.deficits:
        where = f" (matrix {index} of {len(given.matrices)})" if len(given.matrices) > 1 else ""
        lost = deficit.possible - deficit.rank
        adapter = given.layer.kind is LayerKind.ADAPTER
        many = lost > max(_FEW_LOST, _SHARE_LOST * deficit.possible) and not adapter
        evidence = {
            "rank": deficit.rank,
            "possible": deficit.possible,
            "sigma_r": deficit.smallest_kept,
            "sigma_next": deficit.largest_lost,
            "gap": deficit.gap,
            "rho": deficit.rho,
            "truncated": deficit.truncated,
            "matrix": index,
        }
        if deficit.truncated:
            cause = (
                "the layer was replaced by a low-rank approximation: the lost directions hold "
                "only the rounding of the stored weights"
            )
        elif adapter:
            cause = "the update does not use all the directions that the adapter has"
        else:
            cause = (
                "training may have let the other directions decay, or a low-rank approximation was computed "
                "in the stored precision"
            )
        severity: Literal["info", "warning", "error"] = "error" if deficit.truncated else "warning"
        yield Observation(
            code="RA-FO-001",
            message=f"The rank is {deficit.rank} of {deficit.possible}{where} (gap {deficit.gap:.3g}): "
            f"{cause}.",
            evidence=_strict(evidence),
            severity=severity if many else "info",
        )


def _grid(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    grid = traces.grid
    if grid is None:
        return
    yield Observation(
        code="RA-FO-002",
        message=f"The weights were quantised before: {traces.scheme}, {block_words(grid.family, grid.group)} "
        f"({grid.bits} bits, {grid.levels} equally spaced levels).",
        evidence={
            "scheme": traces.scheme,
            "bits": grid.bits,
            "levels": grid.levels,
            "symmetric": grid.symmetric,
            "unit": grid.family,
            "group": grid.group,
            "zero_point": grid.zero_point,
            "step": grid.step,
            "units_checked": grid.units,
            "evidence_nats": round(grid.evidence, 1),
            "zero_share": traces.zeros.zeros / traces.zeros.entries,
        },
    )


def _rounding(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    if traces.rounded is None or traces.grid is not None or traces.book is not None:
        return
    yield Observation(
        code="RA-FO-003",
        message=(
            f"Every weight is exactly a {traces.rounded} number inside {given.layer.dtype}: "
            f"the layer was once stored in {traces.rounded}."
        ),
        evidence={"rounded_to": traces.rounded, "stored": given.layer.dtype},
    )


def _dead(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    zeros = traces.zeros
    rows, columns = zeros.dead_rows, zeros.dead_columns
    if _is_padding(given, rows):
        yield Observation(
            code="RA-FO-013",
            message=f"Row {rows[0]} of the embedding is zero: usually that of a padding token.",
            evidence={"rows": list(rows), "remark": "embedding padding"},
        )
        rows = ()
    if not rows and not columns:
        return
    evidence: dict[str, Any] = {"dead_rows": len(rows), "dead_columns": len(columns)}
    evidence |= {"rows": list(rows[:_LISTED]), "columns": list(columns[:_LISTED])}
    blocks = ""
    if zeros.blocks is not None:
        starts = zeros.blocks.starts
        evidence["blocks"] = {
            "of": zeros.blocks.of,
            "size": zeros.blocks.size,
            "starts": list(starts[:_LISTED]),
        }
        blocks = f" They make up {len(starts)} whole blocks of {zeros.blocks.size}, as pruned heads do."
    named = [
        f"{len(each)} dead {name} ({_listed(each)})"
        for name, each in (("rows", rows), ("columns", columns))
        if each
    ]
    most_are_dead = 2 * len(rows) > given.layer.shape[0] or 2 * len(columns) > _width(given)
    yield Observation(
        code="RA-FO-005",
        message=f"The layer has {' and '.join(named)}.{blocks}",
        evidence=evidence,
        severity="warning" if most_are_dead else "info",
    )


def _width(given: LayerInput) -> int:
    """Return the number of columns of the layer's matrices side by side."""
    return given.layer.shape[1] * len(given.matrices)


def _is_padding(given: LayerInput, rows: tuple[int, ...]) -> bool:
    """Whether the one dead row is where padding tokens are: among the first four, or the last."""
    places = {*range(_PADDING_ROWS), given.layer.shape[0] - 1}
    return given.layer.kind is LayerKind.EMBEDDING and len(rows) == 1 and rows[0] in places


def _outliers(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    test = traces.outliers
    if test is None or test.p_value > SUSPICIOUS:
        return
    evidence = _outlier_evidence(test)
    if traces.loud is not None:
        evidence |= {"sigma": traces.loud.sigma, "inverse_participation_ratio": traces.loud.localisation}
    row, column = test.positions[0]
    others = f" and {len(test.positions) - 1} more" if len(test.positions) > 1 else ""
    yield Observation(
        code="RA-FO-006",
        message=(
            f"The weight {test.values[0]:.4g} at row {row}, column {column}{others} lies "
            f"outside the layer's own tail (next largest: {test.next_largest:.4g})."
        ),
        evidence=evidence,
        p_value=test.p_value,
    )


def _outlier_evidence(test: OutlierTest) -> dict[str, Any]:
    return {
        "positions": [list(position) for position in test.positions],
        "values": list(test.values),
        "next_largest": test.next_largest,
        "tail_index": _strict({"": test.tail_index})[""],
        "pareto_p_value": test.model_p_value,
    }


def _copies(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    for name, groups in (("rows", traces.copied_rows), ("columns", traces.copied_columns)):
        if not groups:
            continue
        copies = sum(len(group) - 1 for group in groups)
        yield Observation(
            code="RA-FO-007",
            message=f"{copies} {name} are exact copies of others (first group: {_listed(groups[0])}).",
            evidence={
                "of": name,
                "copies": copies,
                "groups": [list(group[:_LISTED]) for group in groups[:_LISTED]],
            },
            severity="info" if given.layer.kind is LayerKind.EMBEDDING else None,
        )


def _constant(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    value = traces.facts.constant
    if value is not None and given.layer.kind is not LayerKind.ADAPTER and traces.zeros.entries > 1:
        yield Observation(
            code="RA-FO-008",
            message=f"Every weight has the same value, {value:.6g}.",
            evidence={"value": value},
        )


def _range(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    facts, zeros = traces.facts, traces.zeros
    occupied = zeros.entries - zeros.zeros
    evidence = {"largest": facts.largest, "overflowing": facts.overflowing, "vanishing": facts.vanishing}
    if facts.overflowing:
        message = f"{facts.overflowing} weights are infinite in float16 (largest: {facts.largest:.4g})."
    elif 2 * facts.vanishing > occupied:
        message = f"{facts.vanishing} of {occupied} nonzero weights become zero in float16."
    else:
        return
    yield Observation(
        code="RA-FO-009", message=message, evidence=evidence, severity=None if facts.overflowing else "info"
    )


def _denormals(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    count = traces.facts.denormals
    if not count or given.layer.dtype not in {"float32", "float64", "bfloat16"}:
        return  # the narrow formats have denormals in every healthy layer
    yield Observation(
        code="RA-FO-010",
        message=(f"{count} weights are denormal in {given.layer.dtype}: they decayed, as in dead units."),
        evidence={"denormals": count, "stored": given.layer.dtype},
    )


def _loud(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    loud = traces.loud
    if loud is None or loud.share < LOUD:
        return
    row, column = loud.position
    yield Observation(
        code="RA-FO-014",
        message=f"The weight {loud.value:.4g} at row {row}, column {column} carries {100 * loud.share:.0f} "
        "% of the layer's squared norm.",
        evidence={
            "position": [row, column],
            "value": loud.value,
            "share": loud.share,
            "sigma": loud.sigma,
            "inverse_participation_ratio": loud.localisation,
        },
    )


_TRACES = (
    _rank, _grid, _rounding, _dead, _outliers, _copies, _constant, _range, _denormals, _loud, *INJURIES,
)  # fmt: skip

_OF_ENCODING = (_grid, _rounding, code_book, clipped)
"""Traces of a quantisation, which are none where the file declares it."""


def _listed(positions: Sequence[int]) -> str:
    shown = ", ".join(map(str, positions[:5]))
    return f"{shown}, …" if len(positions) > 5 else shown


def _strict(evidence: dict[str, Any]) -> dict[str, Any]:
    """Return evidence that strict JSON can hold: an infinite ratio becomes ``None``."""
    return {key: None if value == float("inf") else value for key, value in evidence.items()}
