"""What the weights of a layer say about learning: the word of a layer, and how it is found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from rmtaudit.analyzers.base import LayerInput, MetricValue, Observation, skipped
from rmtaudit.kernels.constants.recurrences import oscillation
from rmtaudit.kernels.exchangeability import Exchangeability, exchangeability, exchangeability_of_nonzeros
from rmtaudit.kernels.forensics.grids import uniform_grid
from rmtaudit.kernels.forensics.rounding import rounded_to
from rmtaudit.kernels.noise.floor import noise_test, power_of_two
from rmtaudit.kernels.noise.null_tests import NoiseTest
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.kernels.starts.laws import EntryLaw, entry_law
from rmtaudit.kernels.starts.orthogonal import (
    is_block_of_orthogonal,
    is_orthogonal,
    orthogonal_blocks,
    scaled_orthogonal,
)
from rmtaudit.kernels.starts.scales import scale_names
from rmtaudit.kernels.starts.shapes import (
    identity_removed,
    is_identity,
    lines_are_even,
    rescaled_blocks,
    without_zero_lines,
)
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.tensors import FLOATING, UNIT_ROUNDOFF, smallest_normal

REJECTED = 1e-5
"""A p-value below it makes a layer ``structured``. At 1 % or 0.1 %, some of 500 untrained layers would be."""

PLAUSIBLE = 1e-3
"""A p-value above it lets a start have its name: one right start in a thousand loses it."""

SMALLEST_SIDE = 48
"""Smaller side from which a layer that no test rejects is called noise-like, or by the name of a start: below
it, trained layers pass too often."""

_SHUFFLED_SIDE = 64
_SHUFFLED_P = 0.01
_SHUFFLED_DISTANCE = 0.005
"""Distance of the entries to every law of a start from which a layer may count as shuffled: entries that
training has moved a little are nearer."""

_SPARSE = 0.05
_LEAST_NONZEROS = 200
_COARSE = 2.0**-6
_DENSE = frozenset({LayerKind.DENSE, LayerKind.EMBEDDING, LayerKind.RECURRENT, LayerKind.ATTENTION})
_STACKED = (2, 3, 4)
"""Numbers of blocks that are initialised together and stored apart: keys and values, q, k, v or GRU gates,
LSTM gates."""


@dataclass(frozen=True, slots=True)
class SignalFound:
    """The signal of a layer, the p-value of the order of its entries, and what there is to say about it."""

    signal: Signal
    exchangeable: MetricValue | float
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class _Start:
    """A matrix of independent entries, once what was added to them is taken off."""

    form: str
    order: Exchangeability
    law: EntryLaw


PRODUCT = Signal(SignalWord.UNJUDGED, "the update is a product of factors")
"""The signal of a low-rank update: even the core of factors that learned nothing has dependent entries."""

_NOT_TESTED = skipped("the order of the entries is tested only where their signs look random")


def initial_by_value(given: LayerInput) -> SignalFound | None:
    """Return the start of a layer whose very values give it away: orthogonal matrices, identities.

    No trained layer has those values, so size does not matter.
    """
    matrix = given.matrices[0]
    if is_identity(matrix, given.layer.kernel):
        value = float(matrix[matrix != 0][0])
        name = "Dirac" if given.layer.kernel else "identity"
        return _initial(given, name, {"family": name, "gain": value})
    values = given.spectrum.eigenvalues
    rows, cols = without_zero_lines(matrix).shape
    if not is_orthogonal(values, rows, cols, _roundoff(given, values[-min(rows, cols) :])):
        return None
    name = _orthogonal_name(given, matrix)
    return _initial(given, name, {"family": name, "gain": math.sqrt(float(values[-1]))})


def find_signal(given: LayerInput, test: NoiseTest, support: tuple[int, int]) -> SignalFound:
    """Return the signal of a layer whose signs were tested.

    Parameters
    ----------
    given
        The layer: one matrix, and its spectrum.
    test
        The test of random signs.
    support
        Rows and columns that hold anything, longer side first.
    """
    if test.p_value < REJECTED:
        name = _orthogonal_start(given) if test.rectangle.z < 0 else None
        if name is not None:
            return _initial(given, name, {"family": "orthogonal", "z": test.rectangle.z})
        return SignalFound(Signal(SignalWord.STRUCTURED), _NOT_TESTED)
    matrix = given.matrices[0]
    scale = power_of_two(matrix)
    work = matrix if scale == 1.0 else matrix.double() / scale
    order = _order(work, given.layer.kernel)
    if order is None:
        return SignalFound(Signal(SignalWord.UNJUDGED, "all entries have the same magnitude"), _NOT_TESTED)
    small = support[1] < SMALLEST_SIDE
    if small and order.p_value >= REJECTED:
        return SignalFound(Signal(SignalWord.TOO_SMALL, str(support[1])), order.p_value)
    start = _start(given, work, order)
    if start is None:
        return SignalFound(Signal(SignalWord.SCALES), order.p_value, (_scales(order),))
    if small:
        return SignalFound(Signal(SignalWord.TOO_SMALL, str(support[1])), order.p_value)
    if start.law.p_value > PLAUSIBLE and min(test.p_value, start.order.p_value) > PLAUSIBLE:
        return _independent(given, start, scale, order.p_value)
    shuffled = tuple(_shuffled(given, start, test, work))
    return SignalFound(Signal(SignalWord.NOISE_LIKE), order.p_value, shuffled)


def find_sparse(given: LayerInput) -> SignalFound:
    """Return the signal of a matrix so sparse that random signs change nothing."""
    matrix = given.matrices[0]
    count = int((matrix != 0).sum())
    reason = Signal(SignalWord.UNJUDGED, "the layer is so sparse that random signs change nothing")
    if count < _LEAST_NONZEROS:
        return SignalFound(Signal(SignalWord.TOO_SMALL, f"{count} entries are not 0"), _NOT_TESTED)
    start = _sparse(matrix)
    if start is None or min(start.law.p_value, start.order.p_value) < PLAUSIBLE:
        return SignalFound(reason, _NOT_TESTED)
    return _independent(given, start, 1.0, start.order.p_value)


def find_small(side: int) -> SignalFound:
    """Return the signal of a layer whose smaller side is too short for any test."""
    return SignalFound(Signal(SignalWord.TOO_SMALL, str(side)), _NOT_TESTED)


def _order(matrix: torch.Tensor, kernel: tuple[int, ...]) -> Exchangeability | None:
    """Test the order of the entries outside lines of zeros; ``None`` if there is nothing to order."""
    inner = without_zero_lines(matrix)
    whole = inner.shape == matrix.shape
    try:
        return exchangeability(inner, kernel if whole else ())
    except ValueError:
        return None


def _start(given: LayerInput, work: torch.Tensor, order: Exchangeability) -> _Start | None:
    """Return the start of independent entries whose order is plausible, or ``None`` if none is.

    An identity, zeros or scales of blocks that were added to the entries are taken off first, where they
    stand out or where the order is rejected.
    """
    inner = without_zero_lines(work)
    if float((inner == 0).float().mean()) >= _SPARSE:
        return _sparse(inner)
    kernel = given.layer.kernel
    rest = identity_removed(work, kernel)
    if rest is None and kernel:
        rest = identity_removed(work)
    if rest is not None:
        cleared = _order(rest, kernel)
        signs = noise_test(rest, generator=given.generator("noise signs of the rest"))
        if cleared is not None and min(cleared.p_value, signs.p_value) >= REJECTED:
            return _Start("identity plus", cleared, entry_law(rest))
    if order.p_value >= PLAUSIBLE:
        return _Start("", order, entry_law(inner))
    for name, even in rescaled_blocks(inner):
        cleared = _order(even, kernel if even.shape == work.shape else ())
        if cleared is not None and cleared.p_value >= PLAUSIBLE:
            return _Start(f"{name},", cleared, entry_law(even))
    return _Start("", order, entry_law(inner)) if order.p_value >= REJECTED else None


def _sparse(matrix: torch.Tensor) -> _Start | None:
    try:
        order = exchangeability_of_nonzeros(matrix)
    except ValueError:
        return None
    if order.p_value < REJECTED:
        return None
    return _Start("sparse", order, entry_law(matrix[matrix != 0]))


def _orthogonal_start(given: LayerInput) -> str | None:
    """Return the name of an orthogonal start whose lines are more orthogonal than noise, or ``None``."""
    matrix = without_zero_lines(given.matrices[0])
    epsilon = _stored_roundoff(given)
    rows, cols = matrix.shape
    values = given.spectrum.eigenvalues[-min(rows, cols) :]
    for name, lines in (("rows", matrix), ("columns", matrix.T)):
        for count_blocks in (orthogonal_blocks, scaled_orthogonal):
            blocks = count_blocks(lines, epsilon)
            if blocks is not None:
                return f"orthogonal, {blocks} blocks of {name}"
    sizes = [count * side for count in _STACKED for side in (rows, cols)]
    block = any(is_block_of_orthogonal(values, rows, cols, size) for size in sizes)
    if block and lines_are_even(matrix) and _looks_normal(matrix):
        return "orthogonal, one block of several"
    return None


def _looks_normal(matrix: torch.Tensor) -> bool:
    law = entry_law(matrix)
    return law.family == "normal" and law.p_value > PLAUSIBLE


def _orthogonal_name(given: LayerInput, matrix: torch.Tensor) -> str:
    sizes = without_zero_lines(matrix).abs()
    low, high = (float(bound) for bound in torch.aminmax(sizes))
    if high - low <= 4 * _stored_roundoff(given) * high:
        return "Hadamard"
    if oscillation(without_zero_lines(matrix).cpu(), _stored_roundoff(given)) is not None:
        return "DCT"
    return "orthogonal"


def _roundoff(given: LayerInput, values: torch.Tensor) -> float:
    """Return the round-off of the entries; that of a narrower format inside a wider one where it matters."""
    near = float(values[0]) > 0.5 * float(values[-1]) > 0
    return _stored_roundoff(given) if near else given.epsilon


def _stored_roundoff(given: LayerInput) -> float:
    stored = given.layer.dtype if given.layer.dtype in FLOATING else "float64"
    return UNIT_ROUNDOFF[rounded_to(given.matrices[0], stored) or stored]


def _initial(given: LayerInput, name: str, evidence: dict[str, Any]) -> SignalFound:
    observation = Observation(
        code="RA-FO-011",
        message=f"The layer looks freshly initialised: {name}.",
        evidence=evidence,
    )
    observations = () if given.layer.kind is LayerKind.ADAPTER else (observation,)
    return SignalFound(Signal(SignalWord.INITIAL, name), _NOT_TESTED, observations)


def _independent(given: LayerInput, start: _Start, scale: float, p_value: float) -> SignalFound:
    law = start.law
    std = law.std * scale
    rows, cols = given.layer.shape
    names: tuple[str, ...] = ()
    if not start.form and not law.mean:
        names = scale_names(law.family, std, rows, cols, dense=given.layer.kind in _DENSE)
    name = f"{start.form} {law.family}".strip()
    offset = f", mean {law.mean * scale:.4g}" if law.mean else ""
    known = f", the scale of {' or '.join(names)}" if names else ""
    observation = Observation(
        code="RA-FO-011",
        message=f"The layer looks freshly initialised: {name} entries in random order, "
        f"standard deviation {std:.4g}{offset}{known}.",
        evidence={
            "family": law.family,
            "order_p": start.order.p_value,
            "entries_p": law.p_value,
            "kurtosis": law.kurtosis,
            "std": std,
            "mean": law.mean * scale,
            "initialisations": list(names),
        },
    )
    return SignalFound(Signal(SignalWord.INITIAL, name), p_value, (observation,))


def _shuffled(given: LayerInput, start: _Start, test: NoiseTest, work: torch.Tensor) -> Iterator[Observation]:
    """Yield RA-FO-012 if the entries are in random order, but no start draws such entries."""
    law = start.law
    side = min(given.layer.shape)
    doubtful = min(test.p_value, start.order.p_value) < _SHUFFLED_P or start.form
    near_a_start = law.p_value > PLAUSIBLE or law.distance < _SHUFFLED_DISTANCE
    if side < _SHUFFLED_SIDE or doubtful or near_a_start or given.epsilon > _COARSE:
        return
    stored = given.layer.dtype if given.layer.dtype in FLOATING else "float64"
    if (
        uniform_grid(work, epsilon=_stored_roundoff(given), smallest_normal=smallest_normal(stored))
        is not None
    ):
        return  # a grid makes any distribution another one
    yield Observation(
        code="RA-FO-012",
        message=(
            "The layer looks shuffled: its entries are in random order, but no known "
            f"initialisation has such a distribution (kurtosis {law.kurtosis:.3g}, distance "
            f"{law.distance:.3g} to the nearest, {law.family})."
        ),
        evidence={
            "order_p": start.order.p_value,
            "signs_p": test.p_value,
            "entries_p": law.p_value,
            "distance": law.distance,
            "nearest": law.family,
            "kurtosis": law.kurtosis,
            "std": law.std,
        },
    )


def _scales(order: Exchangeability) -> Observation:
    return Observation(
        code="RA-NF-005",
        message=(
            f"The signs of the entries look random, but the {order.strongest} are not those "
            "of entries in random order: the layer learned scales."
        ),
        evidence={"test": order.strongest, "order_p": order.p_value},
    )
