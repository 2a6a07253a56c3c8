"""Findings of the analyzers ``noise`` and ``traps``: what the spectrum says."""

from __future__ import annotations

from rmtaudit.finding_kind import FindingKind

NOISE = (
    FindingKind(
        code="RA-NF-001",
        title="indistinguishable from noise",
        fact="info",
        levels=(),
        meaning=(
            "The layer has no structure that entries of the same sizes with random signs would "
            "not have, and its entries are in random order: nothing was learned in it, or it was lost."
        ),
        test=(
            "Null hypotheses: the signs of the entries are independent (not rejected at the "
            "analyzer's level), and the entries are in random order (not rejected at 1e-5). Smaller side of "
            "at least 48."
        ),
        calibration="See docs/calibration.md.",
        limits="Not to be rejected is no proof: a weakly trained layer looks the same.",
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
    FindingKind(
        code="RA-NF-005",
        title="the scales are structured",
        fact="info",
        levels=(),
        meaning=(
            "The signs of the entries look random, but rows, columns, kernel positions or neighbours "
            "differ in "
            "size more than entries in random order do: the scales carry what was learned."
        ),
        test=(
            "Permutation tests with exact moments, on groups, neighbours and unfoldings of the tensor; the "
            "smallest p-value times their number is below 1e-5, and neither an identity, zeros nor scales of "
            "blocks that some initialisations add explain it."
        ),
        calibration="See docs/calibration.md.",
        limits="Noise whose rows or columns were scaled one by one looks the same.",
        action="None.",
    ),
)
