"""The numbers of one layer, from its spectrum and matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import LayerInput, Metric, MetricValue, Scalar, failed, skipped
from rmtaudit.analyzers.weightwatcher import metrics as catalogue
from rmtaudit.analyzers.weightwatcher.options import Options
from rmtaudit.analyzers.weightwatcher.sides import Sides
from rmtaudit.matrices.layers import LayerKind

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.noise.mp_fit import MarchenkoPasturFit
    from rmtaudit.kernels.spectra.spectrum import Spectrum
    from rmtaudit.kernels.ww.tail import TailFit

Values = dict[str, MetricValue | Scalar]

_OVER_TRAINED, _UNDER_TRAINED = 2.0, 6.0  # of alpha
_FEW = 100  # with fewer eigenvalues than this, _REPLICAS shuffles are pooled
_REPLICAS = 5


class Audit:
    """One layer, worked through in the peer's order; ``found`` fills up with the metrics."""

    def __init__(
        self, given: LayerInput, sides: Sides, options: Options, metrics: tuple[Metric, ...]
    ) -> None:
        self.given = given
        self.metrics = metrics
        self.sides = sides
        self.options = options
        self.factor = sides.factor if options.conv2d_norm else 1.0
        self.parts: tuple[Spectrum, ...] = given.spectrum.parts or (given.spectrum,)
        self.results: Values = {}

    def values(self) -> Values:
        """Return the active metrics of the layer."""
        from rmtaudit.kernels.ww.scale import combined_eigenvalues

        sides, options = self.sides, self.options
        self.results |= {"N": sides.N, "M": sides.M, "Q": sides.N / sides.M, "rf": sides.rf}
        self.results["layer_type"] = sides.layer_type
        try:
            eigenvalues = combined_eigenvalues(self.parts, self.factor, inverse=options.inverse)
        except ArithmeticError as error:
            self._enter(self.metrics, failed(self._hidden() or str(error)), keep=True)
            return self.results
        self._singular_values(eigenvalues)
        tail = self._tail(eigenvalues)
        self._norms(eigenvalues, tail)
        if options.mp_fit:
            self._marchenko_pastur(catalogue.MP_FIT, eigenvalues)
        if options.vectors:
            self._vectors(tail)
        if options.randomize:
            self._random(eigenvalues)
        if options.detX:
            self._determinant(eigenvalues, tail)
        return {metric.name: self.results[metric.name] for metric in self.metrics}

    def _enter(self, metrics: tuple[Metric, ...], value: MetricValue, *, keep: bool = False) -> None:
        """Enter one value for all of ``metrics``; ``keep`` those that have one."""
        same: Values = {metric.name: value for metric in metrics}
        self.results = same | self.results if keep else self.results | same

    def _singular_values(self, eigenvalues: torch.Tensor) -> None:
        from rmtaudit.kernels.ww import scale

        spectrum = self.given.spectrum
        largest, smallest = scale.singular_range(self.parts, self.factor)
        self.results |= {"num_evals": len(eigenvalues), "sv_max": largest, "sv_min": smallest}
        self.results["weak_rank_loss"] = scale.weak_rank_loss(eigenvalues)
        self.results["rank_loss"] = scale.rank_loss(self.parts, self.sides.N)
        hidden = self._hidden()
        if hidden:
            self.results |= {"sv_min": failed(hidden), "rank_loss": failed(hidden)}
            if spectrum.floor * self.factor >= scale.WEAK:
                self.results["weak_rank_loss"] = failed(hidden)
        elif smallest == 0:
            self.results["sv_min"] = MetricValue(value=0.0, ci=(0.0, math.sqrt(spectrum.floor * self.factor)))

    def _hidden(self) -> str:
        """Return why numbers that depend on the smallest eigenvalues cannot be computed, or nothing.

        Singular values below the resolution of an SVD are zero to the peer, too: they hide nothing.
        """
        from rmtaudit.kernels.spectra.eigenvalues import EPSILON

        spectrum = self.given.spectrum
        of_svd = (max(self.sides.N, 16) * EPSILON) ** 2 * float(spectrum.eigenvalues[-1])
        if not spectrum.unresolved or spectrum.floor <= of_svd:
            return ""
        return (
            f"{spectrum.unresolved} eigenvalues are below the resolution {spectrum.floor:.3g}; "
            "solver 'auto' or 'svd' resolves them"
        )

    def _tail(self, eigenvalues: torch.Tensor) -> TailFit | None:
        try:
            fit = self._fit(eigenvalues)
        except ArithmeticError as error:
            self._enter((*catalogue.TAIL, *catalogue.FINGERS, *catalogue.CUT_OFF), failed(str(error)))
            self.results["fit_status"] = "failed"
            return None
        self.results |= {"alpha": fit.alpha, "D": fit.D, "xmin": fit.xmin, "Lambda": fit.Lambda}
        self.results["sigma"] = (
            skipped("a law with a cut-off has no sigma") if fit.sigma is None else fit.sigma
        )
        self.results["xmax"] = skipped("powerlaw fits without an upper end") if fit.xmax is None else fit.xmax
        self.results["num_pl_spikes"] = fit.num_pl_spikes
        self.results |= {"num_fingers": fit.num_fingers, "raw_alpha": fit.raw_alpha}
        verdict = "over-trained" if fit.alpha < _OVER_TRAINED else ""
        self.results |= {"warning": "under-trained" if fit.alpha > _UNDER_TRAINED else verdict}
        self.results["fit_status"] = "success"
        return fit

    def _fit(self, eigenvalues: torch.Tensor) -> TailFit:
        from rmtaudit.kernels.ww.tail import SMALLEST, TailOptions, fit_tail

        hidden = self._hidden()
        if hidden and self.given.spectrum.floor * self.factor > SMALLEST:
            raise ArithmeticError(hidden)
        options = self.options
        return fit_tail(
            eigenvalues,
            TailOptions(
                package=options.pl_package,
                xmax=options.xmax,
                fix_fingers=options.fix_fingers,
                finger_thresh=options.finger_thresh,
                max_fingers=options.max_fingers,
                fit=options.fit,
            ),
        )

    def _norms(self, eigenvalues: torch.Tensor, tail: TailFit | None) -> None:
        from rmtaudit.kernels.ww import scale

        norm, largest = float(eigenvalues.sum()), float(eigenvalues[-1])
        self.results |= {"norm": norm, "spectral_norm": largest, "lambda_max": largest}
        if largest <= 0:
            names = ("log_norm", "log_spectral_norm", "stable_rank", "entropy", "log_alpha_norm")
            zero = failed("every eigenvalue is 0")
            self.results |= dict.fromkeys((*names, "alpha_weighted"), zero) | {"matrix_rank": 0}
            return
        self.results |= {"log_norm": math.log10(norm), "log_spectral_norm": math.log10(largest)}
        self.results |= {"stable_rank": norm / largest}
        if tail is None:
            none = failed("there is no alpha")
            self.results |= {"alpha_weighted": none, "log_alpha_norm": none}
        else:
            self.results["alpha_weighted"] = tail.alpha * math.log10(largest)
            self.results["log_alpha_norm"] = scale.log_alpha_norm(eigenvalues, tail.alpha)
        if hidden := self._hidden():
            self.results |= {"matrix_rank": failed(hidden), "entropy": failed(hidden)}
            return
        self.results["matrix_rank"] = scale.matrix_rank(eigenvalues, self.sides.N)
        self.results["entropy"] = scale.matrix_entropy(eigenvalues, self.sides.N)

    def _marchenko_pastur(self, metrics: tuple[Metric, ...], eigenvalues: torch.Tensor) -> None:
        """Fit ``eigenvalues`` and enter the fit under ``metrics``: those of the matrix or of its shuffle."""
        from rmtaudit.kernels.noise.mp_fit import fit_marchenko_pastur

        try:
            fit = fit_marchenko_pastur(eigenvalues, self.sides.N, self.sides.M)
        except ArithmeticError as error:
            self._enter(metrics, failed(str(error)))
            return
        self.results |= {metric.name: _OF_FIT[metric.name.removeprefix("rand_")](fit) for metric in metrics}

    def _vectors(self, tail: TailFit | None) -> None:
        from rmtaudit.kernels.ww.vectors import localisation

        if self._is_core(catalogue.VECTORS):
            return
        if tail is None:
            self._enter(catalogue.VECTORS, failed("there is no xmin that separates bulk and tail"))
            return
        self._enter(catalogue.VECTORS, failed("no eigenvalue is on this side of xmin"))
        self.results |= localisation(self.given.matrices, tail.num_pl_spikes)

    def _is_core(self, metrics: tuple[Metric, ...]) -> bool:
        """Skip ``metrics``, which need the entries of a matrix, for an adapter: only its core is here."""
        is_core = self.given.layer.kind is LayerKind.ADAPTER
        if is_core:
            self._enter(metrics, skipped("the product of an adapter's factors is not formed"))
        return is_core

    def _random(self, eigenvalues: torch.Tensor) -> None:
        import torch

        from rmtaudit.kernels.ww.shuffled import jensen_shannon_distance, shuffled_eigenvalues

        if self._is_core(catalogue.RANDOM):
            return
        generator = self.given.generator("weightwatcher.randomize")
        replicas = []
        for _ in range(_REPLICAS if self.sides.components < _FEW else 1):
            shuffled = shuffled_eigenvalues(self.given.matrices, self.factor, generator)
            if self.options.inverse:
                shuffled = shuffled.reciprocal().flip(0)
            replicas.append(shuffled)
        pooled = torch.cat(replicas)
        if not bool(pooled.isfinite().all()):
            self._enter(catalogue.RANDOM, failed("an eigenvalue of the shuffled matrix is 0"))
            return
        largest = float(eigenvalues[-1])
        self.results["max_rand_eval"] = float(pooled.max())
        if largest <= 0:
            self._enter(catalogue.RANDOM_DISTANCES, failed("every eigenvalue is 0"))
        else:
            self.results["rand_distance"] = jensen_shannon_distance(eigenvalues, replicas[0])
            self.results["ww_softrank"] = float(replicas[0][-1]) / largest
            self.results["ww_maxdist"] = largest - float(replicas[0][-1])
        self._marchenko_pastur(catalogue.RANDOM_MP_FIT, pooled)

    def _determinant(self, eigenvalues: torch.Tensor, tail: TailFit | None) -> None:
        from rmtaudit.kernels.ww.determinant import determinant_tail

        try:
            det = determinant_tail(eigenvalues)
        except ArithmeticError as error:
            self._enter(catalogue.DETX, failed(str(error)))
            return
        self.results |= {"detX_num": det.size, "num_ERG_spikes": det.size, "detX_val": det.threshold}
        self.results |= {"detX_val_unrescaled": det.rescaled}
        gap = failed("there is no power-law tail to compare with")
        self.results["ERG_gap"] = gap if tail is None else det.size - tail.num_pl_spikes


_OF_FIT: Mapping[str, Callable[[MarchenkoPasturFit], Scalar]] = {
    "sigma_mp": lambda fit: fit.sigma,
    "W_scale": lambda fit: fit.scale,
    "bulk_max": lambda fit: fit.lambda_plus,
    "bulk_min": lambda fit: fit.lambda_minus,
    "mp_softrank": lambda fit: fit.soft_rank,
    "num_spikes": lambda fit: fit.spikes,
    "num_traps": lambda fit: fit.spikes,
}
