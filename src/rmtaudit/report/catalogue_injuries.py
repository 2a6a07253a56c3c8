"""Findings of the analyzer ``forensics``: injuries with a stated false-alarm rate on healthy models."""

from __future__ import annotations

from rmtaudit.finding_kind import FindingKind

_MEASURED = (
    "See docs/calibration.md, section Injuries: power on three models, false alarms on all healthy ones."
)

_MEASURED_PAGES = (
    "See docs/calibration.md, section Overwritten pages: false alarms on healthy models, and how many "
    "injected chunks of 64 KiB were found."
)

INJURIES = (
    FindingKind(
        code="RA-FO-021",
        title="code book",
        fact="warning",
        levels=(),
        meaning=(
            "The weights take the few levels of a code book (NF4, NVFP4, MXFP4, IQ4_NL, scaled fp8, "
            "k-means): the layer "
            "was quantised and "
            "written back as floating numbers."
        ),
        test=(
            "Null hypothesis as in RA-FO-002, with the levels of a known table times one scale a unit. "
            "Or: at most 257 "
            "distinct values in the tensor (16 times as many entries, at least 4096) or in 19 of 20 "
            "units, further "
            "apart than the rounding of the format makes them."
        ),
        calibration=_MEASURED,
        limits=(
            "Eight bits in groups that were computed in half precision are blurred beyond recognition. "
            "Fp8 numbers that "
            "carry no scale are RA-FO-003; with scales that are powers of two (MXFP8) the block is not seen."
            " A table of constants has few values on purpose."
        ),
        action="Audit the unquantised model if there is one, or ship a quantised format.",
    ),
    FindingKind(
        code="RA-FO-022",
        title="clipped",
        fact="warning",
        levels=(),
        meaning="The largest weights were cut off at a bound that many of them hold exactly.",
        test=(
            "At least 4 entries hold the largest (or smallest) value, and 4 times as many as any of the "
            "five values next to "
            "it. Not in quantised layers, where the last level collects them."
        ),
        calibration=_MEASURED,
        limits="Bounds by row are not looked for. Some methods clip weights in training on purpose.",
        action="Compare with the original: large weights matter more than their number suggests.",
    ),
    FindingKind(
        code="RA-FO-023",
        title="flipped exponent bits",
        fact="error",
        levels=(),
        meaning="Single weights are enormous, and ordinary with one bit flipped back: a failing memory.",
        test=(
            "Entries of at least 2^64 times the median size (2^8 in float16), fewer than 1 %: with the "
            "highest exponent bit flipped back every one falls in the range of the others. In float16 also: "
            "at least three, not all in one row or column, and typically no less than 1/16 of the median "
            "size once flipped back. The other tests take the restored values."
        ),
        calibration=_MEASURED,
        limits=(
            "Flips of other bits make a weight smaller, or 2, 4 or 16 times larger, and cannot be seen "
            "from weights alone "
            "unless the weight was large already."
        ),
        action="Download the file again, or check the memory of the machine that wrote it.",
    ),
    FindingKind(
        code="RA-FO-024",
        title="rows or columns apart",
        fact="warning",
        levels=(),
        meaning="Up to four rows (outputs) or columns (inputs) are several times larger than all others.",
        test=(
            "Ratio of root mean squares of at least 3 to the next line, and p <= 1e-5 that they belong to "
            "a Pareto tail of "
            "the other lines (the F test of RA-FO-006). One giant entry does not make a line."
        ),
        calibration=_MEASURED,
        limits="Fewer than 37 lines are not tested. A small row may grow and stay within the range.",
        action="Compare with the original, or look for a scale that was applied to one channel.",
    ),
    FindingKind(
        code="RA-FO-025",
        title="weight far above the rest",
        fact="warning",
        levels=(),
        meaning="One weight (up to four) is many times larger than every other of the layer.",
        test=(
            "Ratio of at least 8 to the next, p <= 0.001 under a Pareto tail before the power of "
            "RA-FO-006, and both sides at "
            "least 64: small layers have such weights by chance."
        ),
        calibration=_MEASURED,
        limits="Super weights of large language models look the same, and are healthy.",
        action="Look at the position. Compare with the original, or with the same layer of a sibling.",
    ),
    FindingKind(
        code="RA-FO-026",
        title="large weight",
        fact="info",
        levels=(),
        meaning="One weight (up to four) is well above every other of the layer.",
        test="Ratio of at least 2.5 to the next.",
        calibration=_MEASURED,
        limits="One healthy model in ten has such a layer: it is a fact and no damage.",
        action="None, unless the position means something to you.",
    ),
    FindingKind(
        code="RA-FO-027",
        title="offset",
        fact="warning",
        levels=(),
        meaning="All weights share an offset of about their standard deviation.",
        test="Mean more than 0.8 standard deviations, both sides at least 64.",
        calibration=_MEASURED,
        limits="Layers that are kept positive on purpose look the same.",
        action="Look for a constant added by a conversion (a lost zero point).",
    ),
    FindingKind(
        code="RA-FO-028",
        title="half drawn anew",
        fact="warning",
        levels=(),
        meaning="One half of the rows looks freshly drawn, the other trained: loaded or trained in part.",
        test=(
            "In one half the squared cosines between rows, the sizes along and across them are those of "
            "random order (within 3.5 standard deviations), in the other the cosines are not (more than 10). "
            "The rows of the other half have the larger squared cosines with all rows (a rank-sum score of "
            "more than 4: 6 in 100,000 layers whose halves are alike have it in one direction or the "
            "other). Both sides at least 64."
        ),
        calibration=_MEASURED,
        limits=(
            "Rows drawn anew that are scattered are not found: against the few others a single trained "
            "row is only 3 to 6 "
            "standard deviations from random."
        ),
        action="Check which part of the checkpoint was loaded.",
    ),
    FindingKind(
        code="RA-FO-029",
        title="lines shuffled within",
        fact="info",
        levels=(),
        meaning="Rows (or columns) keep their sizes, but their entries are in random order.",
        test=(
            "Squared cosines and the profile along the lines are those of random order (3.5 standard "
            "deviations), the sizes of "
            "the lines are not (more than 8). Both sides at least 64."
        ),
        calibration=_MEASURED,
        limits="A layer that only learned scales looks the same; some healthy models have one.",
        action="Check how the tensor was converted: order of the axes, packing.",
    ),
    FindingKind(
        code="RA-FO-030",
        title="overwritten pages",
        fact="error",
        levels=(),
        meaning=(
            "A stretch of the file was overwritten, with one value (often zero) or with a copy of another "
            "stretch: a corrupt transfer or disk."
        ),
        test=(
            "Whole pages of 4 KiB inside a tensor hold one value, or the bytes of another page of it. What "
            "begins or ends where a row of the tensor does is design (rows of zeros, repeated rows), as are "
            "more than 16 such stretches, repeats of more than half of the pages, and a value that is "
            "frequent elsewhere in the tensor. Only where the file holds the values as they are."
        ),
        calibration=_MEASURED_PAGES,
        limits=(
            "A copy from another tensor or by no multiple of 4 KiB, a stretch without a whole page, and one "
            "whose ends coincide with those of rows are not found."
        ),
        action="Download the file again, and compare checksums.",
    ),
)
