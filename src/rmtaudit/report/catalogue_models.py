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
            "Equal digests of shape and values, for tensors that are not tied and hold more than two "
            "values, and for query, key and value, gates or experts stacked in one tensor. The names of all "
            "layers decide what the copy is: part of a network that is stored twice (under some part of the "
            "name at least two layers, and all that have a counterpart, are copies of it), a repeated block "
            "(the names differ in a number only), a layer that all its numbered siblings share, or a single "
            "layer."
        ),
        calibration="A fact; its severity on healthy models is in docs/calibration.md.",
        limits=(
            "Copies that were trained a little are not found. What was overwritten as a whole looks like a "
            "network that is stored twice, and so does a single layer `target` with no other like it."
        ),
        action="Check how the model was put together.",
        milder=(
            "For information if a whole sub-network is stored twice, if all siblings share the layer, or "
            "if the name says so (target, teacher, ema, momentum …) and every layer of that network is a "
            "copy; a warning for part of a sub-network and for a repeated block of a stack, as depth "
            "up-scaling makes it."
        ),
    ),
    FindingKind(
        code="RA-MO-002",
        title="scale far from its peers",
        fact=None,
        levels=(*CALIBRATED, ("info", 1.0)),
        meaning="The layer's weights are far larger or smaller than those of the layers of the same role.",
        test=(
            "The root mean square is more than 5 times larger, or smaller, than that of every other layer "
            "of the same kind and role: of the same name but for the numbers that count blocks. For the "
            "severity, its logarithm against the median of the others, in median absolute deviations (at "
            "least 0.15 decades); p-value of Student's t with 4 degrees of freedom."
        ),
        calibration="No healthy layer measured is beyond a factor of 4.4. See docs/calibration.md.",
        limits=(
            "Needs four other layers of the role. The t law was chosen for its heavy tails, not derived. The "
            "scale of a layer before a normalisation changes nothing."
        ),
        action="Look for a lost scale factor, or a unit error in a merge.",
        milder=(
            "At most a warning below a factor of 1000 beyond all peers and for layers that are too small, as "
            "weight decay makes them; for information below a factor of 30."
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
            "The signal is `constant`, and at least four other layers of the same kind and role (the same "
            "name but for the numbers that count blocks), more than hold constants, are `structured`."
        ),
        calibration="None of 58 real checkpoints, with 147 constants of the architecture, has it.",
        limits=(
            "A layer without such peers, as the only head of a model, has the signal `constant` and no "
            "finding. Blocks that were frozen as identities on purpose look the same."
        ),
        action="Compare with the original.",
    ),
    FindingKind(
        code="RA-SC-001",
        title="values that are not finite",
        fact="error",
        levels=(),
        meaning="The layer holds NaN or infinite values: the model answers NaN.",
        test="Every value is checked.",
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
