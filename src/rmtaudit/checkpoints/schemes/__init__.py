"""Quantised weights: from the codes, scales and zero points of a module to the weight that they stand for.

The decision is taken for each tensor, from what lies beside it (:mod:`~.modules`); one module of this package
holds the schemes of one family. A module whose scheme is not known is skipped as a whole. The schemes are
imported for a checkpoint that may hold codes, and for no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmtaudit.checkpoints.base import Checkpoint

__all__ = ["CODE_DTYPES", "FLOAT8", "INTEGERS", "decoded"]

FLOAT8 = frozenset({"float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"})

INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32"})
"""Dtypes that codes are stored in. 64-bit integers are indices and counts."""

CODE_DTYPES = INTEGERS | FLOAT8
"""Every dtype that codes are stored in."""


def decoded(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint with its quantised weights decoded; the same one where it has none.

    A weight is presented under the name that it has without quantisation, with the values that its library
    computes from it (float32) and an :class:`~rmtaudit.matrices.tensors.Encoding`. Its scales, zero points
    and tables stay in the list, as no weights. Codes of a scheme that is not decoded cannot be read, and
    say why.
    """
    if CODE_DTYPES.isdisjoint(spec.dtype for spec in checkpoint.tensors):
        return checkpoint
    from rmtaudit.checkpoints.schemes.decoding import decode_modules

    return decode_modules(checkpoint)
