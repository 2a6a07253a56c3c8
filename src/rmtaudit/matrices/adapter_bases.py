"""Which weight of a base model an update of an adapter belongs to, by the names of both.

PEFT and MLX name the module that they update. kohya writes the whole path with underscores in place of dots.
Either may leave out, or add, the prefixes under which a library keeps the model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

PREFIXES = re.compile(
    r"base_model\.model\.|(?:unet|transformer|text_encoder(?:_[23])?|diffusion_model|model\.diffusion_model)\."
    r"|lora_(?:unet|te[123]?|transformer)_"
)
"""What adapters put before the name of a module: PEFT, diffusers and kohya."""

_COMPONENTS = {
    "lora_unet_": "unet", "lora_transformer_": "transformer", "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te3_": "text_encoder_3",
}  # fmt: skip
"""The folders in a pipeline of diffusers of what kohya's prefixes name."""

_PROCESSOR = re.compile(r"\.processor\.(?:(to_[qkv])|(to_out))_lora$")
"""The attention processors of the first adapters of diffusers: which projection they update."""

_WEIGHT = re.compile(r"[./](?:base_layer[./])?(?:weight|kernel|embedding)$")
_FUSED = {
    "q_proj": (("qkv_proj", "W_pack", "Wqkv", "wqkv"), "q"),
    "k_proj": (("qkv_proj", "W_pack", "Wqkv", "wqkv"), "k"),
    "v_proj": (("qkv_proj", "W_pack", "Wqkv", "wqkv"), "v"),
    "gate_proj": (("gate_up_proj",), "gate"),
    "up_proj": (("gate_up_proj",), "up"),
    "query": (("query_key_value",), "q"),
    "key": (("query_key_value",), "k"),
    "value": (("query_key_value",), "v"),
}
"""Names of projections that a base may fuse: the names of the fused module, and the part."""


@dataclass(frozen=True, slots=True)
class Place:
    """The tensor of a base that a module keeps its weight in, and which part of it where it is fused."""

    tensor: str
    part: str = ""


class BaseIndex:
    """The weights of a base model by the names of their modules.

    Parameters
    ----------
    names
        The names of its tensors that can be weights.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._modules: dict[str, str] = {}
        self._flat: defaultdict[str, list[str]] = defaultdict(list)
        self._by_leaf: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            module = _WEIGHT.sub("", name).replace("/", ".")
            self._modules.setdefault(module, name)
            self._modules.setdefault(name, name)
        for module in self._modules:
            self._flat[module.replace(".", "_")].append(module)
            self._by_leaf[module.rpartition(".")[2]].append(module)

    def find(self, stem: str) -> Place | str:
        """Return where the weight of a module is kept, or why that is not known.

        The name may lack prefixes that the base has, if that leaves one weight only, and may have one more
        than the base.
        """
        match = self._match(stem)
        if match:
            return Place(match) if isinstance(match, str) else _ambiguous(match)
        for prefix, leaf in _split(stem):
            fused, part = _FUSED.get(leaf, ((), ""))
            for name in fused:
                match = self._match(f"{prefix}{name}")
                if isinstance(match, str):
                    return Place(match, part)
        return "the base has no weight of this name"

    def _match(self, stem: str) -> str | list[str]:
        bare = _PROCESSOR.sub(lambda match: f".{match[1] or 'to_out.0'}", stem)
        component = next((name for prefix, name in _COMPONENTS.items() if bare.startswith(prefix)), "")
        candidates = [bare]
        if component:
            candidates.append(f"{component}_{PREFIXES.sub('', bare, count=1)}")
        while (prefix := PREFIXES.match(bare)) is not None:
            bare = bare[prefix.end() :]
            candidates.append(bare)
        for name in candidates:
            if name in self._modules:
                return self._modules[name]
        for name in candidates:
            flat = self._flat.get(name.replace(".", "_"), [])
            if flat:
                return self._chosen(flat)
        if "." not in bare:  # a path of underscores, or one word: its end says too little
            return []
        longer = [module for module in self._by_leaf[bare.rpartition(".")[2]] if module.endswith(f".{bare}")]
        if longer:
            return self._chosen(longer)
        shorter = bare.partition(".")[2]
        return self._modules[shorter] if "." in shorter and shorter in self._modules else []

    def _chosen(self, modules: list[str]) -> str | list[str]:
        names = sorted({self._modules[module] for module in modules})
        return names[0] if len(names) == 1 else names


def _split(stem: str) -> list[tuple[str, str]]:
    """Return the name without a projection that may be fused, and this projection."""
    return [
        (stem[: -len(leaf)], leaf)
        for leaf in _FUSED
        if stem.endswith(leaf) and stem[: -len(leaf)].endswith((".", "_"))
    ]


def _ambiguous(names: list[str]) -> str:
    return f"{len(names)} weights of the base end in this name"
