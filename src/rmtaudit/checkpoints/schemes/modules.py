"""Which tensors of a checkpoint hold codes, and which tensors beside them belong to the same weight."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.schemes import CODE_DTYPES, FLOAT8
from rmtaudit.matrices.roles import is_buffer, is_index
from rmtaudit.matrices.tensors import FLOATING, TensorSpec

if TYPE_CHECKING:
    import torch

_MOST_CHILDREN = 32
"""A parent with more tensors than this is a model and no module: the schemes known have at most 15."""

_LEAVES = ("weight._data._data", "weight._data", "_weight_qdata", "weight_packed", "qweight", "W_q")
"""Last parts of names that are codes in the layout of a library, which calls the weight ``weight``."""

_SUFFIXES = re.compile(
    r"(?P<stem>.+?)(_blocks|_quantized|\.quantized|_qdata|_q|_int8|_int4|_packed|\.packed)"
)
"""Endings that tell the codes of a weight from its scales, ``stem`` being its name."""

_COMPANION = re.compile(
    r"scale|zero|absmax|g_idx|quant_map|quant_state|codebook|centroid|workspace|perm|shift|smooth|scb$|lora_",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[./:]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """The tensors that make one quantised weight.

    Attributes
    ----------
    name
        The name of the weight: ``layers.0.q_proj.weight``.
    codes
        The tensor of codes.
    label
        The name of the codes within the module: ``weight``, ``qweight``, ``blocks`` …
    parts
        The other tensors of the scheme by their names within the module: ``weight_scale``, ``qzeros``,
        ``scales``, ``weight.absmax`` …
    """

    name: str
    codes: TensorSpec
    label: str
    parts: Mapping[str, TensorSpec]

    @property
    def seen(self) -> str:
        """The names by which somebody may know an unknown scheme."""
        return ", ".join([self.label, *sorted(self.parts)][:6])


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known beside names and shapes.

    ``quantisation`` is ``quantization_config`` of ``config.json`` (Transformers) and ``mlx`` its
    ``quantization``; both are empty where there is none. ``read`` returns the values of a small tensor, and
    ``outputs`` and ``inputs`` the number of rows and of columns of a weight by its name, if the bias of its
    layer or ``config.json`` states it.
    """

    quantisation: Mapping[str, Any]
    mlx: Mapping[str, Any]
    metadata: Mapping[str, str]
    read: Callable[[str], torch.Tensor]
    outputs: Callable[[str], int | None]
    inputs: Callable[[str], int | None] = lambda _: None


def quantised_modules(specs: Iterable[TensorSpec], facts: Facts) -> list[Module]:
    """Return the modules that hold codes, in stored order; no tensor is in two of them.

    A tensor may hold codes if its name says so, or if it has at least two sides and is of 8-bit integers, of
    16 or 32-bit integers with a tensor of numbers beside it, or of 8-bit floats with a scale beside it. Every
    tensor with the same parent then belongs to the module, unless it is a bias. Where a parent holds several
    weights (stacked experts), those belong to each that begin with its name.
    """
    by_name = {spec.name: spec for spec in specs}
    children: defaultdict[str, list[str]] = defaultdict(list)
    for name in by_name:
        children[_parent(name)].append(name)
    candidates = [spec for spec in by_name.values() if _may_be_codes(spec, children)]
    together = defaultdict(list)
    for spec in candidates:
        together[_home(spec.name)[0]].append(spec)
    modules: list[Module] = []
    taken: set[str] = set()
    for spec in candidates:
        if spec.name in taken:
            continue
        module = _module(spec, together[_home(spec.name)[0]], by_name, children)
        kept = {label: part for label, part in module.parts.items() if part.name not in taken}
        if not _is_quantised(module, kept, facts):
            continue
        modules.append(Module(name=module.name, codes=spec, label=module.label, parts=kept))
        taken.update((spec.name, *(part.name for part in kept.values())))
    return modules


def _may_be_codes(spec: TensorSpec, children: Mapping[str, list[str]]) -> bool:
    if (
        spec.unreadable is not None
        or spec.encoding is not None
        or spec.role is not None
        or not spec.parameters
    ):
        return False
    if spec.dtype not in CODE_DTYPES:
        return False
    parent, label = _home(spec.name)
    if label in _LEAVES:
        return True
    if _COMPANION.search(label) or is_buffer(spec) or len(spec.shape) < 2:
        return False
    return not is_index(spec) or f"{parent}centroids." in children


def _is_quantised(module: Module, parts: Mapping[str, TensorSpec], facts: Facts) -> bool:
    """Whether a tensor that may hold codes does."""
    dtype = module.codes.dtype
    if dtype in FLOAT8:  # without a scale, a model that was cast to 8-bit floats
        return any("scale" in label.lower() for label in parts) or bool(
            facts.quantisation.get("quant_method")
        )
    if module.label in _LEAVES or dtype in {"int8", "uint8"}:
        return True
    return any(part.dtype in FLOATING or _COMPANION.search(label) for label, part in parts.items())


def _module(
    codes: TensorSpec,
    together: list[TensorSpec],
    by_name: Mapping[str, TensorSpec],
    children: Mapping[str, list[str]],
) -> Module:
    parent, label = _home(codes.name)
    suffix = None if label in _LEAVES else _SUFFIXES.fullmatch(codes.name)
    stem = suffix["stem"] if suffix else codes.name
    several = (suffix is not None or len(together) > 1) and any(
        name.startswith((f"{stem}_", f"{stem}.")) and name != codes.name for name in children[parent]
    )
    if label in _LEAVES or not (several or not parent or len(children[parent]) > _MOST_CHILDREN):
        inside = [parent, f"{parent}weight.", f"{parent}weight.quant_state.", f"{codes.name}."]
        inside += [f"{parent}centroids.", f"{parent}res_centroids."]
        named = {name[len(parent) :]: name for each in inside for name in children.get(each, ())}
        name = f"{parent}weight" if label in _LEAVES else stem.removesuffix(".")
    else:
        near = (*children.get(parent, ()), *children.get(f"{stem}.", ()), *children.get(f"{codes.name}.", ()))
        begin = (f"{stem}_", f"{stem}.")
        named = {each[len(stem) + 1 :]: each for each in near if each.startswith(begin)}
        name, label = stem, codes.name[len(stem) + 1 :] or label
    parts = {
        label: by_name[each]
        for label, each in named.items()
        if each != codes.name and not _is_bias(by_name[each])
    }
    return Module(name=name, codes=codes, label=label, parts=parts)


def _home(name: str) -> tuple[str, str]:
    """Return the parent of a tensor with its separator, and the rest of the name."""
    for leaf in _LEAVES:
        if name.endswith(leaf) and (name == leaf or _SEPARATORS.match(name[-len(leaf) - 1])):
            return name[: -len(leaf)], leaf
    parent = _parent(name)
    return parent, name[len(parent) :]


def _parent(name: str) -> str:
    return name[: max(name.rfind("."), name.rfind("/"), name.rfind(":")) + 1]


def _is_bias(spec: TensorSpec) -> bool:
    """Whether a tensor is a bias of the layer: numbers, and called so (``biases`` are MLX's offsets)."""
    leaf = _SEPARATORS.split(spec.name)[-1]
    return (leaf == "bias" or leaf.endswith("_bias")) and spec.dtype in FLOATING and spec.dtype not in FLOAT8
