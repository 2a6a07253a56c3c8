"""What is worth saying about the evidence: one small function a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.analyzers.base import LayerInput, Observation
from rmtaudit.analyzers.forensics.evidence import LOUD, SUSPICIOUS, Evidence
from rmtaudit.kernels.forensics.initialisation import scale_names
from rmtaudit.matrices.layers import LayerKind

if TYPE_CHECKING:
    from rmtaudit.kernels.forensics.outliers import OutlierTest

SPARSE = 0.01
"""Share of zeros outside dead rows and columns from which a layer counts as sparse."""

_SPARSE_GRID, _SPARSE_GRID_BITS = 0.3, 5
_LISTED = 20
_SHUFFLED_ENTRIES, _SHUFFLED_SIDE = 16_384, 32
_PADDING_ROWS = 4
_EDGE = 5.0
_FEW_LOST, _SHARE_LOST = 3, 0.1
"""Losing no more directions than this many, or this share, harms no layer: stems and narrow layers do."""


def observe(given: LayerInput, found: Evidence) -> tuple[Observation, ...]:
    """Return what was seen in a layer, in the order of the codes."""
    seen: list[Observation] = []
    # an adapter's matrix is the core of its product: no entry of it was stored
    for each in (_rank,) if given.layer.kind is LayerKind.ADAPTER else _TRACES:
        seen.extend(each(given, found))
    return tuple(sorted(seen, key=lambda observation: observation.code))


def _rank(given: LayerInput, found: Evidence) -> Iterator[Observation]:
    for index, deficit in found.deficits:
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
                "the layer was replaced by a low-rank approximation: the lost directions hold nothing but "
                "the rounding of the stored weights"
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
            "RA-FO-001",
            f"The rank is {deficit.rank} of {deficit.possible}{where} (gap {deficit.gap:.3g}): {cause}.",
            _strict(evidence),
            severity=severity if many else "info",
        )


def _grid(_: LayerInput, found: Evidence) -> Iterator[Observation]:
    grid = found.grid
    if grid is None:
        return
    unit = {"tensor": "the whole tensor", "row": "each row", "column": "each column"}.get(
        grid.family, f"each {grid.family.replace('group', f'group of {grid.group}')}"
    )
    kind = "symmetric" if grid.symmetric else "asymmetric"
    yield Observation(
        "RA-FO-002",
        f"The weights were quantised to {grid.bits} bits ({kind}, {grid.levels} equally spaced levels, "
        f"one step for {unit}).",
        {
            "bits": grid.bits,
            "levels": grid.levels,
            "symmetric": grid.symmetric,
            "unit": grid.family,
            "group": grid.group,
            "zero_point": grid.zero_point,
            "step": grid.step,
            "units_checked": grid.units,
            "evidence_nats": round(grid.evidence, 1),
            "zero_share": found.zeros.zeros / found.zeros.entries,
        },
    )


def _rounding(given: LayerInput, found: Evidence) -> Iterator[Observation]:
    if found.rounded is None or found.grid is not None:
        return
    yield Observation(
        "RA-FO-003",
        f"Every weight is exactly a {found.rounded} number inside {given.layer.dtype}: the layer was stored "
        f"in {found.rounded} once.",
        {"rounded_to": found.rounded, "stored": given.layer.dtype},
    )


def _sparsity(_: LayerInput, found: Evidence) -> Iterator[Observation]:
    zeros, grid = found.zeros, found.grid
    share = zeros.scattered_share
    if grid is None and not found.coarse:
        sparse = share >= SPARSE and zeros.scattered > 2 * zeros.expected + 8
    else:  # zero is one of the levels: only more zeros than a fine grid can have say something
        sparse = share >= _SPARSE_GRID and (grid is None or grid.bits >= _SPARSE_GRID_BITS)
    pattern = zeros.pattern if sparse else None
    if not sparse:
        return
    how = f"{pattern.n}:{pattern.m} along {pattern.along}" if pattern else "unstructured"
    yield Observation(
        "RA-FO-004",
        f"{100 * share:.3g} % of the weights are exactly zero ({how}): pruned, or zero by construction.",
        {"zero_share": share, "zeros": zeros.scattered, "entries": zeros.alive, "pattern": how},
    )


def _dead(given: LayerInput, found: Evidence) -> Iterator[Observation]:
    zeros = found.zeros
    rows, columns = zeros.dead_rows, zeros.dead_columns
    if _is_padding(given, rows):
        yield Observation(
            "RA-FO-013",
            f"Row {rows[0]} of the embedding is zero: a padding token, as a rule.",
            {"rows": list(rows), "remark": "embedding padding"},
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
        "RA-FO-005",
        f"The layer has {' and '.join(named)}.{blocks}",
        evidence,
        severity="warning" if most_are_dead else "info",
    )


def _width(given: LayerInput) -> int:
    """Return the number of columns of the layer's matrices side by side."""
    return given.layer.shape[1] * len(given.matrices)


def _is_padding(given: LayerInput, rows: tuple[int, ...]) -> bool:
    """Whether the one dead row is where padding tokens are: among the first four, or the last."""
    places = {*range(_PADDING_ROWS), given.layer.shape[0] - 1}
    return given.layer.kind is LayerKind.EMBEDDING and len(rows) == 1 and rows[0] in places


