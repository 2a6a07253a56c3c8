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
            "The distance to the power law has two minima whose values do not differ "
            "significantly, and the confidence intervals of the two exponents, each for its own "
            "tail, do not overlap."
        ),
        calibration=(
            "At most 4 % of samples whose tail is a power law of 25 values or more have this "
            "finding; of samples with shorter tails, up to 28 % have it. Of the spectra of "
            "Gaussian matrices of side 96 to 384, which have no power-law tail, 57 to 70 % do "
            "(benchmarks/powerlaw_interval.py)."
        ),
        limits="The finding says nothing about quality. The interval of alpha covers both tails.",
        action="Do not compare this alpha with that of another layer; use the interval.",
    ),
)
