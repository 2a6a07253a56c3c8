"""What a tensor's name and its neighbours say about its role: conventions of the common frameworks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rmtaudit.matrices.tensors import TensorSpec

_EMBEDDING = re.compile(
    r"(^|[_.:/])(wte|wpe|[a-z]*_?embed(ding)?s?(_(tokens|positions|in|out|table|weight))?_?\d*)"
    r"(\.(weight|embedding|kernel))?$",
    re.IGNORECASE,
)
_BUFFER = re.compile(
    r"(^|[._])(masked_bias|attn_mask|causal_mask|mask|inv_freq|cos_cached|sin_cached|freqs_cis|running_mean"
    r"|running_var|num_batches_tracked|position_ids|relative_position_index|relative_coords_table)$"
)
_INDEX = re.compile(
    r"(^|[._/])(\w+_)?(ind(ex|ices|exes)|idx|ids?|positions?|perm(utation)?|offsets?|lookup|vocab)(_\w+)?$",
    re.IGNORECASE,
)
_CAUSAL_BIAS = re.compile(r"(^|\.)(attn|attention|self_attn)\.bias$")
_IN_PROJECTION = re.compile(r"(^|[._])in_proj_weight$")
_RECURRENT = re.compile(r"(^|\.)weight_(?P<side>ih|hh)(?P<suffix>(_l\d+)?(_reverse)?)$")
_EXPERTS = re.compile(r"(^|[._])(experts?|exps)([._]|$)", re.IGNORECASE)
_CONVOLUTION = re.compile(r"conv|cnn|stft|patch_embed|downsample|upsample", re.IGNORECASE)
_TRANSPOSED = re.compile(r"conv_?t(ranspose)?(\d|\.|_|$)|deconv|conv_?transpose", re.IGNORECASE)

_SEPARATORS = re.compile(r"([./:])")
_DIGITS = re.compile(r"\d+")
_LEAVES = frozenset(
    {"weight", "kernel", "embedding", "weight_v", "weight_orig", "original", "original1", "default"}
)

GATES = {3: ("r", "z", "n"), 4: ("i", "f", "g", "o")}
"""Names of the stacked gates in PyTorch's order: GRU and LSTM."""


def role(name: str) -> str:
    """Return the name without the numbers that count blocks: equal for layers that do the same in each.

    ``layers.3.mixer.A_log`` has the role ``layers.#.mixer.A_log``, ``layer2.0.conv1.weight`` the role
    ``layer#.#.conv1.weight``: the number in the name of the module itself tells the layers of a block apart.
    """
    parts = _SEPARATORS.split(name)
    places = [index for index in range(0, len(parts), 2) if parts[index].lower() not in _LEAVES]
    module = places[-1] if places else -1
    return "".join(
        part
        if index % 2
        else ("#" if part.isdigit() else part if index >= module else _DIGITS.sub("#", part))
        for index, part in enumerate(parts)
    )


def is_embedding(name: str) -> bool:
    """Whether the name is that of an embedding table."""
    return bool(_EMBEDDING.search(name))


def is_buffer(spec: TensorSpec) -> bool:
    """Whether the tensor is a constant of the architecture (mask, table, statistic), not a weight."""
    causal = len(spec.shape) == 4 and spec.shape[0] == 1 and spec.shape[-1] == spec.shape[-2]
    return bool(_BUFFER.search(spec.name)) or (causal and bool(_CAUSAL_BIAS.search(spec.name)))


def is_index(spec: TensorSpec) -> bool:
    """Whether the tensor holds indices or counts: 64-bit integers, or integers whose name says so."""
    return "int" in spec.dtype and ("64" in spec.dtype or bool(_INDEX.search(spec.name)))


def is_in_projection(spec: TensorSpec) -> bool:
    """Whether the tensor stacks the query, key and value projections of ``torch.nn.MultiheadAttention``."""
    return (
        bool(_IN_PROJECTION.search(spec.name)) and len(spec.shape) == 2 and spec.shape[0] == 3 * spec.shape[1]
    )


def names_experts(name: str) -> bool:
    """Whether the name says that the tensor stacks the experts of a mixture."""
    return bool(_EXPERTS.search(name))


def names_convolution(name: str) -> bool:
    """Whether the name says convolution."""
    return bool(_CONVOLUTION.search(name))


def names_transposed_convolution(name: str) -> bool:
    """Whether the name says transposed convolution, stored (in, out, …)."""
    return bool(_TRANSPOSED.search(name))


def gate_count(spec: TensorSpec, by_name: Mapping[str, TensorSpec]) -> int | None:
    """Return the number of gates stacked in a recurrent weight; ``None`` if the tensor is not recurrent.

    The count is the ratio of rows to columns of the hidden-to-hidden weight (PyTorch's layout, without a
    projection); 1 where that is not a known cell.
    """
    match = _RECURRENT.search(spec.name)
    if match is None or len(spec.shape) != 2:
        return None
    hidden = by_name.get(f"{spec.name[: match.start('side')]}hh{match['suffix']}")
    if hidden is None or len(hidden.shape) != 2 or hidden.shape[0] != spec.shape[0] or not hidden.shape[1]:
        return 1
    gates, rest = divmod(hidden.shape[0], hidden.shape[1])
    return gates if rest == 0 and gates in GATES else 1