def _outliers(_: LayerInput, found: Evidence) -> Iterator[Observation]:
    test = found.outliers
    if test is None or test.p_value > SUSPICIOUS:
        return
    evidence = _outlier_evidence(test)
    if found.loud is not None:
        evidence |= {"sigma": found.loud.sigma, "inverse_participation_ratio": found.loud.localisation}
    row, column = test.positions[0]
    others = f" and {len(test.positions) - 1} more" if len(test.positions) > 1 else ""
    yield Observation(
        "RA-FO-006",
        f"The weight {test.values[0]:.4g} at row {row}, column {column}{others} stands apart from the "
        f"layer's own tail (next largest: {test.next_largest:.4g}).",
        evidence,
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


def _copies(given: LayerInput, found: Evidence) -> Iterator[Observation]:
    for name, groups in (("rows", found.copied_rows), ("columns", found.copied_columns)):
        if not groups:
            continue
        copies = sum(len(group) - 1 for group in groups)
        yield Observation(
            "RA-FO-007",
            f"{copies} {name} are exact copies of others (first group: {_listed(groups[0])}).",
            {"of": name, "copies": copies, "groups": [list(group[:_LISTED]) for group in groups[:_LISTED]]},
            severity="info" if given.layer.kind is LayerKind.EMBEDDING else None,
        )


def _constant(given: LayerInput, found: Evidence) -> Iterator[Observation]:
    value = found.facts.constant
    if value is not None and given.layer.kind is not LayerKind.ADAPTER and found.zeros.entries > 1:
        yield Observation("RA-FO-008", f"Every weight has the same value, {value:.6g}.", {"value": value})


def _range(_: LayerInput, found: Evidence) -> Iterator[Observation]:
    facts, zeros = found.facts, found.zeros
    occupied = zeros.entries - zeros.zeros
    evidence = {"largest": facts.largest, "overflowing": facts.overflowing, "vanishing": facts.vanishing}
    if facts.overflowing:
        message = f"{facts.overflowing} weights are infinite in float16 (largest: {facts.largest:.4g})."
    elif 2 * facts.vanishing > occupied:
        message = f"{facts.vanishing} of {occupied} weights that are not zero become zero in float16."
    else:
        return
    yield Observation("RA-FO-009", message, evidence, severity=None if facts.overflowing else "info")


def _denormals(given: LayerInput, found: Evidence) -> Iterator[Observation]:
    count = found.facts.denormals
    if not count or given.layer.dtype not in {"float32", "float64", "bfloat16"}:
        return  # the narrow formats have denormals in every healthy layer
    yield Observation(
        "RA-FO-010",
        f"{count} weights are denormal in {given.layer.dtype}: decayed to nothing, as in dead units.",
        {"denormals": count, "stored": given.layer.dtype},
    )


def _random(given: LayerInput, found: Evidence) -> Iterator[Observation]:
    rows, cols = given.layer.shape
    if found.orthogonal:
        gain = float(given.spectrum.eigenvalues[-1]) ** 0.5
        yield Observation(
            "RA-FO-011",
            f"The layer looks freshly initialised: all singular values are {gain:.4g} (orthogonal).",
            {"family": "orthogonal", "gain": gain},
        )
        return
    order, family, edge = found.order, found.family, found.edge
    if order is None or family is None or edge is None or found.grid is not None:
        return  # a grid makes any distribution another one
    evidence = {
        "rows_p": order.rows,
        "columns_p": order.columns,
        "products_p": order.products,
        "entries_p": family.p_value,
        "kurtosis": family.kurtosis,
        "std": found.rms,
        "family": family.family,
    }
    if family.p_value > SUSPICIOUS / 10 and edge < _EDGE:
        dense = given.layer.kind in {
            LayerKind.DENSE,
            LayerKind.EMBEDDING,
            LayerKind.RECURRENT,
            LayerKind.ATTENTION,
        }
        names = scale_names(family.family, found.rms, rows, cols, dense=dense)
        known = f", the scale of {' or '.join(names)}" if names else ", a scale of no usual initialisation"
        yield Observation(
            "RA-FO-011",
            f"The layer looks freshly initialised: {family.family} entries in random order, "
            f"standard deviation {found.rms:.4g}{known}.",
            evidence | {"initialisations": list(names)},
        )
        return
    large = rows * cols >= _SHUFFLED_ENTRIES and min(rows, cols) >= _SHUFFLED_SIDE
    if family.p_value <= SUSPICIOUS / 10 and large:
        yield Observation(
            "RA-FO-012",
            "The layer looks shuffled: its rows, columns and spectrum are those of entries in random order, "
            f"but no usual initialisation draws such entries (kurtosis {family.kurtosis:.3g}).",
            evidence,
        )


def _loud(_: LayerInput, found: Evidence) -> Iterator[Observation]:
    loud = found.loud
    if loud is None or loud.share < LOUD:
        return
    row, column = loud.position
    yield Observation(
        "RA-FO-014",
        f"The weight {loud.value:.4g} at row {row}, column {column} carries {100 * loud.share:.0f} % of the "
        "layer's squared norm.",
        {
            "position": [row, column],
            "value": loud.value,
            "share": loud.share,
            "sigma": loud.sigma,
            "inverse_participation_ratio": loud.localisation,
        },
    )


_TRACES = (
    _rank, _grid, _rounding, _sparsity, _dead, _outliers, _copies, _constant, _range, _denormals, _random,
    _loud,
)  # fmt: skip


def _listed(positions: Sequence[int]) -> str:
    shown = ", ".join(map(str, positions[:5]))
    return f"{shown}, …" if len(positions) > 5 else shown


def _strict(evidence: dict[str, Any]) -> dict[str, Any]:
    """Return evidence that strict JSON can hold: an infinite ratio becomes ``None``."""
    return {key: None if value == float("inf") else value for key, value in evidence.items()}
