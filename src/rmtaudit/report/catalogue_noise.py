"""Findings of the analyzers ``noise`` and ``traps``: what the spectrum says."""

from __future__ import annotations

from rmtaudit.report.finding_kind import FindingKind

NOISE = (
    FindingKind(
        code="RA-NF-001",
        title="indistinguishable from noise",
        fact="info",
        levels=(),
        meaning=(
            "The layer has no structure that entries of the same sizes with random signs would "
            "not have: nothing was learned in it, or it was lost."
        ),
        test=(
            "Null hypothesis: the signs of the entries are independent. It is not rejected at the "
            "analyzer's level."
        ),
        calibration="See docs/calibration.md.",
        limits="Not to be rejected is no proof: a small or a weakly trained layer looks the same.",
        action="See RA-FO-011 and RA-FO-012 for how it came about.",
    ),
    FindingKind(
        code="RA-NF-002",
        title="every noise model rejected",
        fact="info",
        levels=(),
        meaning=(
            "The bulk of the spectrum is no noise of any kind tried, as in most well-trained "
            "layers. So no noise floor can be given, and of the spikes a lower bound only."
        ),
        test=(
            "Distance of the bulk to the Marchenko-Pastur law, plain and after equalising rows "
            "and columns; p-values from simulation."
        ),
        calibration="See docs/calibration.md.",
        limits="Says nothing of quality.",
        action="None.",
    ),
    FindingKind(
        code="RA-NF-003",
        title="correlation trap",
        fact="info",
        levels=(),
        meaning=(
            "Even in random order the entries make a largest eigenvalue beyond the edge of noise: "
            "a few of them are far too large."
        ),
        test="Elementwise shuffles against the Tracy-Widom edge.",
        calibration="See docs/calibration.md.",
        limits="Heavy-tailed entries of healthy layers do it too.",
        action="See RA-FO-006 for the entries.",
    ),
    FindingKind(
        code="RA-NF-004",
        title="spikes out of noise",
        fact="info",
        levels=(),
        meaning=("A number of directions stand out of a bulk that is noise: the layer's signal, counted."),
        test="Eigenvalues beyond the edge of the accepted noise model.",
        calibration="See docs/calibration.md.",
        limits="Only where a noise model is accepted.",
        action="None.",
    ),
)
