"""What a claim says: a cast, a quantisation, an applied adapter, a merge."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from rmtaudit.errors import UsageError


@dataclass(frozen=True, slots=True)
class CastClaim:
    """The base rounded to a dtype, by torch's name."""

    dtype: str


@dataclass(frozen=True, slots=True)
class QuantisedClaim:
    """The base quantised: the name of the scheme, and the words one of which a tensor's scheme must have."""

    name: str
    schemes: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Schemes that some tensors have besides, as programs choose them for a file of this kind."""


@dataclass(frozen=True, slots=True)
class AdapterClaim:
    """The base with an adapter merged into it, times a further scale."""

    path: str
    scale: float | None


@dataclass(frozen=True, slots=True)
class MergeClaim:
    """A weighted sum of models: coefficients and paths."""

    terms: tuple[tuple[float, str], ...]


Claim = CastClaim | QuantisedClaim | AdapterClaim | MergeClaim

_CASTS = {
    "bf16": "bfloat16", "bfloat16": "bfloat16", "fp16": "float16", "f16": "float16", "float16": "float16",
    "half": "float16", "fp32": "float32", "f32": "float32", "float32": "float32",
}  # fmt: skip
_FALLBACKS = ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL")
"""What llama.cpp takes for rows that are no multiple of 256 (``tensor_type_fallback``)."""

_HIGHER = {
    "Q2_K": ("Q3_K", "Q4_K", "Q5_K", "Q6_K"), "Q3_K": ("Q4_K", "Q5_K", "Q6_K"), "Q4_K": ("Q5_K", "Q6_K"),
    "Q5_K": ("Q6_K",), "Q6_K": (), "IQ4_XS": ("Q5_K", "Q6_K"), "IQ4_NL": ("Q5_K", "Q6_K"), "Q8_0": (),
    "Q4_0": ("Q4_1", "Q4_K", "Q5_K", "Q6_K"), "Q4_1": ("Q5_1", "Q5_K", "Q6_K"), "Q5_0": ("Q5_K", "Q6_K"),
    "Q5_1": ("Q6_K",), "MXFP4": (), "NVFP4": (),
}  # fmt: skip
"""Types that llama.cpp mixes into a file of a type for some of its tensors (``llama_tensor_get_type``)."""

_SCHEMES = {
    "gptq": ("GPTQ",), "awq": ("AWQ",), "int8": ("int8",), "int4": ("int4",), "fp8": ("fp8", "float8"),
    "nf4": ("NF4",), "fp4": ("FP4", "NVFP4", "MXFP4"), "mxfp4": ("MXFP4",), "nvfp4": ("NVFP4",),
    "mxfp8": ("mxfp8", "MXFP8"), "hqq": ("HQQ",),
}  # fmt: skip
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_TERM = re.compile(rf"\s*(?P<value>{_NUMBER})\s*[* ]\s*(?P<path>.+?)\s*", re.IGNORECASE)
_SCALED = re.compile(rf"(?P<path>.+)@(?P<scale>{_NUMBER})", re.IGNORECASE)


def parse_claim(text: str) -> Claim:
    """Return what a claim says.

    ``Q4_K_M of BASE``, ``bf16 of BASE``, ``lora:ADAPTER``, ``lora:ADAPTER@0.5``, ``merge: .5 A + .5 B``; what
    follows ``of`` is for the reader. A ``+`` in a path of a merge must not stand between spaces.

    Raises
    ------
    UsageError
        RA-US-812: it says none of these.
    """
    kind, colon, rest = text.strip().partition(":")
    if colon and kind.strip().lower() == "lora" and rest.strip():
        scaled = _SCALED.fullmatch(rest.strip())
        if scaled:
            return AdapterClaim(scaled["path"].strip(), float(scaled["scale"]))
        return AdapterClaim(rest.strip(), None)
    if colon and kind.strip().lower() == "merge":
        terms = [_TERM.fullmatch(part) for part in re.split(r"\s\+\s", rest)]
        values = [(float(term["value"]), term["path"]) for term in terms if term]
        if len(values) == len(terms) and all(math.isfinite(value) for value, _ in values):
            return MergeClaim(tuple(values))
        raise _unknown(text)
    name = re.split(r"\s+of\s+|\s+of$", text.strip(), maxsplit=1)[0].strip()
    if name.lower() in _CASTS:
        return CastClaim(_CASTS[name.lower()])
    upper = re.sub(r"_(S|M|L|XL|XS)$", "", name.upper()) if "_K" in name.upper() else name.upper()
    if upper in _HIGHER:
        return QuantisedClaim(name, (upper,), (*_HIGHER[upper], *_FALLBACKS))
    if name.lower() in _SCHEMES:
        return QuantisedClaim(name, _SCHEMES[name.lower()])
    raise _unknown(text)


def _unknown(text: str) -> UsageError:
    known = ", ".join((*sorted(_HIGHER), *sorted(_SCHEMES), *sorted(_CASTS)))
    return UsageError(
        "RA-US-812",
        f"The claim {text!r} cannot be understood.",
        hint=(
            "Write 'Q4_K_M of BASE', 'bf16 of BASE', 'lora:ADAPTER', 'lora:ADAPTER@0.5' or "
            f"'merge: .5 A + .5 B'. Names: {known}."
        ),
    )
