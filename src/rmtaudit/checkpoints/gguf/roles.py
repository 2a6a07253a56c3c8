"""What the names of llama.cpp say of a tensor (``gguf-py/gguf/constants.py``, ``TENSOR_NAMES``).

With its sides outermost first a weight is (outputs, inputs), as in PyTorch, so that most tensors need no
role. The ones below do not mean what their names and shapes suggest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rmtaudit.checkpoints.gguf.header import Fact
from rmtaudit.matrices.tensors import Role, Use

_EMBEDDING = re.compile(
    r"(^|\.)((per_layer_)?token_embd|token_types|(v\.)?position_embd|pos_embd|codebook)\.weight$"
)
_CONVOLUTION = re.compile(r"(^|\.)(ssm_conv1d|shortconv\.conv)\.weight$")
_FREQUENCIES = re.compile(r"(^|\.)rope_(freqs|factors_(long|short))(\.weight)?$")
_BIAS = re.compile(r"\.bias$")
_SCALE = re.compile(r"\.(input_)?scale$")
_ANY = re.compile(r"embd|token_types|codebook|conv|rope_|attn_qkv|bias$|scale$")
_FUSED = re.compile(r"(^|\.)attn_qkv\.weight$")
_IMATRIX = "imatrix"


def role_of(name: str, shape: tuple[int, ...], facts: Mapping[str, Fact]) -> Role | None:
    """Return the role of a tensor; ``None`` where its name and shape say enough.

    Parameters
    ----------
    name, shape
        As in the header, outermost side first.
    facts
        The facts of the header.
    """
    if facts.get("general.type") == _IMATRIX:
        return _none("statistic of activations (importance matrix)")
    if _ANY.search(name) is None:  # most names: this runs for each of up to a million tensors
        return None
    if _SCALE.search(name):
        return _none("scale of a quantised weight")
    if _FREQUENCIES.search(name):
        return _none("frequencies of the rotary embedding")
    if len(shape) > 1 and _BIAS.search(name):
        return _none("biases of stacked layers")
    if len(shape) != 2:
        return None
    if _EMBEDDING.search(name):
        return Role(use=Use.EMBEDDING, axes="OI")
    if _CONVOLUTION.search(name):
        return Role(use=Use.CONVOLUTION, axes="OW")
    if _FUSED.search(name):
        parts = _heads(shape[0], facts)
        return Role(use=Use.ATTENTION, axes="OI", parts=parts) if parts else None
    return None


def _none(reason: str) -> Role:
    return Role(use=Use.NONE, reason=reason)


def _heads(rows: int, facts: Mapping[str, Fact]) -> tuple[tuple[str, int, int], ...]:
    """Return the rows of query, key and value in a fused projection; empty where the facts do not say.

    The converters of llama.cpp put them one after another, also where the model interleaves them.
    """
    architecture = facts.get("general.architecture")
    if facts.get("split.count", 1) != 1:
        return ()  # only the first part of a model has its facts: all parts are treated alike

    def fact(key: str) -> int | None:
        value = facts.get(f"{architecture}.{key}")
        return value if type(value) is int and value > 0 else None

    heads, width = fact("attention.head_count"), fact("embedding_length")
    if heads is None or width is None:
        return ()
    groups = fact("attention.head_count_kv") or heads
    key = fact("attention.key_length") or width // heads
    value = fact("attention.value_length") or width // heads
    ends = (heads * key, heads * key + groups * key, heads * key + groups * (key + value))
    if ends[2] != rows:
        return ()
    return (("q", 0, ends[0]), ("k", ends[0], ends[1]), ("v", ends[1], ends[2]))
