"""By how much the update of an adapter is scaled: a stored alpha, or what its configuration states."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

GGUF_ALPHA = "adapter.lora.alpha"
"""The fact of a GGUF adapter (llama.cpp, ``src/llama-adapter.cpp``)."""

KOHYA_ALPHA, KOHYA_RANK, KOHYA_ARGUMENTS = "ss_network_alpha", "ss_network_dim", "ss_network_args"
"""The metadata of kohya's training scripts, all of them texts."""

_PREFIX = "base_model.model."
_LITERAL = re.compile(r"\^?(?P<name>(?:[\w\-]|\\?\.)+)\$?")
"""A pattern that is a name: its dots, escaped or not, stand for dots."""

_LARGEST = 1e9


@dataclass(frozen=True, slots=True)
class Scale:
    """The factor before an update.

    Attributes
    ----------
    factor
        The number, apart from a stored alpha.
    words
        How it comes about, for the view of the row; ``"unscaled"`` where nothing states it.
    times_alpha
        Whether it is multiplied by the stored alpha.
    stated
        Whether something states it; where nothing does, ``factor`` is 1 for want of a better one.
    """

    factor: float
    words: str
    times_alpha: bool = False
    stated: bool = True


UNSCALED = Scale(1.0, "unscaled", stated=False)


def by_stored_alpha(rank: int | None) -> Scale:
    """Return what a stored alpha is multiplied with: one over the rank (kohya, LyCORIS)."""
    if rank is None:  # LyCORIS does not scale a product of two whole matrices
        return Scale(1.0, "unscaled, because both of its matrices are complete")
    return Scale(1 / rank, f"scaled by its alpha/{rank}", times_alpha=True)


def stated_scale(config: Mapping[str, Any], stem: str, rank: int) -> Scale:
    """Return the scale of the update of a module by its ``adapter_config.json``.

    PEFT states ``lora_alpha`` and ``r``, with exceptions for modules in ``alpha_pattern`` and
    ``rank_pattern``, and scales by alpha/r, or by alpha/sqrt(r) with ``use_rslora`` (Kalajdzievski 2023). MLX
    states the factor itself, ``lora_parameters.scale``. Where the file contradicts the tensors, or its
    patterns are more than names, the update is left unscaled, and the words say so. The header of a GGUF file
    states ``adapter.lora.alpha``, and kohya's scripts note ``ss_network_alpha`` and ``ss_network_dim``
    (:func:`scale_facts`).

    Parameters
    ----------
    config
        The content of the file: not trusted.
    stem
        Name of the module, with or without the prefix of PEFT.
    rank
        Rank of the stored factors.
    """
    if GGUF_ALPHA in config:
        return _by_alpha(config[GGUF_ALPHA], rank, "the alpha of the file")
    if KOHYA_ALPHA in config:
        return _by_kohya(config, rank)
    mlx = config.get("lora_parameters")
    factor = mlx.get("scale") if isinstance(mlx, Mapping) else None
    if _is_number(factor):
        return Scale(factor, f"scaled by {factor:g}")
    module = stem.removeprefix(_PREFIX)
    alpha, alpha_clear = _of_module(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    stated, rank_clear = _of_module(config.get("rank_pattern"), module, config.get("r"))
    if not _is_number(alpha) or not _is_number(stated):
        return UNSCALED
    if not (alpha_clear and rank_clear):
        return Scale(1.0, "unscaled: adapter_config.json has patterns that are not names", stated=False)
    if stated != rank:
        return Scale(1.0, f"unscaled: adapter_config.json states the rank {stated:g}", stated=False)
    if config.get("use_rslora") is True:
        return Scale(alpha / math.sqrt(rank), f"scaled by alpha/sqrt(r) = {alpha:g}/sqrt({rank})")
    return Scale(alpha / rank, f"scaled by alpha/r = {alpha:g}/{rank}")


def scale_facts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the header of a file states of the scale of its updates, under the names that it has there.

    Parameters
    ----------
    metadata
        The metadata of a GGUF or a safetensors file: not trusted.
    """
    names = (GGUF_ALPHA,) if GGUF_ALPHA in metadata else (KOHYA_ALPHA, KOHYA_RANK, KOHYA_ARGUMENTS)
    return {name: metadata[name] for name in names if name in metadata and names[0] in metadata}


def _by_kohya(config: Mapping[str, Any], rank: int) -> Scale:
    """Return the scale by the metadata of kohya, whose alpha is for updates of the rank that it states.

    Those of convolutions may have an alpha of their own, in ``ss_network_args``.
    """
    alphas = {_number(config.get(KOHYA_RANK)): _number(config[KOHYA_ALPHA])}
    try:
        arguments = json.loads(config.get(KOHYA_ARGUMENTS) or "{}")
    except (ValueError, TypeError, RecursionError):
        arguments = {}
    if isinstance(arguments, dict) and arguments.get("conv_dim") is not None:
        dim, alpha = _number(arguments["conv_dim"]), _number(arguments.get("conv_alpha", 1))
        if alphas.get(dim, alpha) != alpha:  # one rank with two alphas
            return UNSCALED
        alphas[dim] = alpha
    alpha = alphas.get(float(rank))
    return UNSCALED if alpha is None else _by_alpha(alpha, rank, KOHYA_ALPHA)


def _by_alpha(alpha: Any, rank: int, source: str) -> Scale:
    """Return alpha over the rank; without an alpha, or with 0, both programs take the rank for it."""
    if not _is_number(alpha):
        return UNSCALED
    if not alpha:
        return Scale(1.0, f"unscaled, as {source} is 0")
    return Scale(alpha / rank, f"scaled by {source}/r = {alpha:g}/{rank}")


def _number(text: Any) -> float | None:
    """Return a number that is stored as a text; ``None`` for anything else."""
    try:
        value = float(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return value if _is_number(value) else None


def _of_module(patterns: Any, module: str, default: Any) -> tuple[Any, bool]:
    """Return the value of a module, and whether all patterns before the one that fits are names."""
    for pattern, value in patterns.items() if isinstance(patterns, Mapping) else ():
        literal = _LITERAL.fullmatch(str(pattern))
        if literal is None:
            return default, False
        name = literal["name"].replace("\\.", ".")
        if module == name or (not str(pattern).startswith("^") and module.endswith(f".{name}")):
            return value, True
    return default, True


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST
