"""Constants in messages of Protocol Buffers: what ONNX models and frozen TensorFlow graphs have in common.

Both store a tensor as sides, a data type, and values that are raw bytes or numbers in a typed field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmtaudit.checkpoints.graphs.model import Constant, Scope
from rmtaudit.checkpoints.graphs.places import NARROW, Numbers, Raw, Typed, bytes_of
from rmtaudit.checkpoints.protobuf import Wire
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.matrices.tensors import ITEMSIZE
from rmtaudit.names import display_name

CONSTANTS_CAP = 1_000_000
"""Most constants of one file."""

DIMENSIONS_CAP = 64
"""Most sides of a tensor."""

Span = tuple[int, int]
"""Where bytes begin and end in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """Codes of the errors of one format.

    Attributes
    ----------
    graph
        There are more constants than a graph has.
    shape
        A shape that cannot be.
    values
        More or fewer values than the shape needs.
    numbers
        Numbers in a typed field that are damaged.
    duplicate
        Two constants of one graph have the same name.
    """

    graph: str
    shape: str
    values: str
    numbers: str
    duplicate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A typed field: how it stores a number, ``"varint"``, ``"float32"`` or ``"float64"``, and its dtypes."""

    stored: str
    dtypes: frozenset[str]


class ConstantParser:
    """Checks the constants of one file, and adds them to its graphs.

    Parameters
    ----------
    wire
        The file.
    codes
        Of errors.
    typed
        The typed fields of a tensor, by number.
    fills
        Whether a typed field may have fewer numbers than elements, the last one standing for the rest.

    Attributes
    ----------
    count
        How many constants were added.
    """

    def __init__(
        self, wire: Wire, codes: Codes, typed: Mapping[int, Numbered], *, fills: bool = False
    ) -> None:
        self._source = wire.source
        self._codes = codes
        self._typed = typed
        self._fills = fills
        self.count = 0

    def shape(self, sides: Sequence[int], name: str) -> tuple[int, ...]:
        """Return the shape of a tensor. Raises ``CorruptError`` for one that cannot be."""
        if len(sides) > DIMENSIONS_CAP or (sides and min(sides) < 0):
            raise self.corrupt(self._codes.shape, f"{len(sides)} dimensions, or one of negative length", name)
        if math.prod(side or 1 for side in sides) >= 1 << 62:
            raise self.corrupt(self._codes.shape, "its shape overflows", name)
        return tuple(sides)

    def place(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        raw: Span | None,
        typed: Mapping[int, list[Span]],
    ) -> Raw | Typed | Numbers:
        """Return where the values of a tensor are.

        Raises
        ------
        CorruptError
            They are in two places, in a field that does not hold this dtype, or not as many as elements.
        """
        count = math.prod(shape)
        if raw is not None:
            start, end = raw
            needed = bytes_of(dtype, count)
            if end - start != needed or typed:
                fault = f"{end - start} bytes of values, but its shape needs {needed}"
                raise self.corrupt(self._codes.values, fault, name, start)
            return Raw(self._source, start, needed)
        if not typed:
            if count:
                fault = f"no values, but its shape needs {bytes_of(dtype, count)} bytes"
                raise self.corrupt(self._codes.values, fault, name)
            return Numbers(())
        (number, spans), *more = typed.items()
        kind = self._typed[number]
        present = sum(end - start for start, end in spans)
        if kind.stored == "varint":
            size = 1
            least = bytes_of(dtype, count) if dtype in NARROW else count
            most = 10 * least
        else:
            size = ITEMSIZE.get(dtype, 1)
            least = most = count * size
        if self._fills:
            least = 0
        if more or dtype not in kind.dtypes or not least <= present <= most or present % size:
            fault = f"{present} bytes of numbers in field {number} for {count} of {dtype}"
            raise self.corrupt(self._codes.values, fault, name, spans[0][0])
        return Typed(
            source=self._source,
            spans=tuple(spans),
            stored=kind.stored,
            code=self._codes.numbers,
            fills=self._fills,
        )

    def add(self, constant: Constant, scope: Scope) -> None:
        """Add a constant to its graph.

        Raises
        ------
        CorruptError
            There are more than :data:`CONSTANTS_CAP` of them.
        UnsafeError
            The graph has one of that name.
        """
        self.count += 1
        if self.count > CONSTANTS_CAP:
            raise self.corrupt(self._codes.graph, f"more than {CONSTANTS_CAP} tensors")
        if constant.name in scope.constants:
            raise UnsafeError(
                self._codes.duplicate,
                f"Two tensors of one graph are named '{display_name(constant.name)}'.",
                hint="Do not trust the file.",
                where=self._source.where,
            )
        scope.constants[constant.name] = constant

    def corrupt(
        self, code: str, fault: str, name: str | None = None, position: int | None = None
    ) -> CorruptError:
        """Return the error for a fault of a tensor, or of the whole."""
        what = (
            f"{fault[:1].upper()}{fault[1:]}" if name is None else f"Tensor '{display_name(name)}': {fault}"
        )
        at = "" if position is None else f" (at position {position})"
        return CorruptError(code, f"{what}{at}.", hint="Download it again.", where=self._source.where)
