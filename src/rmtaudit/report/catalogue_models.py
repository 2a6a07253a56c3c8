"""Findings that take more than one layer to see, and those of the scan itself."""

from __future__ import annotations

from rmtaudit.finding_kind import CALIBRATED, FindingKind

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
            "The digests of shape and values are equal. Tensors that are tied, or hold at most "
            "two values, are not compared; query, key and value, gates, and experts that are "
            "stacked in one tensor are compared separately. The names of all layers decide what "
            "kind of copy it is: part of a network that is stored twice (at least two layers, "
            "and all that have a counterpart, are copies), a repeated block (the names differ "
            "only in a number), a layer that all its numbered siblings share, or a single layer."
        ),
        calibration=(
            "This is a fact about the stored numbers. docs/calibration.md gives its "
            "severity on healthy models."
        ),
        limits=(
            "Copies that were trained afterwards are not detected. A sub-network that was "
            "overwritten completely looks like one that is stored twice, and so does a single "
            "layer named `target` that has no counterpart."
        ),
        action="Check how the model was assembled.",
        milder=(
            "It is for information if a whole sub-network is stored twice, if all siblings share "
            "the layer, or if the name says so (target, teacher, ema, momentum …) and every "
            "layer of that network is a copy. It is a warning for part of a sub-network and for "
            "a repeated block of a stack, as depth up-scaling produces it."
        ),
    ),
    FindingKind(
        code="RA-MO-002",
        title="scale far from its peers",
        fact=None,
        levels=(*CALIBRATED, ("info", 1.0)),
        meaning="The layer's weights are far larger or smaller than those of the layers of the same role.",
        test=(
            "The root mean square is more than 5 times larger, or smaller, than that of every "
            "other layer of the same kind and role, that is, of the same name except for the "
            "numbers of blocks. The severity depends on how far its logarithm is from the median "
            "of the others, in units of their median absolute deviation (at least 0.15 decades); "
            "the p-value is that of Student's t distribution with 4 degrees of freedom."
        ),
        calibration=("No healthy layer that was measured exceeds a factor of 4.4. See docs/calibration.md."),
        limits=(
            "The test needs four other layers of the same role. Student's t distribution was "
            "chosen for its heavy tails, not derived. The scale of a layer that is followed by a "
            "normalisation has no effect on the output."
        ),
        action="Check for a lost scale factor, or a wrong unit in a merge.",
        milder=(
            "It is at most a warning if the factor beyond all peers is below 1000, and for "
            "layers that are too small, because weight decay has that effect; it is for "
            "information below a factor of 30."
        ),
    ),
    FindingKind(
        code="RA-MO-003",
        title="constant among trained layers",
        fact="warning",
        levels=(),
        meaning=(
            "The layer holds an identity, a mask, a table or another constant of the architecture, while the "
            "layers of the same role in other blocks were trained: it was overwritten, or never loaded."
        ),
        test=(
            "The signal is `constant`, and at least four other layers of the same kind and role "
            "(the same name except for the numbers of blocks) are `structured`, more than hold "
            "constants."
        ),
        calibration=(
            "None of 58 real checkpoints, which hold 147 constants of the architecture, has this finding."
        ),
        limits=(
            "A layer without such peers, such as the only head of a model, has the signal "
            "`constant` and no finding. Blocks that were intentionally frozen as identities look "
            "the same."
        ),
        action="Compare with the original.",
    ),
    FindingKind(
        code="RA-SC-001",
        title="values that are not finite",
        fact="error",
        levels=(),
        meaning="The layer holds NaN or infinite values: the outputs of the model become NaN.",
        test="Every value is checked.",
        calibration="This is a fact about the stored numbers.",
        limits="There are none.",
        action="Go back to a checkpoint from before training diverged.",
    ),
    FindingKind(
        code="RA-SC-002",
        title="zero matrix",
        fact="warning",
        levels=(),
        meaning=("Every weight is zero: the layer does nothing, or adds nothing to its residual stream."),
        test="The largest absolute value is zero.",
        calibration="This is a fact about the stored numbers.",
        limits="The second factor of a freshly initialised adapter is zero by design.",
        action="Restore the layer, or remove it.",
    ),
)
