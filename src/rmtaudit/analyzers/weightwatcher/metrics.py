"""The metrics of the analyzer ``weightwatcher``: the columns of ``WeightWatcher.analyze``, group by group."""

from __future__ import annotations

from rmtaudit.analyzers.base import Better, Metric

_PEER = "WeightWatcher 0.7.7"
_SQUARE, _LOG = "w²", "log10 w²"


def _metric(
    name: str,
    unit: str,
    description: str,
    *,
    better: Better | None = None,
    source: str = "",
    summarised: bool = False,
) -> Metric:
    reference = f"{_PEER}, column {source or name}"
    return Metric(
        name=name,
        unit=unit,
        better=better,
        description=description,
        reference=reference,
        summarised=summarised,
    )


SHAPE = (
    _metric("layer_type", "", "dense, embedding or conv2d."),
    _metric("N", "count", "Longer side of each matrix."),
    _metric("M", "count", "Shorter side of each matrix."),
    _metric("Q", "", "N/M."),
    _metric("rf", "count", "Kernel positions of a convolution; 1 for a matrix."),
    _metric("num_evals", "count", "Number of eigenvalues."),
)

TAIL = (
    _metric("alpha", "", "Exponent of the power-law tail.", summarised=True),
    _metric("D", "", "Distance of the tail from the power law.", better="lower"),
    _metric("sigma", "", "Standard error of alpha for a known xmin."),
    _metric("xmin", _SQUARE, "Where the tail starts."),
    _metric("xmax", _SQUARE, "Largest eigenvalue in the fit."),
    _metric("num_pl_spikes", "count", "Number of eigenvalues from xmin on."),
    _metric("warning", "", "over-trained (alpha < 2), under-trained (alpha > 6), or empty."),
)

_STATUS = (_metric("fit_status", "", "success or failed.", source="status"),)

NORMS = (
    _metric("norm", _SQUARE, "Sum of the eigenvalues: the squared Frobenius norm."),
    _metric("log_norm", _LOG, "Its logarithm.", summarised=True),
    _metric("spectral_norm", _SQUARE, "Largest eigenvalue."),
    _metric("lambda_max", _SQUARE, "Largest eigenvalue."),
    _metric("log_spectral_norm", _LOG, "Its logarithm.", summarised=True),
    _metric("stable_rank", "", "norm / spectral_norm.", summarised=True),
    _metric("alpha_weighted", _LOG, "alpha times log_spectral_norm.", summarised=True),
    _metric("log_alpha_norm", "log10", "Logarithm of the sum of λ^alpha.", better="lower", summarised=True),
    _metric("matrix_rank", "count", "Number of singular values above max · N · 2⁻⁵²."),
    _metric("entropy", "", "Entropy of the eigenvalues over the logarithm of the rank."),
    _metric("sv_max", "w", "Largest singular value."),
    _metric("sv_min", "w", "Smallest singular value; of several matrices, the largest of their smallest."),
    _metric(
        "rank_loss", "count", "Number of singular values that matrix_rank does not count, matrix by matrix."
    ),
    _metric("weak_rank_loss", "count", "Eigenvalues below 1e-6."),
)

FINGERS = (
    _metric("num_fingers", "count", "Number of clipped eigenvalues minus one."),
    _metric("raw_alpha", "", "alpha before clipping."),
)

CUT_OFF = (_metric("Lambda", "1/w²", "Rate of the exponential cut-off of the power law."),)

MP_FIT = (
    _metric("sigma_mp", "", "Fitted scale of the Marchenko-Pastur law, for mean eigenvalue 1."),
    _metric("W_scale", "1/w", "Factor on the weights that makes the mean eigenvalue 1."),
    _metric("bulk_max", _SQUARE, "Upper edge of the fitted law."),
    _metric("bulk_min", _SQUARE, "Lower edge of the fitted law."),
    _metric("mp_softrank", "", "bulk_max / lambda_max.", summarised=True),
    _metric("num_spikes", "count", "Number of eigenvalues beyond bulk_max and a margin."),
)

RANDOM_DISTANCES = (
    _metric("rand_distance", "", "Distance between the sorted spectra of the matrix and of its shuffle."),
    _metric("ww_softrank", "", "Largest eigenvalue of the shuffled matrix divided by lambda_max."),
    _metric("ww_maxdist", _SQUARE, "lambda_max minus the largest eigenvalue of the shuffled matrix."),
)
RANDOM_MP_FIT = (
    _metric("rand_num_spikes", "count", "num_spikes of the shuffled matrix."),
    _metric("num_traps", "count", "The same number, under the name of correlation traps."),
    _metric("rand_sigma_mp", "", "sigma_mp of the shuffled matrix."),
    _metric("rand_mp_softrank", "", "mp_softrank of the shuffled matrix."),
    _metric("rand_W_scale", "1/w", "W_scale of the shuffled matrix."),
    _metric("rand_bulk_max", _SQUARE, "bulk_max of the shuffled matrix."),
    _metric("rand_bulk_min", _SQUARE, "bulk_min of the shuffled matrix."),
)
RANDOM = (
    _metric("max_rand_eval", _SQUARE, "Largest eigenvalue of the matrix with its entries shuffled."),
    *RANDOM_DISTANCES,
    *RANDOM_MP_FIT,
)

DETX = (
    _metric(
        "detX_num",
        "count",
        "Number of the largest eigenvalues, rescaled to mean 1, until their product is below 1.",
    ),
    _metric("detX_val", _SQUARE, "The smallest of them."),
    _metric("detX_val_unrescaled", "", "The same, rescaled (WeightWatcher swaps the two names)."),
    _metric("num_ERG_spikes", "count", "detX_num."),
    _metric("ERG_gap", "count", "detX_num - num_pl_spikes."),
)

VECTORS = tuple(
    _metric(f"{side}_{moment}_{short}", "", f"{word} of the {what} of the eigenvectors {where}.")
    for side, where in (("bulk", "below xmin"), ("tail", "from xmin on"))
    for moment, word in (("mean", "Mean"), ("var", "Variance"))
    for short, what in (
        ("vec_entropy", "discrete entropy"),
        ("loc_ratio", "localisation ratio ‖v‖₁/‖v‖_∞"),
        ("part_ratio", "participation ratio ‖v‖₂/‖v‖₄"),
    )
)

DEFAULT = (*SHAPE, *TAIL, *_STATUS, *NORMS)
ALL = (*DEFAULT, *FINGERS, *CUT_OFF, *MP_FIT, *RANDOM, *DETX, *VECTORS)
