"""The names of the devices that a command computes on; importing this does not import torch."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
"""``auto`` takes a CUDA device where there is one."""
