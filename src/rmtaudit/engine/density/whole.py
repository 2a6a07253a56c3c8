"""The spectrum of a matrix that can be multiplied or read: measured on all of it, without freeness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.engine.density.method import Method, Plan
from rmtaudit.engine.density.settings import DensitySettings
from rmtaudit.errors import InputError
from rmtaudit.matrices.sources import MatrixSource
from rmtaudit.matrices.sources.arrays import check_finite

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.operators import Operator, Product
    from rmtaudit.kernels.slq.distribution import Atom, Distribution
    from rmtaudit.kernels.slq.functionals import Bounded

_ROUNDING = 1e-12
"""A convention, as for blocks."""
_LEAST = 2.0**-1022
"""The smallest normal number of float64."""
_ORDINARY = 200
"""Powers of two: numbers beyond are scaled, so that their squares and fourth powers are in range."""
_SCALED = frozenset({"mean", "standard_deviation", "lower_edge", "upper_edge"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeSpectrum:
    """A spectrum, in units of ``2 ** exponent``.

    Attributes
    ----------
    plan
        The method that ran.
    order
        Of the matrix.
    exponent
        Eigenvalues are those held here times two to this power.
    semidefinite
        Whether the matrix is known to be positive semidefinite.
    eigenvalues
        Shape ``(order,)``, ascending, where they were computed.
    distribution
        Where products were taken.
    """

    plan: Plan
    order: int
    exponent: int
    semidefinite: bool
    eigenvalues: torch.Tensor | None = None
    distribution: Distribution | None = None

    def numbers(self) -> dict[str, Bounded]:
        """Return the numbers of the spectrum with their bounds of 90 %."""
        from rmtaudit.kernels.slq.functionals import of_eigenvalues, of_products

        if self.distribution is not None:
            computed = of_products(self.distribution, semidefinite=self.semidefinite)
        else:
            computed = of_eigenvalues(self._values)
        return {name: self._scaled(name, number) for name, number in computed.items()}

    def band(self, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the quantiles at ``levels``, and bounds of 90 % of each."""
        if self.distribution is not None:
            value = self.distribution.quantiles(levels)
            low, high = self.distribution.quantile_band(levels)
            return self._back(value), self._back(low), self._back(high)
        places = ((levels * self.order).ceil().long() - 1).clamp(0, self.order - 1)
        quantiles = self._back(self._values[places])
        return quantiles, quantiles, quantiles

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` eigenvalues, ascending: all of them, or the quantiles of the distribution."""
        import torch

        levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        if self.distribution is not None:
            return self._back(self.distribution.quantiles(levels))
        return self._back(self._values[(levels * self.order).long()])

    def share(self, points: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return places, the share of eigenvalues at or below each, and its bounds of 90 %."""
        import torch

        if self.distribution is not None:
            low, high = self.distribution.band()
            return self._back(self.distribution.points), self.distribution.cdf(), low, high
        places = torch.linspace(0, self.order - 1, min(points, self.order), dtype=torch.float64).long()
        values = self._values[places]
        shares = torch.searchsorted(self._values, values, right=True).double() / self.order
        return self._back(values), shares, shares, shares

    def atoms(self) -> tuple[Atom, ...]:
        """Return places that hold more than half a per cent of the eigenvalues and more than one."""
        from dataclasses import replace

        import torch

        from rmtaudit.kernels.slq.distribution import Atom

        if self.distribution is not None:
            return tuple(
                replace(one, place=self.number(one.place), width=self.number(one.width))
                for one in self.distribution.atoms()
            )
        places, counts = torch.unique_consecutive(self._values, return_counts=True)
        many = (counts > 1) & (counts > 0.005 * self.order)
        shares = (counts[many].double() / self.order).tolist()
        pairs = zip(places[many].tolist(), shares, strict=True)
        return tuple(Atom(self.number(place), 0.0, share, share) for place, share in pairs)

    def ridge(self, ridge: float) -> tuple[Bounded, Bounded]:
        """Return mean log-determinant and effective dimension of ``A + r I``, or why there are none."""
        from rmtaudit.kernels.slq.functionals import Bounded, effective_dimension, shifted_log_determinant

        if not -1000 < math.frexp(ridge)[1] - self.exponent < 1000:
            none = Bounded(None, reason="the ridge and the matrix are too far apart for the range of float64")
            return none, none
        shift = math.ldexp(ridge, -self.exponent)
        if self.distribution is None:
            moved = self._values + shift
            if not float(moved[0]) > 0:
                return self._not_positive(), self._not_positive()
            log = float(moved.log().mean()) + self.exponent * math.log(2)
            part = float((self._values / moved).mean())
            return Bounded(log, log, log), Bounded(part, part, part)
        smallest = self.distribution.edges()[0][0]
        if self.semidefinite:
            smallest = max(smallest, 0.0)
        if not smallest + shift > 0:
            return self._not_positive(), self._not_positive()
        log_det = shifted_log_determinant(self.distribution, shift, smallest)
        return self._scaled("log_det", log_det), effective_dimension(self.distribution, shift, smallest)

    @property
    def _values(self) -> torch.Tensor:
        assert self.eigenvalues is not None
        return self.eigenvalues

    def _not_positive(self) -> Bounded:
        from rmtaudit.kernels.slq.functionals import Bounded

        return Bounded(None, reason=("whether the ridge makes the matrix positive definite is unknown"))

    def number(self, value: float) -> float:
        """Return a number of the units held here in those of the matrix; infinite beyond float64."""
        try:
            return math.ldexp(value, self.exponent)
        except OverflowError:
            return math.copysign(math.inf, value)

    def _back(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        half = self.exponent // 2  # in two steps: the power itself may be out of range
        first = values * math.ldexp(1.0, half)
        scaled: torch.Tensor = first * math.ldexp(1.0, self.exponent - half)
        return torch.where(values == 0, values, scaled)

    def _scaled(self, name: str, number: Bounded) -> Bounded:
        if name in _SCALED:
            return number.mapped(self.number)
        if name == "log_det":
            return number.mapped(lambda value: value + self.exponent * math.log(2))
        return number


def measure(source: MatrixSource, plan: Plan, settings: DensitySettings, *, lower: bool) -> WholeSpectrum:
    """Find the spectrum of a symmetric matrix by all its eigenvalues or by products.

    Parameters
    ----------
    source
        The matrix.
    plan
        The method, ``eigenvalues`` or ``products``.
    settings
        Steps, probes and seed.
    lower
        Whether the lower triangle was declared to be the truth.

    Raises
    ------
    UsageError
        RA-US-201, RA-US-203: there is no CUDA device, or it is too small.
    InputError
        RA-DE-003: entries or products show that it is not symmetric. RA-DE-006: its numbers leave the range
        of float64. RA-MS-005: entries are not finite.
    """
    from rmtaudit.engine.resources.devices import chosen_device

    device = chosen_device(settings.device)
    if plan.method is Method.EIGENVALUES:
        return _exactly(source, plan, lower=lower, device=device)
    return _by_products(source, plan, settings, device)


def _exactly(source: MatrixSource, plan: Plan, *, lower: bool, device: torch.device) -> WholeSpectrum:
    import torch

    from rmtaudit.kernels.slq.functionals import snapped

    gram = source.known().gram
    if gram is not None:
        matrix = _entries(gram.factor)
    else:
        matrix = _entries(source)
        if lower:
            matrix = matrix.tril() + matrix.tril(-1).T
        _refuse_asymmetry(source, matrix)
    check_finite(source.name, matrix)
    largest = float(matrix.abs().max())
    exponent = _power(largest)
    if exponent:
        half = -(exponent // 2)
        matrix = matrix * math.ldexp(1.0, half) * math.ldexp(1.0, -exponent - half)
    if gram is not None:
        from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues

        nonzero = gram_eigenvalues(matrix.to(device)).eigenvalues.cpu()
        zeros = torch.zeros(source.shape[0] - len(nonzero), dtype=torch.float64)
        values, exponent = torch.cat([zeros, nonzero]), 2 * exponent
    else:
        values = torch.linalg.eigvalsh(((matrix + matrix.T) / 2).to(device)).cpu()
    values = snapped(values)
    if source.semidefinite:
        values = values.clamp(min=0)
    spectrum = WholeSpectrum(
        plan=plan,
        order=source.shape[0],
        exponent=exponent,
        semidefinite=source.semidefinite,
        eigenvalues=values,
    )
    return _in_range(source, spectrum, float(values.abs().max()))


def _entries(source: MatrixSource) -> torch.Tensor:
    return source.block(range(source.shape[0]), range(source.shape[1]))


def _refuse_asymmetry(source: MatrixSource, matrix: torch.Tensor) -> None:
    difference = float((matrix - matrix.T).abs().max())
    if not difference <= _ROUNDING * float(matrix.abs().max()):
        raise _not_symmetric(source, f"entries differ from their mirror images by up to {difference:.3g}")


def _not_symmetric(source: MatrixSource, why: str) -> InputError:
    return InputError(
        "RA-DE-003",
        f"The matrix is not symmetric: {why}.",
        hint="Use --as wwt or --as wtw for its Gram matrix.",
        where=source.name,
    )


def _in_range(source: MatrixSource, spectrum: WholeSpectrum, largest: float) -> WholeSpectrum:
    """Return the spectrum; refuse it where its largest eigenvalue, in its own unit, is out of range."""
    number = abs(spectrum.number(largest))
    if not math.isfinite(number) or (largest != 0 and number < _LEAST):
        raise _out_of_range(source)
    return spectrum


def _out_of_range(source: MatrixSource) -> InputError:
    return InputError(
        "RA-DE-006",
        "The eigenvalues exceed the range of float64.",
        hint="Divide the matrix by its largest entry.",
        where=source.name,
    )


def _by_products(
    source: MatrixSource, plan: Plan, settings: DensitySettings, device: torch.device
) -> WholeSpectrum:
    from rmtaudit.kernels.lanczos import AsymmetryError
    from rmtaudit.kernels.slq.distribution import distribution

    operator, exponent = _operator(source, settings, device)
    try:
        measured = distribution(
            operator, settings.seed, steps=settings.steps, probes=settings.probes, batch=plan.batch
        )
    except AsymmetryError as error:
        why = f"xᵀAy and yᵀAx differ by {error.skew:.3g} for unit vectors with |Ax| = {error.size:.3g}"
        raise _not_symmetric(source, why) from error
    except ArithmeticError as error:
        raise _out_of_range(source) from error
    spectrum = WholeSpectrum(
        plan=plan,
        order=source.shape[0],
        exponent=exponent,
        semidefinite=source.semidefinite,
        distribution=measured,
    )
    return _in_range(source, spectrum, float(measured.rule.nodes.abs().max()))


def _operator(source: MatrixSource, settings: DensitySettings, device: torch.device) -> tuple[Operator, int]:
    """Return the matrix by products with its scale taken out, and the power of two of its eigenvalues."""
    from rmtaudit.engine.resources.memory import free_memory
    from rmtaudit.engine.sources.products import products_on
    from rmtaudit.kernels.operators import Gram as GramOperator
    from rmtaudit.kernels.operators import Symmetric
    from rmtaudit.kernels.slq.samplers import Sampler

    gram = source.known().gram
    base = source if gram is None else gram.factor
    probe = Sampler(settings.seed, "sphere").unit(range(1), base.shape[1]).T
    products = products_on(base, device, free_memory() // 2)
    product = products.matmul(probe.to(products.device))
    if not bool(product.isfinite().all()):
        raise _out_of_range(source)
    exponent = _power(float(product.abs().max()))
    inner = -(exponent // 2)
    outer = -exponent - inner

    def scaled(product: Product) -> Product:
        if not exponent:
            return product
        return lambda X: product(X * math.ldexp(1.0, inner)) * math.ldexp(1.0, outer)

    if gram is None:
        symmetric = Symmetric(size=source.shape[0], matmul=scaled(products.matmul), device=products.device)
        return symmetric, exponent
    rows, cols = base.shape
    operator = GramOperator(
        rows=rows,
        cols=cols,
        matmul=scaled(products.matmul),
        transposed=scaled(products.transposed),
        side="cols" if gram.of == "columns" else "rows",
        device=products.device,
    )
    return operator, 2 * exponent


def _power(largest: float) -> int:
    """Return the power of two to divide by; 0 for numbers of ordinary size."""
    exponent = math.frexp(largest)[1] if largest > 0 else 0
    return exponent if abs(exponent) > _ORDINARY else 0
