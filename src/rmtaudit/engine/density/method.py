"""How a spectrum is found: all eigenvalues, products with the whole matrix, or blocks of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rmtaudit.engine.density.blocks import target_order
from rmtaudit.engine.density.settings import DensitySettings
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import UnreachableError, UsageError
from rmtaudit.matrices.sources import MatrixSource, Reach

_COPIES = 4
"""Of the matrix: itself, its scaled copy, and the work of the eigenvalue routine."""
_BASIS = 2.5
"""The Lanczos vectors are copied as they grow by half."""
_READ = 60.0
"""Operations that reading an entry from a file is worth, and one of which nothing is known."""
_MOST_EXACT = 4096
"""A convention: all eigenvalues of this order take half a GiB."""
_PREFERENCE = 4.0
"""Times the operations of products that exact eigenvalues are worth: they leave no bounds to be evaluated."""


class Method(StrEnum):
    """What a spectrum is from."""

    EIGENVALUES = "eigenvalues"
    PRODUCTS = "products"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Plan:
    """The method that is taken, with what it needs.

    Attributes
    ----------
    method
        What the spectrum is from.
    batch
        Probes at a time, of ``products``.
    memory
        Bytes beside the matrix itself; 0 where they are not planned.
    operations
        Floating-point operations, roughly; 0 where they are not planned.
    """

    method: Method
    batch: int = 0
    memory: int = 0
    operations: float = 0.0


def plan(source: MatrixSource, settings: DensitySettings) -> Plan:
    """Choose the method for a symmetric matrix.

    Blocks where the target is another size than the matrix, where blocks are asked for (by the method, or by
    an option that says how they are drawn), or where nothing else is offered. Else all eigenvalues where
    they cost less than products do, and products otherwise.

    Raises
    ------
    UsageError
        RA-US-507: the method cannot answer for another size, or contradicts an option about blocks.
    UnreachableError
        RA-MS-001: the matrix does not offer what the method needs.
    """
    requested = None if settings.method == "auto" else Method(settings.method)
    elsewhere = target_order(source.shape[0], settings) != source.shape[0]
    if requested in (Method.EIGENVALUES, Method.PRODUCTS):
        if elsewhere:
            raise UsageError(
                "RA-US-507",
                f"--method {requested} computes the spectrum of the matrix itself, of order "
                f"{source.shape[0]}.",
                hint="Omit --size and --factor, or use --method blocks.",
            )
        if settings.about_blocks:
            raise UsageError(
                "RA-US-507",
                f"--method {requested} draws no blocks, but {settings.about_blocks} sets how they are drawn.",
                hint=f"Omit {settings.about_blocks}, or use --method blocks.",
            )
    offered = Reach.MATMUL in source.reach or Reach.BLOCK in source.reach
    if requested is Method.BLOCKS or (
        requested is None and (elsewhere or settings.about_blocks or not offered)
    ):
        return Plan(Method.BLOCKS)
    exact, products = _exact(source), _products(source, settings)
    if requested is Method.EIGENVALUES:
        if exact is None:
            raise UnreachableError(
                "RA-MS-001", f"{source.name} does not provide its entries, which eigenvalues need."
            )
        return exact
    if requested is Method.PRODUCTS:
        if products is None:
            raise UnreachableError("RA-MS-001", f"{source.name} does not support products.")
        return products
    cheap = exact is not None and source.shape[0] <= _MOST_EXACT and exact.memory <= free_memory() // 2
    if exact is not None and (
        products is None or (cheap and exact.operations <= _PREFERENCE * products.operations)
    ):
        return exact
    assert products is not None
    return products


def _exact(source: MatrixSource) -> Plan | None:
    if Reach.BLOCK not in source.reach:
        return None
    base, gram = _base(source)
    rows, cols = base.shape
    order = min(rows, cols)
    entries = float(rows) * cols
    products = 2 * entries * order if gram else 0.0
    # a symmetric eigenvalue problem runs at half the rate of a product
    operations = products + 8 / 3 * float(order) ** 3 + _cost(base) * entries
    return Plan(Method.EIGENVALUES, 0, _COPIES * 8 * order**2 + 8 * int(entries), operations)


def _products(source: MatrixSource, settings: DensitySettings) -> Plan | None:
    if Reach.MATMUL not in source.reach:
        return None
    base, gram = _base(source)
    rows, cols = base.shape
    length = rows + cols if gram else rows
    each = int(_BASIS * 8 * settings.steps * length)
    batch = max(1, min(settings.probes, free_memory() // 2 // each))
    passes = -(-settings.probes // batch) * settings.steps * (2 if gram else 1)
    nonzeros = base.known().nonzeros
    entries = float(rows) * cols if nonzeros is None else float(nonzeros)
    arithmetic = 2 * entries * settings.probes * settings.steps * (2 if gram else 1)
    orthogonal = 4.0 * settings.probes * settings.steps**2 * length
    operations = passes * _cost(base) * entries + arithmetic + orthogonal
    return Plan(Method.PRODUCTS, batch, batch * each, operations)


def _base(source: MatrixSource) -> tuple[MatrixSource, bool]:
    """Return the factor of a Gram matrix, or the matrix itself, and which of the two it is."""
    gram = source.known().gram
    return (source, False) if gram is None else (gram.factor, True)


def _cost(base: MatrixSource) -> float:
    """Return the operations that one pass over the entries is worth, for each entry."""
    cost = base.known().entry_flops
    return _READ if cost is None else cost
