"""Names that differ in the numbers between dots alone, which say the same of their tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_NUMBER = re.compile(r"\.\d+(?=\.)")
_RECURRENT = re.compile(r"(^|\.)weight_(ih|hh)")
"""Names of the weights of recurrent layers, whose number of gates the hidden-to-hidden weight gives."""

_BIAS = re.compile(r"(^|[./])bias$", re.IGNORECASE)
_FACTORS = ("lora", "dora", "hada_", "lokr_", ":down", ":up")
"""One of these is in every name of a factor of an adapter, in lower case."""


def name_forms(names: Collection[str]) -> list[str]:
    """Return each name with 0 in place of every number that stands between two dots.

    >>> name_forms(["layers.3.mlp.experts.11.w1.weight"])
    ['layers.0.mlp.experts.0.w1.weight']
    """
    forms = _NUMBER.sub(".0", "\n".join(names)).split(
        "\n"
    )  # in one go: a call for each takes ten times as long
    if len(forms) != len(names):  # a name holds the end of a line, or there is none
        forms = [_NUMBER.sub(".0", name) for name in names]
    return forms


def decides_alone(form: str, sides: int) -> bool:
    """Whether the form of a name, the shape and the dtype decide what a tensor without a role is.

    Parameters
    ----------
    form
        Of :func:`name_forms`.
    sides
        Number of sides: the order of three and more depends on the tensors beside, and so does whether a
        bias of two is one of several heads.
    """
    return sides < 2 or (sides == 2 and _RECURRENT.search(form) is None and _BIAS.search(form) is None)


def may_name_factors(names: Iterable[str]) -> bool:
    """Whether one of the names can be that of a factor of an adapter."""
    text = "\n".join(names).lower()
    return any(word in text for word in _FACTORS)
