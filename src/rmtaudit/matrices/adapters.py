"""Low-rank adapters: which tensors together are the update of one module, in any spelling.

A LoRA update is the product of two factors, LoHa the entrywise product of two such products, LoKr a
Kronecker product (Hu et al. 2021; Hyeon-Woo et al. 2021; Yeh et al. 2023, LyCORIS).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from rmtaudit.matrices.forms import may_name_factors
from rmtaudit.matrices.tensors import FLOATING, TensorSpec, Use


class Method(Enum):
    """How the update is made of its factors."""

    LORA = "LoRA"
    LOHA = "LoHa"
    LOKR = "LoKr"


class Part(Enum):
    """What a tensor is in the update of a module."""

    DOWN = "down"
    UP = "up"
    CORE = "core"
    HADA_1A = "hada_w1_a"
    HADA_1B = "hada_w1_b"
    HADA_1T = "hada_t1"
    HADA_2A = "hada_w2_a"
    HADA_2B = "hada_w2_b"
    HADA_2T = "hada_t2"
    KRON_1 = "lokr_w1"
    KRON_1A = "lokr_w1_a"
    KRON_1B = "lokr_w1_b"
    KRON_2 = "lokr_w2"
    KRON_2A = "lokr_w2_a"
    KRON_2B = "lokr_w2_b"
    KRON_2T = "lokr_t2"
    ALPHA = "alpha"
    MAGNITUDE = "magnitude"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The tensors of one update.

    Attributes
    ----------
    stem
        Name of the module that is updated, as far as the names of the factors give it.
    label
        What tells several adapters of one module apart; empty for the only one.
    method
        How the factors make the update.
    parts
        The tensors by their part, factors first.
    transposed
        Whether factors that fit both ways are taken as inputs x rank, rank x outputs (the spelling of MLX).
    embedding
        Whether the module is an embedding: its weight is the transpose of the product.
    by_convention
        Whether the spelling is one whose programs apply an update as it is where no alpha is stored: down/up
        (kohya, diffusers) and the names of LyCORIS.
    """

    stem: str
    label: str
    method: Method
    parts: Mapping[Part, TensorSpec]
    transposed: bool = False
    embedding: bool = False
    by_convention: bool = False

    @property
    def name(self) -> str:
        """The name of the row in the report."""
        return f"{self.stem}#{self.label}" if self.label else self.stem


_TOKEN = re.compile(r"[^._:/]+")
_ADAPTER_WORD = re.compile(r"(?:lo|do)ra\d*", re.IGNORECASE)
_SIDES = {
    "a": ("a/b", Part.DOWN), "b": ("a/b", Part.UP),
    "down": ("down/up", Part.DOWN), "up": ("down/up", Part.UP),
    "mid": ("down/up", Part.CORE), "t1": ("down/up", Part.CORE), "t2": ("down/up", Part.CORE),
    "in": ("in/out", Part.DOWN), "out": ("in/out", Part.UP),
    "right": ("right/left", Part.DOWN), "left": ("right/left", Part.UP),
}  # fmt: skip
"""The words for the two factors: which pair of words, and which factor meets the input first."""

_BETWEEN = frozenset({"embedding", "linear", "layer", "layers", "weight", "w"})
"""Words that may stand between ``lora`` and the word of the factor: ``lora_linear_layer.down``."""

_BARE = re.compile(r"(?P<stem>.*):(?P<side>down|up)")
_NAMED = re.compile(
    r"(?P<stem>.*)\.(?P<part>hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))(?P<rest>(?:\..*)?)"
)
_ALPHAS = ("{stem}.alpha", "{stem}.lora_alpha{rest}", "{stem}.lora_alpha", "{stem}.lora.alpha")
_MAGNITUDES = (
    "{stem}.lora_magnitude_vector{rest}", "{stem}.lora_magnitude_vector", "{stem}.dora_scale",
    "{stem}.lora_magnitude{rest}", "{stem}.magnitude", "{stem}.m",
)  # fmt: skip
"""PEFT, kohya and LyCORIS, torchtune, MLX."""

_COMPLETE = (
    (Method.LORA, ({Part.DOWN}, {Part.UP})),
    (Method.LOHA, ({Part.HADA_1A}, {Part.HADA_1B}, {Part.HADA_2A}, {Part.HADA_2B})),
    (Method.LOKR, ({Part.KRON_1, Part.KRON_1A}, {Part.KRON_2, Part.KRON_2A})),
)
"""The parts of which each method needs one."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Tensors that agree in all of this make one update."""

    stem: str
    rest: str
    words: str
    embedding: bool = False


