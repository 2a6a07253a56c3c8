"""Findings of the analyzer ``powerlaw``."""

from __future__ import annotations

from rmtaudit.finding_kind import FindingKind

POWERLAW = (
    FindingKind(
        code="RA-PL-001",
        title="alpha is unstable",
        fact="info",
        levels=(),
        meaning=(
            "Two tails of the spectrum follow a power law about equally well, with clearly different "
            "exponents. A small change of the weights can move alpha from one to the other."
        ),
        test=(
            "The distance to the power law has two minima whose values do not differ by more than chance, "
            "and the intervals of their exponents, each for its own tail, exclude each other."
        ),
        calibration=(
            "Of samples whose tail is a power law of 25 values or more, at most 4 % have this finding; of "
            "shorter tails, up to 28 %. Of the spectra of Gaussian matrices of side 96 to 384, which have no "
            "power-law tail, 57 to 70 % do (benchmarks/powerlaw_interval.py)."
        ),
        limits="Says nothing of quality. The interval of alpha covers both tails.",
        action="Do not compare this alpha with another one; use the interval.",
    ),
)
