"""How a network is opened; checked before torch is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name

DTYPES = ("float64", "float32", "bfloat16")
"""In which a network can be run here."""
_DEVICE = re.compile(r"(cpu|cuda|mps)(:[0-9]{1,3})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """How a network is opened.

    Attributes
    ----------
    dtype
        Of parameters and activations: ``float64``, ``float32`` or ``bfloat16``.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    allow_code
        Whether ``module:factory`` may be imported and called. Code of a checkpoint never runs.
    state
        Weights for the network of a factory; ``None``: those that the factory gives it.
    """

    dtype: str = "float64"
    device: str = "cpu"
    allow_code: bool = False
    state: Path | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(
                "RA-NW-001", f"A network can run in {', '.join(DTYPES)}, not in {display_name(self.dtype)!r}."
            )
        if _DEVICE.fullmatch(self.device) is None:
            raise UsageError(
                "RA-NW-002", f"{display_name(self.device)!r} is not a device.", hint="Use cpu or cuda."
            )
