"""What the analyzers of noise and of phases compute of one layer, once for both."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.analyzers.base import Analysis
from rmtaudit.analyzers.equalised import equalised
from rmtaudit.analyzers.registry import build
from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.plugins import layer_input


def uneven() -> torch.Tensor:
    """Return noise whose columns differ in scale: no test rejects it, and its bulk is not the plain one."""
    draws = torch.Generator().manual_seed(4)
    scales = torch.exp(1.0 * torch.randn(160, generator=draws))
    return 0.02 * torch.randn(400, 160, generator=draws) * scales


def test_the_gram_matrix_of_a_layer_is_formed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    formed = 0
    real = EqualisedMatrix._gram

    def counted(matrix: EqualisedMatrix, dtype: torch.dtype) -> torch.Tensor:
        nonlocal formed
        formed += matrix.support == (400, 160)
        return real(matrix, dtype)

    monkeypatch.setattr(EqualisedMatrix, "_gram", counted)
    alone = {name: build(name).analyze(layer_input(uneven())) for name in ("noise", "phase")}
    apart, formed = formed, 0
    given = layer_input(uneven())
    together = {name: build(name).analyze(given) for name in ("noise", "phase")}
    assert (apart, formed) == (2, 1)
    for name, analysis in alone.items():
        both = (analysis, together[name])
        first, second = (each.values if isinstance(each, Analysis) else each for each in both)
        assert first == second
    even = equalised(given)
    assert even is not None
    assert "product" not in even.__dict__  # it is large, and nobody needs it any more


def test_entries_that_have_to_be_scaled_are_not_shared() -> None:
    assert equalised(layer_input(uneven() * 1e-30)) is None
    assert equalised(layer_input(uneven())) is not None
