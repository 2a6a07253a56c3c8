"""What is worth saying about pruning, code books and other injuries: one small function a kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import LayerInput, Observation
from rmtaudit.analyzers.forensics.evidence import LOUD

if TYPE_CHECKING:
    from rmtaudit.analyzers.forensics.evidence import Evidence
    from rmtaudit.kernels.forensics.line_order import BlockOrder, LineOrder
    from rmtaudit.kernels.forensics.lines import LoudLines

LINE_P_VALUE = 1e-5
"""P-value under a Pareto tail at which a row or column stands apart, where the gap is wide as well."""

FAR_GAP, FAR_P_VALUE = 8.0, 1e-3
"""A weight is far above the rest from this ratio; the largest at this p-value in healthy layers of side 64
is 5.1."""

LARGE_GAP = 2.5
"""A weight is worth mentioning from this ratio to the next one."""

OFFSET = 0.8
"""Mean over standard deviation of the entries; no healthy layer of side 64 measured has it."""

RANDOM, STRUCTURED, UNEVEN = 3.5, 10.0, 8.0
"""Scores, in standard deviations: of lines in random order (below), of trained lines, of lines of unequal
size (above)."""

CONTRAST = 4.0
"""Rank-sum score from which the halves of the rows differ, in standard deviations: were the rows dealt to the
halves at random, 6 layers in 100,000 would reach it, whatever the rows have in common."""

SIDE = 64
"""Least side of a matrix for findings that small layers give by chance: single weights and offsets."""

SPARSE = 0.01
"""Share of zeros outside dead rows and columns from which a layer counts as sparse."""

_SPARSE_GRID, _SPARSE_GRID_BITS, _SPARSE_GRID_RATIO = 0.3, 5, 8
"""Where zero is a level: least share of zeros, least bits, and least number of zeros for each entry at the
levels next to zero. Rounding a smooth density gives at most a ratio of about 1, and heavy-tailed int8 layers
of real models reach 2.7; pruning to 40 % gives 20 and more."""

_DECIDED = 1e-5
"""P-value from which RA-FO-006 is at least a warning in a model of hundreds of layers."""

_LISTED = 20
_MAJORITY = 0.5


def block_words(family: str, group: int | None) -> str:
    """Return what shares a step, a scale or a code book: blocks of 32 along rows, one scale for each row."""
    if family == "tensor":
        return "one scale for the whole tensor"
    if group is None:
        return f"one scale for each {family}"
    return f"blocks of {group} x {group}" if family == "block" else f"blocks of {group}{family[5:]}"


def code_book(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report a known table of levels, or a few distinct values a unit."""
    book = traces.book
    if book is None:
        return
    if book.table:
        how = f"{traces.scheme}, {block_words(book.family, book.group)} ({book.bits} bits)"
    else:
        where = block_words(book.family, book.group).replace("one scale for ", "")
        how = f"{traces.scheme} in {where} ({book.bits} bits)"
    yield Observation(
        code="RA-FO-021",
        message=f"The weights were quantised before: {how}.",
        evidence={
            "scheme": traces.scheme,
            "bits": book.bits,
            "table": book.table,
            "values": book.values,
            "unit": book.family,
            "group": book.group,
            "units_checked": book.units,
            "zero_share": traces.zeros.zeros / traces.zeros.entries,
        },
    )


