"""What kernel is formed, and with what; checked before torch is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name

ALL, SUM = "all", "sum"
_OUTPUTS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")


class KernelKind(StrEnum):
    """Which kernel."""

    NTK = "ntk"
    CK = "ck"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSettings:
    """How a kernel is formed.

    Attributes
    ----------
    kind
        The neural tangent kernel, or the conjugate kernel (inner products of the last hidden features).
    outputs
        ``all``: a row for each output of each sample. ``sum``: the pseudo-NTK, of the sum of the outputs
        divided by the root of their number. ``3``, ``0,4``: these outputs, so one of them for the kernel of
        a class. Without meaning for the conjugate kernel.
    features
        Of the conjugate kernel: the module whose input the features are; ``None``: the last linear layer.
    block
        Samples of a block; ``None``: as many as the memory holds two blocks of.
    memory
        Working memory in bytes; ``None``: half of what is free, at most 2 GiB.
    limit
        Use the first so many samples; ``None``: all.
    shuffle
        Take the samples in a random order, that of ``seed``.
    seed
        Of the order.
    resume
        Continue an array that was left unfinished.
    """

    kind: KernelKind = KernelKind.NTK
    outputs: str = ALL
    features: str | None = None
    block: int | None = None
    memory: int | None = None
    limit: int | None = None
    shuffle: bool = False
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        if self.outputs not in (ALL, SUM) and _OUTPUTS.fullmatch(self.outputs) is None:
            raise UsageError(
                "RA-KN-001",
                f"Outputs must be 'all', 'sum' or numbers such as '0,4', not {display_name(self.outputs)!r}.",
            )
        if len(set(self.chosen)) != len(self.chosen):
            raise UsageError("RA-KN-001", "An output is named twice, so its rows would be equal.")
        for name in ("block", "memory", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError("RA-KN-001", f"The setting {name} must be at least 1, not {value}.")
        if self.kind is KernelKind.CK and self.outputs != ALL:
            raise UsageError(
                "RA-KN-001", "The conjugate kernel is computed from features and has no outputs to choose."
            )
        if self.kind is KernelKind.NTK and self.features is not None:
            raise UsageError("RA-KN-001", "The setting features applies only to the conjugate kernel.")

    @property
    def chosen(self) -> tuple[int, ...]:
        """The outputs that are named; none where they are not named."""
        return () if self.outputs in (ALL, SUM) else tuple(int(each) for each in self.outputs.split(","))
