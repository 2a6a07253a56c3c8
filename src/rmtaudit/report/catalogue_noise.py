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
            "The layer has no more structure than entries of the same magnitudes with random "
            "signs, and its entries are in random order: nothing was learned in it, or what was "
            "learned has been lost."
        ),
        test=(
            "Null hypotheses: the signs of the entries are independent (not rejected at the "
            "analyzer's level), and the entries are in random order (not rejected at 1e-5). The "
            "smaller side is at least 48."
        ),
        calibration="See docs/calibration.md.",
        limits=(
            "That the null hypotheses are not rejected does not prove them: a weakly trained "
            "layer looks the same."
        ),
        action="See RA-FO-011 and RA-FO-012 for possible causes.",
    ),
    FindingKind(
        code="RA-NF-002",
        title="every noise model rejected",
        fact="info",
        levels=(),
        meaning=(
            "No noise model that was tried describes the bulk of the spectrum, as in most "
            "well-trained layers. Therefore no noise floor is given, and for the number of "
            "spikes only a lower bound."
        ),
        test=(
            "The distance of the bulk to the Marchenko-Pastur law, before and after equalising "
            "rows and columns; the p-values come from simulation."
        ),
        calibration="See docs/calibration.md.",
        limits="The finding says nothing about quality.",
        action="Nothing needs to be done.",
    ),
    FindingKind(
        code="RA-NF-003",
        title="correlation trap",
        fact="info",
        levels=(),
        meaning=(
            "Even when the entries are shuffled, the largest eigenvalue lies beyond the edge of "
            "noise: a few entries are far too large."
        ),
        test=(
            "The largest eigenvalue of the elementwise shuffled matrix is compared with the Tracy-Widom edge."
        ),
        calibration="See docs/calibration.md.",
        limits="Heavy-tailed entries of healthy layers have the same effect.",
        action="See RA-FO-006 for the large entries.",
    ),
    FindingKind(
        code="RA-NF-004",
        title="spikes above noise",
        fact="info",
        levels=(),
        meaning=(
            "The bulk of the spectrum agrees with noise, and a number of eigenvalues lie "
            "above it: the directions of the layer's signal."
        ),
        test="The number of eigenvalues beyond the edge of the noise model that was not rejected.",
        calibration="See docs/calibration.md.",
        limits="The count exists only where some noise model is not rejected.",
        action="Nothing needs to be done.",
    ),
    FindingKind(
        code="RA-NF-005",
        title="the scales are structured",
        fact="info",
        levels=(),
        meaning=(
            "The signs of the entries look random, but rows, columns, kernel positions or "
            "neighbouring entries differ in magnitude more than entries in random order do: the "
            "layer learned scales."
        ),
        test=(
            "Permutation tests with exact moments, on groups, neighbours and unfoldings of the "
            "tensor; the smallest p-value times the number of tests is below 1e-5, and neither "
            "an identity, nor zeros, nor scales of blocks, which some initialisations add, "
            "explain it."
        ),
        calibration="See docs/calibration.md.",
        limits="Noise whose rows or columns were scaled individually looks the same.",
        action="Nothing needs to be done.",
    ),
)
