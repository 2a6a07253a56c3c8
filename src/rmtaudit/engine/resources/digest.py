"""The digest of a checkpoint: of its contents, not of its container."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from rmtaudit.matrices.tensors import TensorSpec


class ContentDigest:
    """SHA-256 over the names, dtypes, shapes and bytes of all tensors, in the order of their names.

    The same weights have the same digest in every format, whole or sharded. A tensor may be given whole or in
    bands of its first side, in order; different tensors in any order.
    """

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}
        self._specs: dict[str, TensorSpec] = {}

    def update(self, spec: TensorSpec, values: torch.Tensor) -> None:
        """Add a tensor, or its next band."""
        import torch

        if spec.name not in self._parts:
            self._parts[spec.name] = hashlib.sha256(f"{spec.dtype}{spec.shape}".encode())
            self._specs[spec.name] = spec
        flat = values.detach().contiguous().reshape(-1)
        if flat.numel():
            self._parts[spec.name].update(flat.view(torch.uint8).numpy().data)

    def of(self, name: str) -> str:
        """Return the digest of one tensor (dtype, shape and bytes, not its name), as added so far."""
        return self._parts[name].hexdigest()

    def has(self, name: str) -> bool:
        """Whether something of the tensor was added."""
        return name in self._parts

    def hexdigest(self, names: Iterable[str] | None = None) -> str:
        """Return ``sha256:`` and the digest of everything that was added, or of these tensors of it."""
        total = hashlib.sha256()
        chosen = self._parts if names is None else self._parts.keys() & set(names)
        for name in sorted(chosen):
            total.update(name.encode("utf-8", "surrogatepass") + b"\0" + self._parts[name].digest())
        return f"sha256:{total.hexdigest()}"


def digest_of_values(values: torch.Tensor) -> str:
    """Return the digest of dtype, shape and bytes of a band, which has no name of its own."""
    import torch

    digest = hashlib.sha256(f"{values.dtype}{tuple(values.shape)}".encode())
    digest.update(values.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