def clipped(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report bounds that many entries hold."""
    clip = traces.injuries.clipped if traces.injuries else None
    if clip is None:
        return
    share = clip.clipped / traces.zeros.entries
    bounds = " and ".join(f"{bound:.4g}" for bound in (clip.low, clip.high) if bound is not None)
    yield Observation(
        code="RA-FO-022",
        message=f"The weights were clipped at {bounds}: {clip.clipped} of them ({100 * share:.2g} %) hold "
        "exactly that value.",
        evidence={"low": clip.low, "high": clip.high, "clipped": clip.clipped, "share": share},
    )


def flipped_bits(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report entries that one bit of the exponent made enormous."""
    flips = traces.injuries.flipped if traces.injuries else None
    if flips is None:
        return
    row, column = flips.positions[0]
    count = len(flips.positions)
    others = f" and {count - 1} more" if count > 1 else ""
    yield Observation(
        code="RA-FO-023",
        message=f"The weight {flips.values[0]:.4g} at row {row}, column {column}{others}: the highest bit "
        f"of the exponent is flipped. With the bit flipped back it is {flips.restored[0]:.4g}, as large as "
        "the other weights.",
        evidence={
            "count": count,
            "positions": [list(position) for position in flips.positions[:_LISTED]],
            "values": list(flips.values[:_LISTED]),
            "restored": list(flips.restored[:_LISTED]),
            "power_of_two": flips.power,
        },
    )


def loud_lines(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report rows and columns far larger than the others."""
    if traces.injuries is None:
        return
    for name, lines in (("row", traces.injuries.loud_rows), ("column", traces.injuries.loud_columns)):
        # One giant entry makes its row and its column large: it is reported as an entry.
        if lines is None or lines.p_value > LINE_P_VALUE or _by_one_entry(given, traces, name, lines):
            continue
        places = ", ".join(map(str, lines.positions))
        noun = (
            f"{name.capitalize()} {places} is"
            if len(lines.positions) == 1
            else f"{name.capitalize()}s {places} are"
        )
        yield Observation(
            code="RA-FO-024",
            message=f"{noun} {lines.gap:.3g} times larger than any other {name} (root mean square "
            f"{lines.sizes[-1]:.3g} against "
            f"{lines.next_largest:.3g}).",
            evidence={
                "of": f"{name}s",
                "positions": list(lines.positions),
                "sizes": list(lines.sizes),
                "next_largest": lines.next_largest,
                "ratio": lines.gap,
                "pareto_p_value": lines.p_value,
            },
        )


def _by_one_entry(given: LayerInput, traces: Evidence, name: str, lines: LoudLines) -> bool:
    """Whether the entries that stand apart are what makes the lines large: without them they are ordinary."""
    test = traces.outliers
    if test is None:
        return False
    axis = 0 if name == "row" else 1
    length = given.layer.shape[1 - axis]
    entries = list(zip(test.largest_positions, test.largest_values, strict=True))
    for place, size in zip(lines.positions, lines.sizes, strict=True):
        apart = sum(value * value for position, value in entries if position[axis] == place)
        if apart < _MAJORITY * size * size * length:
            return False
    return True


def large_weight(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report a weight, or up to four, far above or well above the others."""
    test = traces.outliers
    if test is None or traces.injuries is None or test.widest.ratio < LARGE_GAP:
        return
    if test.p_value <= _DECIDED or (traces.loud is not None and traces.loud.share >= LOUD):
        return  # one finding about one weight: RA-FO-006 or RA-FO-014
    gap = test.widest
    is_far = gap.ratio >= FAR_GAP and gap.p_value <= FAR_P_VALUE and min(given.layer.shape) >= SIDE
    row, column = test.largest_positions[0]
    others = f" and {gap.above - 1} more" if gap.above > 1 else ""
    below = abs(test.largest_values[gap.above])
    yield Observation(
        code="RA-FO-025" if is_far else "RA-FO-026",
        message=f"The weight {test.largest_values[0]:.4g} at row {row}, column {column}{others}: "
        f"{gap.ratio:.3g} times larger than any other (next largest: {below:.4g}).",
        evidence={
            "positions": [list(position) for position in test.largest_positions[: gap.above]],
            "values": list(test.largest_values[: gap.above]),
            "next_largest": below,
            "ratio": gap.ratio,
            "pareto_p_value": gap.p_value,
        },
    )


def offset(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report a mean as large as the standard deviation."""
    injuries = traces.injuries
    if injuries is None or injuries.sd == 0 or min(given.layer.shape) < SIDE:
        return
    ratio = injuries.mean / injuries.sd
    if abs(ratio) > OFFSET:
        yield Observation(
            code="RA-FO-027",
            message=(
                f"The mean of the weights is {injuries.mean:.4g}, {abs(ratio):.3g} times "
                f"their standard deviation ({injuries.sd:.4g}): a constant was added, or the "
                "layer is positive by design."
            ),
            evidence={"mean": injuries.mean, "sd": injuries.sd, "ratio": ratio},
        )


def line_orders(_: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report a half of the lines drawn anew, and lines that were shuffled within."""
    if traces.injuries is None:
        return
    for name, order in (("rows", traces.injuries.ordered_rows), ("columns", traces.injuries.ordered_columns)):
        if order is None:
            continue
        half = random_half(order) if name == "rows" else None
        if half is not None:
            yield Observation(
                code="RA-FO-028",
                message=(
                    f"The {half} half of the rows holds entries in random order, while the "
                    "other half is trained: it was reinitialised, or never trained."
                ),
                evidence={"half": half, "contrast": order.contrast} | _scores(order.halves[half == "second"]),
            )
        elif _is_random(order.whole) and order.whole.sizes > UNEVEN:
            yield Observation(
                code="RA-FO-029",
                message=(
                    f"Within the {name} the weights are in random order, although the {name} "
                    "differ in magnitude: the weights were shuffled, or only scales were "
                    "trained."
                ),
                evidence={"of": name} | _scores(order.whole),
            )


def random_half(order: LineOrder) -> str | None:
    """Return the half that is in random order while the other is not, where the two differ beyond chance.

    One half may be below the first threshold and the other above the second one by chance, where the rows
    share little: they must not be halves of one layer.
    """
    for name, half, other, sign in (("first", *order.halves, 1), ("second", *order.halves[::-1], -1)):
        in_order = other.products > STRUCTURED and _is_random(half) and abs(half.sizes) < RANDOM
        if in_order and sign * order.contrast > CONTRAST:
            return name
    return None


def _is_random(block: BlockOrder) -> bool:
    return abs(block.products) < RANDOM and abs(block.profile) < RANDOM


def _scores(block: BlockOrder) -> dict[str, float]:
    return {"products": block.products, "profile": block.profile, "sizes": block.sizes}


def sparsity(given: LayerInput, traces: Evidence) -> Iterator[Observation]:
    """Report zeros that are neither dead lines nor a level of the quantisation."""
    zeros = traces.zeros
    share = zeros.scattered_share
    levels, encoding = traces.grid or traces.book, given.layer.encoding
    if levels is None and encoding is None and not traces.coarse:
        sparse = share >= SPARSE and zeros.scattered > 2 * zeros.expected + 8
    else:  # zero is one of the levels: only more zeros than a fine grid can have say something, or a pattern
        known = levels or encoding
        fine = known is None or known.bits >= _SPARSE_GRID_BITS
        apart = zeros.scattered >= _SPARSE_GRID_RATIO * zeros.next_level
        sparse = zeros.pattern is not None or (share >= _SPARSE_GRID and fine and apart)
    if not sparse:
        return
    pattern = zeros.pattern
    how = f"{pattern.n}:{pattern.m} along {pattern.along}" if pattern else "unstructured"
    overall = zeros.zeros / zeros.entries
    where = (
        f" outside dead rows and columns ({100 * overall:.3g} % of all)"
        if zeros.alive < zeros.entries
        else ""
    )
    yield Observation(
        code="RA-FO-004",
        message=f"{100 * share:.3g} % of the weights{where} are exactly zero ({how}): pruned, or zero by "
        f"construction.",
        evidence={
            "zero_share": share,
            "zero_share_of_all": overall,
            "zeros": zeros.scattered,
            "entries": zeros.alive,
            "pattern": how,
        },
    )


INJURIES = (sparsity, code_book, clipped, flipped_bits, loud_lines, large_weight, offset, line_orders)
