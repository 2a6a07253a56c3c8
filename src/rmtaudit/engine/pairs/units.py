"""Which sides of a weight are hidden units that can be relabelled, from names, shapes and roles.

Sides of equal length are relabelled together, all with one permutation. That is a symmetry of the network
whichever of them are the same units (a residual stream, a recurrent state) and whichever are not, so the
graph need not be known. Sides that are tied to inputs or outputs (pixels, vocabulary, classes, positions)
are not relabelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rmtaudit.engine.pairs.names import place_of
from rmtaudit.engine.pairs.refs import TensorRef
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.roles import names_transposed_convolution

FEWEST_UNITS = 6
"""Sides with fewer units are not tested: 6! = 720 relabellings."""

_HEAD_BLOCKS = ((128, 8), (0, 4))
"""Units that are relabelled among each other where the size of a head is not known, by least width: the sizes
of heads are multiples of 8, but for toys."""

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_POSITIONS = re.compile(r"(^|[._/])(wpe|pos(ition)?(al)?(_?emb\w*)?|\w*position\w*)([._/]|$)", re.IGNORECASE)
_HEADS = re.compile(
    r"(^|[._/])(lm_head|classifiers?|\w*(classification|regression|cls|score)_?(head\w*|decoder)?|heads?|logits?"
    r"|predictions?)([._/]|$)",
    re.IGNORECASE,
)
_OUTWARD = re.compile(
    r"(^|[._/])(o|o_proj|out|out_proj|out_lin|wo|proj|c_proj|dense|attn_output|to_out)([._/]0)?"
    r"([._/](weight|kernel))?$"
)
_RECURRENT_STATE = re.compile(
    r"(^|[._/])(weight_hh\w*|\w*recurrent_kernel\w*|\w*recurrent_weights?)(#|[:._/]|$)"
)


class Side(StrEnum):
    """The side of a matrix whose units are relabelled."""

    ROWS = "rows"
    COLUMNS = "columns"
    BOTH = "rows and columns"


class Exclusion(StrEnum):
    """Why the units of a weight are not tested."""

    NO_WEIGHT = "it is not a weight matrix"
    TIED = "its sides are tied to inputs or outputs"
    FEW_UNITS = "it has too few units"
    GROUPED = "its units are divided into groups"
    GATES = "its gates are stored together"
    FUSED = "it fuses several projections"
    AMBIGUOUS = "a side has the length of an input or output"
    POSITIONS = "it is a table of positions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """How the units of one weight are relabelled.

    Attributes
    ----------
    side
        The side that is relabelled.
    count
        Number of units on it.
    block
        Units are relabelled within blocks of so many; equal to ``count`` where all are.
    kernel
        Number of positions of a convolution kernel; 1 for a matrix.
    """

    side: Side
    count: int
    block: int
    kernel: int = 1

    @property
    def group(self) -> tuple[int, int]:
        """Weights with the same group are relabelled together."""
        return self.count, self.block


@dataclass(slots=True, kw_only=True)
class _Sides:
    """A weight while its sides are decided: lengths, and whether each is hidden."""

    ref: TensorRef
    rows: int
    columns: int
    kernel: int
    transposed: bool
    rows_hidden: bool = False
    columns_hidden: bool = False
    ambiguous: bool = False
    block: int = 0

    @property
    def outputs(self) -> int:
        return self.columns if self.transposed else self.rows

    @property
    def inputs(self) -> int:
        return self.rows if self.transposed else self.columns

    def hide(self, *, outputs: bool, inputs: bool) -> None:
        self.rows_hidden, self.columns_hidden = (inputs, outputs) if self.transposed else (outputs, inputs)


def plan_units(
    refs: Sequence[TensorRef], config: Mapping[str, Any] | None = None, *, ordered: bool | None = None
) -> dict[str, Units | Exclusion]:
    """Decide for every weight which units of it are relabelled.

    Parameters
    ----------
    refs
        Everything of a checkpoint that can be compared, in stored order.
    config
        The model's ``config.json``: the number of attention heads.
    ordered
        Whether the stored order is that of registration, so that producers come before consumers; by default
        it is where names are not sorted.

    Returns
    -------
    dict
        By the name of the reference.
    """
    plan: dict[str, Units | Exclusion] = {}
    sides = []
    for ref in refs:
        excluded = _excluded(ref)
        if excluded is not None:
            plan[ref.name] = excluded
        else:
            sides.append(_sides(ref))
    _decide_hidden(sides, ordered)
    _decide_attention(sides, config or {})
    sizes = {each.outputs for each in sides}
    for each in sides:
        plan[each.ref.name] = _units(each, sizes)
    return plan


def _excluded(ref: TensorRef) -> Exclusion | None:
    if ref.layer is None or ref.layer.matrices != 1 or ref.rows is not None:
        return Exclusion.NO_WEIGHT
    if _POSITIONS.search(ref.name):
        return Exclusion.POSITIONS
    if ref.kind is LayerKind.RECURRENT and "#" not in ref.name and ref.shape[0] != ref.shape[1]:
        return Exclusion.GATES
    if "fused" in ref.layer.view:
        return Exclusion.FUSED
    return None


def _sides(ref: TensorRef) -> _Sides:
    assert ref.layer is not None
    kernel = 1
    for size in ref.layer.kernel:
        kernel *= size
    rows, columns = ref.shape[0], ref.shape[1] // kernel
    transposed = ref.kind is LayerKind.EMBEDDING or (
        bool(ref.layer.kernel) and names_transposed_convolution(ref.name) and "stored" not in ref.layer.view
    )
    return _Sides(ref=ref, rows=rows, columns=columns, kernel=kernel, transposed=transposed)


def _decide_hidden(sides: Sequence[_Sides], ordered: bool | None) -> None:
    """Mark the sides that another weight produces or consumes.

    Where the stored order is that of registration, a producer comes before and a consumer after. In sorted
    files, and in networks that begin with a table of embeddings, only the sizes are compared. Then there has
    to be an input that nothing produces and an output that nothing consumes, or a table of embeddings, or
    nothing is marked: an autoencoder has neither.
    """
    if ordered is None:
        ordered = [each.ref.name for each in sides] != sorted(each.ref.name for each in sides)
    embedded = any(each.ref.kind is LayerKind.EMBEDDING for each in sides)
    ordered = ordered and not embedded
    marks = []
    for place, each in enumerate(sides):
        before = sides[:place] if ordered else [*sides[:place], *sides[place + 1 :]]
        after = sides[place + 1 :] if ordered else before
        produced = any(other.outputs == each.inputs for other in before)
        consumed = any(_consumes(other, each) for other in after)
        if each.ref.kind is LayerKind.EMBEDDING:
            produced, consumed = False, True
        elif _HEADS.search(each.ref.name) or (ordered and place == len(sides) - 1):
            consumed = False
        elif _RECURRENT_STATE.search(each.ref.name) and each.rows == each.columns:
            produced = consumed = True
        elif ordered and place == 0:
            produced = False
        marks.append((each, produced, consumed))
    unbounded = all(produced for _, produced, _ in marks) or all(consumed for _, _, consumed in marks)
    if not ordered and not embedded and unbounded:
        for each in sides:
            each.ambiguous = True
        return
    inputs = {each.inputs for each, produced, _ in marks if not produced}
    outputs = {each.outputs for each, _, consumed in marks if not consumed}
    for each, produced, consumed in marks:
        state = bool(_RECURRENT_STATE.search(each.ref.name))
        vague_in = produced and not state and each.inputs in inputs
        vague_out = consumed and not state and each.outputs in outputs
        each.hide(outputs=consumed and not vague_out, inputs=produced and not vague_in)
        each.ambiguous = each.inputs == each.outputs and (vague_in or vague_out)


def _consumes(other: _Sides, each: _Sides) -> bool:
    if other.inputs == each.outputs:
        return True
    convolved = bool(each.ref.layer and each.ref.layer.kernel)
    flat = other.kernel == 1 and other.ref.kind is LayerKind.DENSE
    return convolved and flat and other.inputs > each.outputs and other.inputs % each.outputs == 0


def _decide_attention(sides: Iterable[_Sides], config: Mapping[str, Any]) -> None:
    """Mark the sides of attention: dimensions of values are relabelled within heads, of queries never.

    Queries and keys may be rotated by position, which ties their dimensions. The dimensions of the output
    projection are those of the values where there are as many; where values are shared by several heads,
    they are not relabelled.
    """
    attention = [
        each
        for each in sides
        if each.ref.kind is LayerKind.ATTENTION
        or (_ATTENTION.search(each.ref.name) and each.ref.kind is LayerKind.DENSE)
        or _role(each.ref.name) in ("query", "key", "value", "attention output")
    ]
    values = {each.rows for each in attention if _role(each.ref.name) == "value"}
    for each in attention:
        role = _role(each.ref.name)
        if role == "attention output" or (role == "" and _OUTWARD.search(each.ref.name)):
            each.columns_hidden = each.columns in values
            each.block = _block(each.columns, config) if each.columns_hidden else 0
        else:
            each.rows_hidden = role == "value"
            each.block = _block(each.rows, config) if each.rows_hidden else 0
        each.ambiguous = False


def _role(name: str) -> str:
    label = name.rpartition("#")[2] if "#" in name else ""
    if label in ("q", "k", "v"):
        return {"q": "query", "k": "key", "v": "value"}[label]
    place = place_of(name)
    if place is not None and place[1] in ("query", "key", "value", "attention output"):
        return place[1]
    return ""


def _block(width: int, config: Mapping[str, Any]) -> int:
    nested = config.get("text_config")
    facts = nested if isinstance(nested, Mapping) else config
    size = _fact(facts, "head_dim")
    heads = _fact(facts, "num_attention_heads", "n_head", "n_heads")
    hidden = _fact(facts, "hidden_size", "n_embd", "dim", "d_model")
    if not size and heads and hidden:
        size = hidden // heads
    if size > 1 and width % size == 0:
        return size
    return next((block for least, block in _HEAD_BLOCKS if width >= least and width % block == 0), 0)


def _fact(facts: Mapping[str, Any], *names: str) -> int:
    value = next((facts[name] for name in names if facts.get(name) is not None), 0)
    return value if type(value) is int and value > 0 else 0


def _units(each: _Sides, sizes: set[int]) -> Units | Exclusion:
    if each.ambiguous:
        return Exclusion.AMBIGUOUS
    if (
        each.kernel > 1
        and 1 < each.columns < each.rows
        and each.columns not in sizes
        and not each.columns_hidden
    ):
        shared = each.rows % each.columns == 0 and each.columns > 4  # up to 4: the channels of an image
        if shared:
            return Exclusion.GROUPED
    if each.block and each.block >= FEWEST_UNITS - 2:
        side, count = (Side.ROWS, each.rows) if each.rows_hidden else (Side.COLUMNS, each.columns)
        if _role(each.ref.name) != "value":
            side, count = Side.COLUMNS, each.columns
        return Units(side=side, count=count, block=each.block, kernel=each.kernel)
    options = [
        (count, side)
        for hidden, side, count in (
            (each.rows_hidden, Side.ROWS, each.rows),
            (each.columns_hidden, Side.COLUMNS, each.columns),
        )
        if hidden
    ]
    if not options:
        return Exclusion.TIED
    if len(options) == 2 and each.rows == each.columns:
        count, side = each.rows, Side.BOTH
    else:
        count, side = max(options)
    if count < FEWEST_UNITS:
        return Exclusion.FEW_UNITS
    return Units(side=side, count=count, block=count, kernel=each.kernel)
