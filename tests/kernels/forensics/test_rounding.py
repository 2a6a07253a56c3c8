from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.forensics.rounding import rounded_to


def gaussian() -> torch.Tensor:
    return 0.05 * torch.randn(64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_a_narrower_format_is_named(name: str) -> None:
    W = gaussian().to(getattr(torch, name)).float()
    assert rounded_to(W, "float32") == name


def test_one_other_entry_is_enough() -> None:
    W = gaussian().bfloat16().float()
    W[63, 95] = 0.1
    assert rounded_to(W, "float32") is None


def test_full_precision_and_few_values() -> None:
    assert rounded_to(gaussian(), "float32") is None
    assert rounded_to(gaussian().sign(), "float32") is None
    assert rounded_to(gaussian().bfloat16().float(), "bfloat16") is None
    assert rounded_to(gaussian().double(), "float64") == "float32"
