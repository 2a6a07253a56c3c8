"""Findings of the analyzer ``powerlaw``."""

from __future__ import annotations

from rmtaudit.report.finding_kind import FindingKind

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
            "On samples whose tail is a power law, 0 to 3 % have this finding; half of the spectra of "
            "Gaussian matrices of side 192 and 384, which have no power-law tail, do "
            "(benchmarks/powerlaw_interval.py)."
        ),
        limits="Says nothing of quality. The interval of alpha covers both tails.",
        action="Do not compare this alpha with another one; use the interval.",
    ),
)