def find_adapters(by_name: Mapping[str, TensorSpec]) -> Iterator[Adapter]:
    """Yield the complete adapters of a checkpoint, by the names of their tensors.

    A pair of factors is two names that differ in one of the word pairs a/b, down/up, in/out and right/left
    after the word ``lora``. Half a pair is none. Whether the shapes fit is for the caller to see.
    """
    if not may_name_factors(by_name):
        return
    groups: dict[_Place, dict[Part, list[TensorSpec]]] = {}
    for spec in by_name.values():
        placed = _place(spec.name) if is_factor(spec) else None
        if placed is not None:
            place, part = placed
            groups.setdefault(place, {}).setdefault(part, []).append(spec)
    complete = [(place, parts, method) for place, parts in groups.items() if (method := _method(parts))]
    count = Counter(place.stem for place, _, _ in complete)
    for place, parts, method in complete:
        members = {part: parts[part][0] for part in Part if part in parts}
        members |= _companions(place, by_name)
        yield Adapter(
            stem=place.stem,
            label=_label(place) if count[place.stem] > 1 else "",
            method=method,
            parts=members,
            transposed=place.words == "a/b" and not place.rest,
            embedding=place.embedding,
            by_convention=method is not Method.LORA or place.words == "down/up",
        )


def _label(place: _Place) -> str:
    return place.rest.removesuffix("weight").strip("._:/") or place.words


def is_factor(spec: TensorSpec) -> bool:
    """Whether a tensor can be a factor: readable weights with at least two sides."""
    weights = spec.role is None or spec.role.use is not Use.NONE
    return (
        weights
        and len(spec.shape) > 1
        and spec.dtype in FLOATING
        and spec.unreadable is None
        and spec.parameters > 0
    )


def _companions(place: _Place, by_name: Mapping[str, TensorSpec]) -> dict[Part, TensorSpec]:
    """Return the scale and the magnitudes that are stored with an update."""
    companions = {}
    for part, patterns in ((Part.ALPHA, _ALPHAS), (Part.MAGNITUDE, _MAGNITUDES)):
        names = (pattern.format(stem=place.stem, rest=place.rest) for pattern in patterns)
        spec = next((by_name[name] for name in names if name in by_name), None)
        if spec is None or spec.unreadable is not None or spec.parameters == 0:
            continue
        if part is Part.MAGNITUDE or spec.parameters == 1:
            companions[part] = spec
    return companions


def _method(parts: Mapping[Part, list[TensorSpec]]) -> Method | None:
    if any(len(specs) > 1 for specs in parts.values()):
        return None
    for method, needs in _COMPLETE:
        if all(need & parts.keys() for need in needs):
            return method
    return None


def _place(name: str) -> tuple[_Place, Part] | None:
    """Return which update a name belongs to and as which part; ``None`` for any other name."""
    named = _NAMED.fullmatch(name)
    if named is not None:
        return _Place(named["stem"], named["rest"], named["part"][:4]), Part(named["part"])
    bare = _BARE.fullmatch(name)
    if bare is not None:
        words, part = _SIDES[bare["side"]]
        return _Place(bare["stem"], "", words), part
    if _ADAPTER_WORD.search(name) is None:  # most names: this runs for each of up to a million tensors
        return None
    tokens = list(_TOKEN.finditer(name))
    for index in range(len(tokens) - 1, 0, -1):
        side = tokens[index]
        if side[0].lower() not in _SIDES or side[0] not in (side[0].lower(), side[0].upper()):
            continue
        before = index - 1
        while before > 0 and tokens[before][0].lower() in _BETWEEN:
            before -= 1
        if _ADAPTER_WORD.fullmatch(tokens[before][0]):
            return _placed(name, tokens[before], side)
    return None


def _placed(name: str, adapter: re.Match[str], side: re.Match[str]) -> tuple[_Place, Part]:
    """Return the place of a factor, from the word ``lora`` in its name and the word for its side."""
    words, part = _SIDES[side[0].lower()]
    attached = adapter.start() > 0 and name[adapter.start() - 1] == "_"
    stem = name[: adapter.end() if attached else adapter.start()].rstrip("._:/") or adapter[0]
    between = name[adapter.end() : side.start()].lower()
    place = _Place(
        stem=stem,
        rest=name[side.end() :],
        words=words.upper() if side[0].isupper() else words,
        embedding="embedding" in between,
    )
    return place, part
