"""Findings that take more than one layer to see, and those of the scan itself."""

from __future__ import annotations

from rmtaudit.report.finding_kind import CALIBRATED, FindingKind

MODELS = (
    FindingKind(
        code="RA-MO-001",
        title="duplicated layer",
        fact="error",
        levels=(),
        meaning=(
            "Two layers that should have learned different things hold the same numbers: a failed "
            "merge, or a stack of copied blocks that was not trained further."
        ),
        test=(
            "Equal digests of shape and values, for tensors that are not tied and not constant, and for "
            "query, key and "
            "value, gates or experts stacked in one tensor."
        ),
        calibration="A fact.",
        limits=(
            "Copies that were trained a little are not found. Depth up-scaling duplicates layers on purpose."
        ),
        action="Check how the model was put together.",
    ),
    FindingKind(
        code="RA-MO-002",
        title="scale far from its peers",
        fact=None,
        levels=CALIBRATED,
        meaning=(
            "The layer's weights are orders of magnitude larger or smaller than those of the "
            "layers of its kind."
        ),
        test=(
            "log10 of the root mean square against the median of the other layers of its kind, in median "
            "absolute deviations (at least 0.15 decades); p-value of Student's t with 4 degrees of freedom."
        ),
        calibration="No healthy model measured has one. See docs/calibration.md.",
        limits=(
            "Needs seven other layers of the kind. The t law was chosen for its heavy tails, not derived. "
            "Among forty layers only one at least 2.2 decades off is an error."
        ),
        action="Look for a lost scale factor, or a unit error in a merge.",
    ),
    FindingKind(
        code="RA-MO-003",
        title="scale beyond its role",
        fact="warning",
        levels=(),
        meaning="The layer's weights are several times larger than those of every other layer of its role.",
        test=(
            "Root mean square more than 5 times that of each other layer of the same role (the name but "
            "for numbers) "
            "and shape, of which there must be at least four."
        ),
        calibration="See docs/calibration.md, section Injuries.",
        limits=(
            "A layer that is alone in its role has nothing to be compared with. Layers that are several "
            "times smaller "
            "are not reported: branches decay in training."
        ),
        action="Look for a scale that was applied twice, or compare with the original.",
    ),
    FindingKind(
        code="RA-SC-001",
        title="values that are not finite",
        fact="error",
        levels=(),
        meaning="The layer holds NaN or infinite values: the model answers NaN.",
        test="Every value is looked at.",
        calibration="A fact.",
        limits="None.",
        action="Go back to a checkpoint before the training diverged.",
    ),
    FindingKind(
        code="RA-SC-002",
        title="zero matrix",
        fact="warning",
        levels=(),
        meaning=("Every weight is zero: the layer does nothing, or adds nothing to its residual stream."),
        test="The largest absolute value is zero.",
        calibration="A fact.",
        limits="The second factor of a fresh adapter is zero on purpose.",
        action="Restore the layer, or remove it.",
    ),
)
