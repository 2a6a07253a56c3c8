"""The sides of projections of a transformer that ``config.json`` states: those of the residual stream.

The names are those of Llama and its kin in ``transformers``. Encoders of images and sound have sizes of
their own, and attention to another model takes its inputs: neither is stated here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FROM_STREAM = re.compile(
    r"\.(self_attn\.)?(q_proj|k_proj|v_proj|qkv_proj|gate_proj|up_proj|gate_up_proj)\.weight$"
)
_TO_STREAM = re.compile(r"\.(self_attn\.o_proj|mlp\.down_proj)\.weight$")
_ELSEWHERE = re.compile(r"vision|visual|image|audio|cross|encoder|perceiver|connector", re.IGNORECASE)


def stated_inputs(weight: str, config: Mapping[str, Any]) -> int | None:
    """Return the number of columns of a weight by its name; ``None`` where nothing states it.

    >>> stated_inputs("model.layers.0.self_attn.q_proj.weight", {"hidden_size": 64})
    64
    """
    return _hidden_size(config) if _is_of(_FROM_STREAM, weight) else None


def stated_outputs(weight: str, config: Mapping[str, Any]) -> int | None:
    """Return the number of rows of a weight by its name; ``None`` where nothing states it."""
    return _hidden_size(config) if _is_of(_TO_STREAM, weight) else None


def _is_of(pattern: re.Pattern[str], weight: str) -> bool:
    return bool(pattern.search(f".{weight}")) and _ELSEWHERE.search(weight) is None


def _hidden_size(config: Mapping[str, Any]) -> int | None:
    """Return the width of the residual stream, where all that the configuration says of it agrees."""
    nested = config.get("text_config")
    sizes = {
        size
        for table in (config, nested if isinstance(nested, Mapping) else {})
        if type(size := table.get("hidden_size")) is int and 0 < size <= 1 << 24
    }
    return sizes.pop() if len(sizes) == 1 else None
