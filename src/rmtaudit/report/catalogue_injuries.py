"""Findings of the analyzer ``forensics``: injuries with a stated false-alarm rate on healthy models."""

from __future__ import annotations

from rmtaudit.finding_kind import FindingKind

_MEASURED = (
    "See docs/calibration.md, section Injuries, for the power on three models and the false "
    "alarms on all healthy models."
)

_MEASURED_PAGES = (
    "See docs/calibration.md, section Overwritten pages, for the false alarms on healthy models "
    "and for how many injected chunks of 64 KiB were detected."
)

INJURIES = (
    FindingKind(
        code="RA-FO-021",
        title="code book",
        fact="warning",
        levels=(),
        meaning=(
            "The weights take the few levels of a code book (NF4, NVFP4, MXFP4, IQ4_NL, scaled "
            "fp8, k-means): the layer was quantised and written back as floating-point numbers."
        ),
        test=(
            "The null hypothesis is that of RA-FO-002; the levels are those of a known table, "
            "times one scale for each unit. Alternatively, the tensor (of at least 4096 entries, "
            "and 16 times as many as levels) or 19 of 20 units have at most 257 distinct values, "
            "which are further apart than rounding to the format makes them."
        ),
        calibration=_MEASURED,
        limits=(
            "Eight bits in groups that were computed in half precision are blurred by rounding "
            "and not recognised. Fp8 numbers without a scale are reported as RA-FO-003; with "
            "scales that are powers of two (MXFP8), the block size is not recognised. A table of "
            "constants has few values by design."
        ),
        action=(
            "Audit the unquantised model if there is one, or distribute the model in a quantised format."
        ),
    ),
    FindingKind(
        code="RA-FO-022",
        title="clipped",
        fact="warning",
        levels=(),
        meaning="The largest weights were clipped to a bound, which many weights equal exactly.",
        test=(
            "At least 4 entries equal the largest (or smallest) value, and at least 4 times as "
            "many as equal any of the five nearest values. Quantised layers are not tested, "
            "because the entries beyond the last level are rounded to it."
        ),
        calibration=_MEASURED,
        limits=(
            "Bounds that differ from row to row are not tested for. Some training methods "
            "clip weights intentionally."
        ),
        action="Compare with the original: large weights matter more than their number suggests.",
    ),
    FindingKind(
        code="RA-FO-023",
        title="flipped exponent bits",
        fact="error",
        levels=(),
        meaning=(
            "A few weights are enormous, and of ordinary size once one bit is flipped back: "
            "the sign of a memory error."
        ),
        test=(
            "Entries of at least 2^64 times the median size (2^8 in float16), are fewer than 1 % "
            "of the weights, and every one falls within the range of the others once its highest "
            "exponent bit is flipped back. In float16, there must also be at least three of "
            "them, not all in one row or column, and their typical size once flipped back must "
            "be at least 1/16 of the median size. The other tests use the restored values."
        ),
        calibration=_MEASURED,
        limits=(
            "Flips of other bits make a weight smaller, or 2, 4 or 16 times larger. They cannot "
            "be detected from the weights alone, unless the weight was already large."
        ),
        action="Download the file again, or check the memory of the machine that wrote it.",
    ),
    FindingKind(
        code="RA-FO-024",
        title="outlying rows or columns",
        fact="warning",
        levels=(),
        meaning="Up to four rows (outputs) or columns (inputs) are several times larger than all others.",
        test=(
            "The ratio of their root mean square to that of the next row or column is at least "
            "3, and p <= 1e-5 for the null hypothesis that they belong to a Pareto tail of the "
            "other rows or columns (the F test of RA-FO-006). A row or column that is large "
            "because of a single entry does not count."
        ),
        calibration=_MEASURED,
        limits=(
            "A matrix with fewer than 37 rows (or columns) is not tested. A small row that "
            "was multiplied by a factor may still lie within the range of the others."
        ),
        action=("Compare with the original, or check for a scale that was applied to one channel only."),
    ),
    FindingKind(
        code="RA-FO-025",
        title="weight far above the others",
        fact="warning",
        levels=(),
        meaning="One weight (up to four) is many times larger than every other weight of the layer.",
        test=(
            "The ratio to the next largest is at least 8, p <= 0.001 under a Pareto tail (before "
            "the p-value is raised to the power, as in RA-FO-006), and both sides are at least "
            "64, because small layers have such weights by chance."
        ),
        calibration=_MEASURED,
        limits="Super weights of large language models look the same, and are not damage.",
        action=("Check the position. Compare with the original, or with the same layer of a related model."),
    ),
    FindingKind(
        code="RA-FO-026",
        title="large weight",
        fact="info",
        levels=(),
        meaning="One weight (up to four) is well above every other weight of the layer.",
        test="The ratio to the next largest is at least 2.5.",
        calibration=_MEASURED,
        limits="One healthy model in ten has such a layer: it is a fact, not damage.",
        action="Nothing, unless the position is meaningful to you.",
    ),
    FindingKind(
        code="RA-FO-027",
        title="offset",
        fact="warning",
        levels=(),
        meaning="All weights have a common offset of about one standard deviation.",
        test=(
            "The absolute value of the mean exceeds 0.8 standard deviations, and both sides are at least 64."
        ),
        calibration=_MEASURED,
        limits="Layers that are kept positive by design look the same.",
        action="Check for a constant that a conversion added, such as a lost zero point.",
    ),
    FindingKind(
        code="RA-FO-028",
        title="half reinitialised",
        fact="warning",
        levels=(),
        meaning=(
            "One half of the rows looks freshly initialised and the other half trained: the "
            "layer was loaded or trained only in part."
        ),
        test=(
            "In one half, the squared cosines between rows and the sizes along and across the "
            "rows are those of entries in random order (within 3.5 standard deviations); in the "
            "other half, the cosines are not (more than 10 standard deviations). The rows of the "
            "other half have larger squared cosines with all rows (a rank-sum score of more than "
            "4, which 6 in 100,000 layers with similar halves exceed in one direction or the "
            "other). Both sides are at least 64."
        ),
        calibration=_MEASURED,
        limits=(
            "Reinitialised rows that are scattered are not detected, because a single trained "
            "row is only 3 to 6 standard deviations away from random."
        ),
        action="Check which part of the checkpoint was loaded.",
    ),
    FindingKind(
        code="RA-FO-029",
        title="shuffled within rows or columns",
        fact="info",
        levels=(),
        meaning=("Rows (or columns) keep their norms, but the entries within them are in random order."),
        test=(
            "The squared cosines and the profile along the rows (or columns) are those of "
            "entries in random order (within 3.5 standard deviations); the norms of the rows (or "
            "columns) are not (more than 8). Both sides are at least 64."
        ),
        calibration=_MEASURED,
        limits="A layer that learned only scales looks the same; some healthy models have one.",
        action="Check how the tensor was converted: the order of its axes, and its packing.",
    ),
    FindingKind(
        code="RA-FO-030",
        title="overwritten pages",
        fact="error",
        levels=(),
        meaning=(
            "A stretch of the file was overwritten, with one value (often zero) or with a copy "
            "of another stretch: the transfer or the disk was faulty."
        ),
        test=(
            "Whole pages of 4 KiB inside a tensor hold one value, or the bytes of another page "
            "of the same tensor. A stretch that begins or ends at the boundary of a row is taken "
            "to be by design (rows of zeros, repeated rows), as are more than 16 such stretches, "
            "repeats of more than half of the pages, and a value that is frequent elsewhere in "
            "the tensor. Only tensors whose values the file holds unencoded are tested."
        ),
        calibration=_MEASURED_PAGES,
        limits=(
            "Not detected are a copy from another tensor, a copy from a distance that is not a "
            "multiple of 4 KiB, a stretch that contains no complete page, and a stretch whose "
            "ends coincide with those of rows."
        ),
        action="Download the file again, and compare checksums.",
    ),
)
