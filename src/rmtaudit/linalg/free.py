"""Free probability: the spectrum of a large matrix from that of a principal block, transforms, known laws.

See ``docs/free.md``, in particular for when not to believe a decompression.

>>> from rmtaudit.linalg import free
>>> block = free.semicircle(mean=0.0, radius=2.0)
>>> block.decompress(4.0).edges  # of the matrix, four times as large
(-4.0, 4.0)
"""

from rmtaudit.kernels.free.convolution import free_sum, product_transform, sum_transform
from rmtaudit.kernels.free.cumulants import evolved_cumulants, free_cumulants, moments_of
from rmtaudit.kernels.free.decompression import Decompression, decompress_spectrum
from rmtaudit.kernels.free.determination import Determination, Outcome, determine
from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.laws import (
    QuadraticLaw,
    compound_free_poisson,
    decompress,
    free_levy,
    kesten_mckay,
    marchenko_pastur,
    meixner,
    semicircle,
    wachter,
)
from rmtaudit.kernels.free.ridge import RidgeValue, ridge_log_det
from rmtaudit.kernels.free.transforms import r_transform, stieltjes

__all__ = [
    "Decompression",
    "Determination",
    "EvolvedLaw",
    "Outcome",
    "QuadraticLaw",
    "RidgeValue",
    "compound_free_poisson",
    "decompress",
    "decompress_spectrum",
    "determine",
    "evolve",
    "evolved_cumulants",
    "free_cumulants",
    "free_levy",
    "free_sum",
    "kesten_mckay",
    "marchenko_pastur",
    "meixner",
    "moments_of",
    "product_transform",
    "r_transform",
    "ridge_log_det",
    "semicircle",
    "stieltjes",
    "sum_transform",
    "wachter",
]
