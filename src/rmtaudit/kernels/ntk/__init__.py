"""The neural tangent kernel as a sum over parameters of inner products of Jacobians that are never formed."""

from rmtaudit.kernels.ntk.contraction import contract, jacobian
from rmtaudit.kernels.ntk.costs import factors_are_cheaper, factors_are_kept
from rmtaudit.kernels.ntk.pieces import Factors, Lookup, Piece, Rows

__all__ = [
    "Factors",
    "Lookup",
    "Piece",
    "Rows",
    "contract",
    "factors_are_cheaper",
    "factors_are_kept",
    "jacobian",
]
