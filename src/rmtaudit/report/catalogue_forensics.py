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
            "The matrix has a lower rank than its shape allows: the layer was replaced by a "
            "low-rank approximation, or some of its directions decayed to nothing during "
            "training."
        ),
        test=(
            "The numerical rank is the number of singular values above the rounding noise of the "
            "stored dtype; it also ends at a drop by a factor of 100 if the values below the "
            "drop are near that noise. The finding is raised if this rank is lower than dead and "
            "copied rows and columns explain, and the ratio between the last singular value kept "
            "and the next is at least 3 (100 if fewer than 4 are missing, and then only in "
            "formats finer than float16). The ratio rho indicates the cause: the sum of the "
            "squares of the lost singular values, divided by the sum that rounding of the stored "
            "entries explains. A truncation that was computed in a higher precision than it is "
            "stored in has rho near 1."
        ),
        calibration=(
            "Truncations computed in float64 and stored in float32, float16 or bfloat16: see "
            "docs/calibration.md. Three stems of healthy EfficientNets lack 1 to 3 of 27 directions "
            "(rho 0.5 to 1.3); weight decay leaves rho from 11 to 5000 in float32."
        ),
        limits=(
            "A truncation that was computed in the precision it is stored in cannot be "
            "distinguished from a collapse during training (rho 4 to 350), and one that was "
            "fine-tuned afterwards has no gap. In half precision, collapse and truncation cannot "
            "be distinguished at all, so the finding is not an error there if fewer than 16 "
            "directions are kept. A layer that is linearly dependent by design, such as a fixed "
            "filter bank, also has this finding. Layers dominated by one entry (RA-FO-014) are "
            "not tested; layers stored as fp8 are tested only for the loss of at least half of "
            "the rank."
        ),
        action=(
            "Compare with the original. If the truncation was intended, store the two factors "
            "instead, which takes less space."
        ),
        milder=(
            "It is a warning if rho is outside the range 0.3 to 3, or if fewer than 16 "
            "directions are kept in half precision. It is for information if no more than 3 "
            "directions, or a tenth of them, are lost, and for adapters."
        ),
    ),
    FindingKind(
        code="RA-FO-002",
        title="quantisation grid",
        fact="warning",
        levels=(),
        meaning=(
            "The weights lie on equally spaced levels: the layer was quantised and written back "
            "as floating-point numbers. Low bit widths cost accuracy, although the file looks "
            "like full precision. The scheme (Q4_0, Q4_K, int4 symmetric) is identified by its "
            "block size, its levels and its scales."
        ),
        test=(
            "Null hypothesis: the entries of a unit (tensor, row, column, group of 16 to 256) "
            "have a smooth density. Under the null hypothesis, an entry lies within its rounding "
            "error t of one of the levels, which are s apart, with probability 2t/s. All entries "
            "must lie that close, and the product of the probabilities must be less than "
            "exp(-50). There are at most 257 levels. Blocks of 128 x 128 are tested as units "
            "too. K-quants are recognised by Rayleigh's test that the scales within 256 weights "
            "are integer multiples of one number."
        ),
        calibration=(
            "No false alarm in 552 layers of 16 healthy checkpoints, nor in bfloat16 or fp8 "
            "copies of them. For quantisation to 2 to 8 bits by tensor, row, column or group, "
            "symmetric or not, stored as float32, float16 or bfloat16, the bit width and the "
            "unit are identified correctly except in the cases under Limits (4 bits by row or "
            "tensor and 2 bits by row: 113 of 113 transformer layers)."
        ),
        limits=(
            "A grid of 8 bits in groups of 32 or fewer, stored as bfloat16, is hidden by the "
            "rounding of bfloat16. A per-tensor grid that one very large entry makes so coarse "
            "that fewer than about 10 entries are not zero cannot be distinguished from pruning. "
            "Code books (NF4, k-means) are reported as RA-FO-021; layers stored as fp8 are not "
            "tested. The name is that of one scheme that produces such numbers; schemes that "
            "produce the same numbers cannot be distinguished (Q4_1, and affine int4 with "
            "float16 scales and minima in blocks of 32)."
        ),
        action=(
            "Audit the unquantised model if there is one. If the quantisation was intended, "
            "distribute the model in a quantised format."
        ),
    ),
    FindingKind(
        code="RA-FO-003",
        title="rounded to a narrower float",
        fact="info",
        levels=(),
        meaning=(
            "Every weight can be represented exactly in a narrower floating-point format: the "
            "file is larger than its contents require."
        ),
        test=(
            "All entries are unchanged by a conversion to the narrower format and back, and at "
            "least 24 of them are distinct. An arbitrary float32 number is representable in "
            "bfloat16 with probability 2⁻¹⁶."
        ),
        calibration=(
            "This is a fact about the stored numbers. It occurs once in 552 healthy layers: in "
            "the pooler of all-MiniLM-L6-v2, which was never trained and still holds float16 "
            "values."
        ),
        limits="Products of fp8 numbers and a scale are reported as RA-FO-021.",
        action=(
            "Nothing needs to be done. If all layers have this finding, the model can be "
            "stored in that format without loss."
        ),
    ),
    FindingKind(
        code="RA-FO-004",
        title="sparse",
        fact="warning",
        levels=(),
        meaning=(
            "A substantial share of the weights is exactly zero: the layer was pruned, or "
            "has zeros by design."
        ),
        test=(
            "Outside dead rows and columns, at least 1 % of the entries are exactly zero, and "
            "more than twice as many as rounding to a coarse floating-point format produces. N:M "
            "patterns are searched for along rows and columns. In a quantised layer (RA-FO-002), "
            "zero is one of the levels: there, at least 30 % of the entries must be zero, and "
            "the grid must have at least 5 bits."
        ),
        calibration=(
            "Occurs once in 552 healthy layers: in the fixed Fourier basis of a Silero VAD, "
            "which has 2.6 % zeros by construction. Magnitude pruning of 50 % is detected in 113 "
            "of 113 transformer layers, with the correct share."
        ),
        limits=(
            "Fewer zeros than 1 % are not reported, nor fewer than 30 % in fp8, whose rounding "
            "itself produces zeros. Pruning before quantisation to 4 bits or fewer cannot be "
            "distinguished from the zero level of the grid, unless it follows a pattern."
        ),
        action=(
            "If the pruning was intended, store the layer in a sparse format; otherwise, "
            "compare with the original."
        ),
    ),
    FindingKind(
        code="RA-FO-005",
        title="dead rows or columns",
        fact="warning",
        levels=(),
        meaning=(
            "Whole outputs (rows) or inputs (columns) of the layer are negligible: they were "
            "pruned, are broken, or belong to dead units."
        ),
        test=(
            "The root mean square of the row or column is at most 1e-6 of the matrix's. Complete "
            "aligned blocks of 16 to 128 rows or columns, as pruned attention heads leave them, "
            "are reported as blocks."
        ),
        calibration=(
            "This is a fact about the stored numbers, and common in healthy models: 41 to 53 "
            "layers of each of three EfficientNets have dead channels. No healthy layer that was "
            "measured has more than half of its rows or columns dead."
        ),
        limits="A row that decayed to 1e-5 of the others is not reported as dead.",
        action=(
            "A dead output can be removed. Many dead outputs indicate damage, or a learning rate "
            "that was too high."
        ),
    ),
    FindingKind(
        code="RA-FO-006",
        title="entries outside the tail",
        fact=None,
        levels=CALIBRATED,
        meaning=(
            "One or a few weights are far larger than the distribution of the layer's other "
            "weights explains: either a corrupted number, or a genuine super weight, which must "
            "not be quantised or pruned."
        ),
        test=(
            "Null hypothesis: above some threshold |w| is Pareto or lighter. The scaled "
            "log-spacings of the largest entries (up to 4) are compared with those of the next "
            "100 by an exact F test (Rényi, Hill). The p-value is raised to the power 0.6, which "
            "calibrates it on healthy trained layers."
        ),
        calibration=(
            "Of 548 healthy layers, 0.18 % have p <= 0.002 and none has p <= 0.001 (before the "
            "p-value is raised to the power: 0.73 % have p <= 0.01). The smallest p-value, "
            "0.0017, belongs to the super weights of MiniLM's encoder.layer.2.output.dense."
        ),
        limits=(
            "In a layer whose entries are heavy-tailed, even an entry ten times as large as any "
            "other may go undetected: see RA-FO-014. The power 0.6 was fitted on the same layers "
            "as the table. Layers stored as fp8 are not tested."
        ),
        action=(
            "Check the position given in the evidence. Compare with the original, or with the "
            "same layer of a related model."
        ),
    ),
    FindingKind(
        code="RA-FO-007",
        title="copied rows or columns",
        fact="warning",
        levels=(),
        meaning=(
            "Rows (outputs) or columns (inputs) are exact copies of one another: a failed merge, "
            "a layer that was enlarged, or units whose weights never diverged."
        ),
        test=(
            "The rows are equal in every bit, and not by chance: if the entries were drawn "
            "independently from the layer's own values, fewer than 1e-6 equal pairs would be "
            "expected."
        ),
        calibration="No occurrence in 552 layers of 16 healthy checkpoints.",
        limits=(
            "Copies that differ by rounding or by a scale are not detected. Copied layers are "
            "reported as RA-MO-001."
        ),
        action=(
            "Rows that were added to an embedding as copies are normal before fine-tuning; check "
            "anything else."
        ),
        milder="It is for information in an embedding.",
    ),
    FindingKind(
        code="RA-FO-008",
        title="constant",
        fact="warning",
        levels=(),
        meaning="Every weight has the same value: the layer was never initialised or was overwritten.",
        test="The smallest and the largest entry are equal, and not zero.",
        calibration="No occurrence in 552 layers of 16 healthy checkpoints.",
        limits="An averaging kernel is constant by design.",
        action="Restore the layer.",
    ),
    FindingKind(
        code="RA-FO-009",
        title="beyond float16",
        fact="warning",
        levels=(),
        meaning="Converted to float16, some weights become infinite, or most become zero.",
        test=("Some |w| > 65504, or more than half of the nonzero weights have |w| <= 2⁻²⁵."),
        calibration="No occurrence in 552 layers of 16 healthy checkpoints.",
        limits="The finding says nothing about activations, which overflow more often.",
        action="Use bfloat16 or float32, or rescale the layer.",
        milder=(
            "It is for information where weights become zero, because a branch whose scale "
            "decayed contributes little anyway."
        ),
    ),
    FindingKind(
        code="RA-FO-010",
        title="denormals",
        fact="info",
        levels=(),
        meaning=(
            "Weights below the smallest normal number of float32, bfloat16 or float64: weight "
            "decay acted without a gradient, as it does in dead units. Arithmetic with such "
            "numbers is slow on some processors."
        ),
        test="0 < |w| < smallest normal number of the stored dtype.",
        calibration="No occurrence in 552 layers of 16 healthy checkpoints.",
        limits="Not reported for float16 and fp8, where healthy layers have them.",
        action="Set them to zero, and check for dead units.",
    ),
    FindingKind(
        code="RA-FO-011",
        title="looks freshly initialised",
        fact="info",
        levels=(),
        meaning=(
            "The layer cannot be distinguished from a freshly initialised one: it was never "
            "trained, is not used, was reset, or was loaded under a wrong name. Its signal is "
            "`initial`, with the name of the initialisation."
        ),
        test=(
            "Random signs and random order are plausible (p above 0.001 each), the smaller side "
            "is at least 48, and a normal, uniform or truncated normal distribution of the "
            "entries is not rejected at 0.001; an added identity, zeros, and scales of blocks "
            "are removed first. Alternatively, for layers of any size: all singular values are "
            "equal up to rounding (orthogonal, Hadamard, cosine transform), possibly within "
            "blocks or after scaling blocks, or the layer is a multiple of an identity or of a "
            "Dirac kernel. The scale is compared with those of common initialisations."
        ),
        calibration="See docs/calibration.md, Signal.",
        limits=(
            "That the null hypothesis is not rejected does not prove it: a layer that was "
            "trained little cannot be distinguished from its initialisation. A shuffled layer "
            "whose entries are nearly normal looks the same."
        ),
        action="If the layer is in use, check the training and the names in the checkpoint.",
    ),
    FindingKind(
        code="RA-FO-012",
        title="looks shuffled",
        fact="warning",
        levels=(),
        meaning=(
            "The weights are in random order, but follow a distribution that no known "
            "initialisation has: the layer was permuted, read with a wrong layout, or "
            "initialised in a way that rmtaudit does not know."
        ),
        test=(
            "Neither random signs nor random order is rejected at 0.01, and the distribution of "
            "every known initialisation is rejected at 0.001, with a Kolmogorov-Smirnov distance "
            "of at least 0.005. The smaller side is at least 64, and the layer is not quantised, "
            "not stored as fp8, and not mostly zeros."
        ),
        calibration="See docs/calibration.md, Signal.",
        limits=(
            "That random signs and order are not rejected does not prove them. A permutation of "
            "whole rows or columns does not change the result, and layers whose entries are near "
            "normal look freshly initialised when shuffled."
        ),
        action=("Check how the tensor was converted: its shape, the order of its axes, and its packing."),
    ),
    FindingKind(
        code="RA-FO-013",
        title="embedding padding",
        fact="info",
        levels=(),
        meaning=(
            "One row of an embedding, among the first four or the last, is zero: usually that of "
            "the padding token."
        ),
        test="The test is that of RA-FO-005, for embeddings with a single dead row.",
        calibration=(
            "This is a fact about the stored numbers. It occurs in 3 embeddings of 2 healthy checkpoints."
        ),
        limits="A damaged row at one of these positions looks the same.",
        action="Nothing needs to be done.",
    ),
    FindingKind(
        code="RA-FO-014",
        title="one entry dominates the layer",
        fact="warning",
        levels=(),
        meaning=(
            "A single weight holds at least a quarter of the layer's squared norm: the layer "
            "does little more than multiply one input by this weight. It is either a corrupted "
            "number, or a genuine outlier, which makes quantisation fail."
        ),
        test=(
            "w² / Σw² >= 0.25, in layers of at least 1024 entries. The evidence holds the "
            "singular value that the entry dominates, and the inverse participation ratio of its "
            "singular vector."
        ),
        calibration=(
            "Occurs once in 552 healthy layers, correctly: in conv4 of a Silero VAD, one weight "
            "of 36.7, 130 times the root mean square, holds 69 % of the squared norm. One entry "
            "set to 40 in any matrix of two transformers is detected by this finding or by "
            "RA-FO-006."
        ),
        limits=(
            "Two very large entries of similar size may hold less than a quarter each; "
            "RA-FO-006 detects those."
        ),
        action="Compare the value with the original, or with the same layer of a related model.",
    ),
)
