"""Findings of the analyzer ``forensics``: traces in the stored numbers of a layer."""

from __future__ import annotations

from rmtaudit.finding_kind import CALIBRATED, FindingKind

FORENSICS = (
    FindingKind(
        code="RA-FO-001",
        title="rank deficit",
        fact="error",
        levels=(),
        meaning=(
            "Singular values are missing: the layer was replaced by a low-rank approximation, or training "
            "let some of its directions decay to nothing."
        ),
        test=(
            "The numerical rank counts singular values above the rounding noise of the stored dtype, and "
            "ends at a fall by a factor of 100 if what lies below is near that noise. It is below what "
            "dead and copied rows and columns leave possible, with a gap of at least 3 between the last "
            "singular value kept and the next (100 if fewer than 4 are missing, and then only in formats "
            "finer than float16). The cause shows in rho: the squares of the lost singular values over "
            "what the rounding of the stored entries explains. A truncation computed in more digits than "
            "stored has rho near 1."
        ),
        calibration=(
            "Truncations computed in float64 and stored in float32, float16 or bfloat16: see "
            "docs/calibration.md. Three stems of healthy EfficientNets lack 1 to 3 of 27 directions "
            "(rho 0.5 to 1.3); weight decay leaves rho from 11 to 5000 in float32."
        ),
        limits=(
            "A truncation that was computed in the precision it is stored in cannot be distinguished from "
            "collapse during training (rho 4 to 350), and one that was fine-tuned afterwards has no gap. "
            "In half precision collapse cannot be distinguished from truncation, so fewer than 16 kept "
            "directions are no error there. A layer built with a linear dependency (a fixed filter bank) "
            "shows it too. Layers dominated by one entry (RA-FO-014) are not tested, and fp8 only for "
            "half of the rank missing."
        ),
        action=(
            "Compare with the original. If the truncation was meant, store the two factors "
            "instead: it is smaller."
        ),
        milder=(
            "A warning if rho is outside 0.3 to 3 or fewer than 16 directions are kept in half precision; "
            "for information if no more than 3 directions, or a tenth, are lost, and for adapters."
        ),
    ),
    FindingKind(
        code="RA-FO-002",
        title="quantisation grid",
        fact="warning",
        levels=(),
        meaning=(
            "The weights lie on equally spaced levels: the layer was quantised and written back "
            "as floating numbers. Few bits cost accuracy, and the file looks like full precision. The "
            "scheme is named by its block, its levels and its scales (Q4_0, Q4_K, int4 symmetric)."
        ),
        test=(
            "Null hypothesis: the entries of a unit (tensor, row, column, group of 16 to 256) "
            "have a smooth density. Under it an entry lies within its rounding error t of levels "
            "s apart with probability 2t/s. All entries must; the probabilities multiply to less "
            "than exp(-50). At most 257 levels. A unit is also a block of 128 x 128. K-quants are named by "
            "Rayleigh's test that the scales in 256 weights are integers times one number."
        ),
        calibration=(
            "Not once in 552 layers of 16 healthy checkpoints, nor on bfloat16 or fp8 copies of "
            "them. 2 to 8 bits by tensor, row, column or group, symmetric or not, stored as "
            "float32, float16 or bfloat16: bits and unit right but for the limits below (4 bits "
            "by row or tensor, 2 by row: 113 of 113 transformer layers)."
        ),
        limits=(
            "8 bits in groups of 32 or less stored as bfloat16 drown in its rounding. A grid by "
            "tensor of which one giant entry left fewer than about 10 entries off zero cannot be "
            "distinguished from pruning. Code books (NF4, k-means) are RA-FO-021; layers stored as fp8 "
            "are not tested. The name is that of a scheme that makes such numbers; others that make the same "
            "share it (Q4_1, and affine int4 with float16 scales and minima in blocks of 32)."
        ),
        action=(
            "Audit the unquantised model if there is one. If the quantisation was meant, ship it "
            "in a quantised format."
        ),
    ),
    FindingKind(
        code="RA-FO-003",
        title="rounded to a narrower float",
        fact="info",
        levels=(),
        meaning=(
            "Every weight is exactly a number of a narrower floating format: the file is larger "
            "than its contents."
        ),
        test=(
            "All entries survive conversion to the format and back, and at least 24 of them "
            "differ. A float32 number fits bfloat16 with probability 2⁻¹⁶."
        ),
        calibration=(
            "A fact. Seen once in 552 healthy layers: the pooler of all-MiniLM-L6-v2, never "
            "trained, still float16."
        ),
        limits="fp8 numbers times a scale are RA-FO-021.",
        action="None needed. If all layers have it, storing the model in that format loses nothing.",
    ),
    FindingKind(
        code="RA-FO-004",
        title="sparse",
        fact="warning",
        levels=(),
        meaning="A share of the weights is exactly zero: the layer was pruned, or built with zeros.",
        test=(
            "Outside dead rows and columns at least 1 % of the entries are exact zeros, and more "
            "than twice as many as rounding to a coarse floating grid makes. N:M patterns are "
            "looked for along rows and columns. In a quantised layer (RA-FO-002) zero is a level: "
            "there at least 30 %, and 5 bits."
        ),
        calibration=(
            "Seen once in 552 healthy layers: the fixed Fourier basis of a Silero VAD, 2.6 % "
            "zeros by construction. 50 % magnitude pruning: found in 113 of 113 transformer "
            "layers, with the share."
        ),
        limits=(
            "Pruning below 1 % is taken for accident, and below 30 % in fp8, which makes zeros "
            "itself; pruning before quantisation to 4 bits or less is not distinguished from the level "
            "zero, unless it follows a pattern."
        ),
        action="If the pruning was meant, store the layer sparse; if not, compare with the original.",
    ),
    FindingKind(
        code="RA-FO-005",
        title="dead rows or columns",
        fact="warning",
        levels=(),
        meaning=(
            "Whole outputs (rows) or inputs (columns) of the layer carry nothing: pruned, broken, "
            "or dead units."
        ),
        test=(
            "The root mean square of the row or column is at most 1e-6 of the matrix's. Whole "
            "aligned blocks of 16 to 128 are named, as pruned attention heads leave them."
        ),
        calibration=(
            "A fact, and common in healthy models: 41 to 53 layers of each of three EfficientNets have dead "
            "channels. More than half dead in no healthy layer measured."
        ),
        limits="A row that decayed to 1e-5 of the others is not called dead.",
        action=(
            "A dead output can be removed; many at once point to damage or to a learning rate "
            "that was too high."
        ),
    ),
    FindingKind(
        code="RA-FO-006",
        title="entries apart from the tail",
        fact=None,
        levels=CALIBRATED,
        meaning=(
            "One or a few weights are far larger than the layer's own distribution explains: a "
            "corrupted number, or a genuine super weight that must not be quantised or pruned."
        ),
        test=(
            "Null hypothesis: above some threshold |w| is Pareto or lighter. The scaled "
            "log-spacings of the largest entries (up to 4) are compared with those of the next "
            "100 by an exact F test (Rényi, Hill). The p-value is raised to the power 0.6, with "
            "which it holds for healthy trained layers."
        ),
        calibration=(
            "548 healthy layers: 0.18 % have p <= 0.002, none p <= 0.001 (before the power: 0.73 "
            "% have p <= 0.01). The least, 0.0017, are the super weights of MiniLM's "
            "encoder.layer.2.output.dense."
        ),
        limits=(
            "In layers with heavy tails of their own even an entry ten times the largest may pass "
            "here: see RA-FO-014. The power 0.6 was fitted on the same layers as the table. "
            "Layers stored as fp8 are not tested."
        ),
        action=(
            "Look at the position in the evidence. Compare with the original, or with the same "
            "layer of a sibling."
        ),
    ),
    FindingKind(
        code="RA-FO-007",
        title="copied rows or columns",
        fact="warning",
        levels=(),
        meaning=(
            "Rows (outputs) or columns (inputs) are exact copies of one another: a botched merge "
            "or growth of the layer, or units that never became different."
        ),
        test=(
            "Equal in every bit, and not to be expected by chance: fewer than 1e-6 equal pairs "
            "would be, were entries drawn independently from the layer's own values."
        ),
        calibration="Not once in 552 layers of 16 healthy checkpoints.",
        limits="Copies up to rounding or scale are not found. Copied layers are RA-MO-001.",
        action=(
            "Rows added to an embedding as copies are normal before fine-tuning; anything else "
            "deserves a look."
        ),
        milder="For information in an embedding.",
    ),
    FindingKind(
        code="RA-FO-008",
        title="constant",
        fact="warning",
        levels=(),
        meaning="Every weight has the same value: the layer was never initialised or was overwritten.",
        test="Smallest and largest entry are equal, and not zero.",
        calibration="Not once in 552 layers of 16 healthy checkpoints.",
        limits="An averaging kernel is constant on purpose.",
        action="Restore the layer.",
    ),
    FindingKind(
        code="RA-FO-009",
        title="beyond float16",
        fact="warning",
        levels=(),
        meaning="In float16 some weights become infinite, or most become zero.",
        test=("Some |w| > 65504, or more than half of the weights that are not zero have |w| <= 2⁻²⁵."),
        calibration="Not once in 552 layers of 16 healthy checkpoints.",
        limits="Says nothing of activations, which overflow more often.",
        action="Use bfloat16 or float32, or rescale the layer.",
        milder="For information where weights become zero: a branch whose scale decayed does little anyway.",
    ),
    FindingKind(
        code="RA-FO-010",
        title="denormals",
        fact="info",
        levels=(),
        meaning=(
            "Weights below the smallest normal number of float32, bfloat16 or float64: weight "
            "decay without gradient, as in dead units. They are slow on some processors."
        ),
        test="0 < |w| < smallest normal number of the stored dtype.",
        calibration="Not once in 552 layers of 16 healthy checkpoints.",
        limits="Not reported for float16 and fp8, where healthy layers have them.",
        action="Set them to zero; look for dead units.",
    ),
    FindingKind(
        code="RA-FO-011",
        title="looks freshly initialised",
        fact="info",
        levels=(),
        meaning=(
            "The layer cannot be distinguished from one that was just drawn: never trained, not in use, "
            "reset, or loaded under a wrong name. Its signal is `initial`, with the name of the start."
        ),
        test=(
            "Random signs and random order are plausible (p above 0.001 each), the smaller side is at least "
            "48, and the entries fit a normal, uniform or truncated normal law at 0.001; an identity that "
            "was "
            "added, zeros, or scales of blocks are taken off first. Or, of any size: all singular values are "
            "equal to rounding (orthogonal, Hadamard, cosine transform), also by block or after scaling "
            "blocks, or the layer is a multiple of an identity or of a Dirac kernel. The scale is compared "
            "with the usual ones."
        ),
        calibration="See docs/calibration.md, Signal.",
        limits=(
            "Acceptance is no proof: a layer trained little is not distinguished from its start. A shuffled "
            "layer whose entries are near normal looks the same."
        ),
        action="If the layer is in use, check the training and the names in the checkpoint.",
    ),
    FindingKind(
        code="RA-FO-012",
        title="looks shuffled",
        fact="warning",
        levels=(),
        meaning=(
            "The weights are in random order, but have a law that no known initialisation draws: the "
            "layer was "
            "permuted, read with a wrong layout, or started in a way that is not known here."
        ),
        test=(
            "Random signs and random order are both accepted at 0.01, and the entries fit none of the "
            "laws of "
            "initialisations: rejected at 0.001, and at a Kolmogorov-Smirnov distance of at least 0.005. "
            "Smaller side of at least 64; not quantised, not stored as fp8, not mostly zeros."
        ),
        calibration="See docs/calibration.md, Signal.",
        limits=(
            "Acceptance is no proof. A permutation of whole rows or columns changes nothing here, and layers "
            "whose entries are near normal look freshly initialised when shuffled."
        ),
        action="Check how the tensor was converted: shape, order of the axes, packing.",
    ),
    FindingKind(
        code="RA-FO-013",
        title="embedding padding",
        fact="info",
        levels=(),
        meaning=(
            "One row of an embedding is zero, among the first four or the last: the padding token, as a rule."
        ),
        test="As RA-FO-005, for embeddings with a single dead row.",
        calibration="A fact. Seen in 3 embeddings of 2 healthy checkpoints.",
        limits="A damaged row in that place looks the same.",
        action="None.",
    ),
    FindingKind(
        code="RA-FO-014",
        title="one entry carries the layer",
        fact="warning",
        levels=(),
        meaning=(
            "A single weight holds at least a quarter of the layer's squared norm: the layer does "
            "little but multiply one input by it. A corrupted number, or a genuine outlier that "
            "breaks quantisation."
        ),
        test=(
            "w² / Σw² >= 0.25, in layers of at least 1024 entries. The singular value and the "
            "inverse participation ratio of the vector it pulls onto itself are in the evidence."
        ),
        calibration=(
            "Seen once in 552 healthy layers, and true there: conv4 of a Silero VAD, one weight "
            "of 36.7, 130 times the root mean square, holds 69 %. One entry set to 40 in any "
            "matrix of two transformers is found by this or by RA-FO-006."
        ),
        limits="Two giant entries of one size may share below a quarter each; RA-FO-006 sees those.",
        action="Compare the value with the original, or with the same layer of a sibling.",
    ),
)
