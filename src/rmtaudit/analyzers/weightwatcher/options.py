"""The options of the analyzer ``weightwatcher``: the arguments of ``WeightWatcher.analyze``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of ``WeightWatcher.analyze``, under its names and with its defaults.

    ``pool`` is not among them: how a convolution becomes matrices is the scan's ``conv``.

    Attributes
    ----------
    mp_fit, randomize, detX, vectors
        Which groups of further metrics to compute.
    inverse
        Use the reciprocals of the eigenvalues.
    conv2d_norm
        Multiply the eigenvalues of 2-D convolutions by 1/2 (pooled), or half the kernel size (a slice a row).
    fix_fingers, finger_thresh, max_fingers, xmax, pl_package, fit
        As in :class:`rmtaudit.kernels.ww.tail.TailOptions`.
    min_evals, max_evals, max_N
        Layers with fewer or more eigenvalues, or a longer side above ``max_N``, are skipped;
        ``max_evals = 0`` sets no bound.
    """

    mp_fit: bool = False
    randomize: bool = False
    detX: bool = False  # noqa: N815  the peer's name
    vectors: bool = False
    inverse: bool = False
    conv2d_norm: bool = True
    fix_fingers: Literal["clip_xmax", "xmin_peak"] | None = None
    finger_thresh: float = 1.0
    max_fingers: int = 10
    xmax: int | Literal["force"] | None = None
    pl_package: Literal["ww", "powerlaw"] = "ww"
    fit: Literal["PL", "TPL", "E_TPL"] = "PL"
    min_evals: int = 8
    max_evals: int = 15000
    max_N: int = 50000  # noqa: N815  the peer's name

    def __post_init__(self) -> None:
        refusals = (
            (self.max_evals and self.min_evals >= self.max_evals, "min_evals must be below max_evals"),
            (
                self.max_N < max(self.min_evals, self.max_evals),
                "max_N must not be below min_evals or max_evals",
            ),
            (self.max_evals < 0, "max_evals must not be negative"),
            (self.xmax == 0, "xmax must not be 0"),
            (self.max_fingers < 1, "max_fingers must be at least 1"),
            (
                self.fix_fingers and isinstance(self.xmax, int),
                "fix_fingers and a whole xmax exclude each other",
            ),
            (self.xmax == "force" and self.pl_package == "ww", "xmax 'force' needs pl_package 'powerlaw'"),
            (
                self.fix_fingers == "xmin_peak" and self.pl_package == "ww",
                "fix_fingers 'xmin_peak' needs pl_package 'powerlaw'",
            ),
            (
                self.fit != "PL" and self.pl_package == "ww",
                "fit 'TPL' or 'E_TPL' needs pl_package 'powerlaw'",
            ),
            (
                self.fit != "PL" and self.fix_fingers == "clip_xmax",
                "fix_fingers 'clip_xmax' clips for fit 'PL' only",
            ),
            (self.inverse and self.vectors, "inverse and vectors exclude each other"),
        )
        for refused, reason in refusals:
            if refused:
                raise ValueError(reason)
