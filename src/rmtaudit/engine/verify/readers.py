"""Tensors of a checkpoint as the libraries of their formats read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.registry import families, own_readers
from rmtaudit.checkpoints.sharded import is_index

if TYPE_CHECKING:
    import torch


_SAFE_LOAD = (2, 10)
"""First torch whose ``torch.load(weights_only=True)`` runs no code from a file that was made to deceive it.

CVE-2025-32434 was closed in 2.6, CVE-2026-24747 in 2.10.
"""


class SecondReader:
    """Reads tensors of a file or a folder by name, with ``safetensors`` or ``torch.load(weights_only=True)``.

    Nothing else in this package calls ``torch.load``, and this does so from torch 2.10 on. A name is that of
    the stored tensor or, below wrappers such as ``state_dict``, its end.
    """

    def __init__(self, path: Path) -> None:
        self._files = _files(path)
        self._loaded: dict[Path, Mapping[str, torch.Tensor]] = {}

    def read(self, name: str) -> tuple[torch.Tensor, str] | str:
        """Return the tensor and the library that read it, or the reason why there is none."""
        reasons = []
        for path in self._files:
            try:
                tensor, library = (
                    (_from_safetensors(path, name), "safetensors")
                    if path.suffix == ".safetensors"
                    else (self._from_torch(path, name), "torch.load")
                )
            # whatever another library cannot read is a reason in the report, not a fault of this package
            except Exception as error:
                reasons.append(f"{path.name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
                continue
            if tensor is not None:
                return tensor, library
        return "; ".join(reasons) or "the second reader finds no tensor of this name in any file"

    def _from_torch(self, path: Path, name: str) -> torch.Tensor | None:
        import torch

        if path not in self._loaded:
            if _version(torch.__version__) < _SAFE_LOAD:
                raise RuntimeError(
                    f"torch.load of torch {torch.__version__} can be made to run code from a file; "
                    "torch 2.10 or newer is needed"
                )
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._loaded[path] = dict(_flattened(state, ""))
        known = self._loaded[path]
        if name in known:
            return known[name]
        ends = [key for key in known if key.endswith(f".{name}")]
        return known[ends[0]] if len(ends) == 1 else None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _files(path: Path) -> list[Path]:
    indices = [path] if is_index(path) else sorted(each for each in path.glob("*.json") if is_index(each))
    for index in indices:
        if index.is_file():
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [index.parent / shard for shard in sorted(set(shards))]
    if path.is_file():
        return [path]
    for endings in families(own_readers()):
        paths = sorted(each for each in path.iterdir() if each.suffix in endings)
        if paths:
            return paths
    return []


def _from_safetensors(path: Path, name: str) -> torch.Tensor | None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        chosen = [name] if name in names else [key for key in names if key.endswith(f".{name}")]
        return file.get_tensor(chosen[0]) if len(chosen) == 1 else None


def _flattened(state: Any, prefix: str) -> list[tuple[str, torch.Tensor]]:
    import torch

    if isinstance(state, torch.Tensor):
        return [(prefix.removesuffix("."), state.detach())]
    if isinstance(state, Mapping):
        return [pair for key, part in state.items() for pair in _flattened(part, f"{prefix}{key}.")]
    if isinstance(state, list | tuple):
        return [pair for key, part in enumerate(state) for pair in _flattened(part, f"{prefix}{key}.")]
    return []
