"""The contract, and the log-determinant that is known in closed form."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import pytest
import torch
from toeplitz_source import Toeplitz, ToeplitzOpener

import rmtaudit
from rmtaudit.errors import UsageError
from rmtaudit.plugins import MatrixSource, SourceContract


class TestToeplitz(SourceContract):
    """What every source must keep to, and what this one is."""

    def source(self) -> MatrixSource:
        """Return a small one."""
        return Toeplitz(40, 9.0)

    def truth(self) -> torch.Tensor:
        """Return its entries from arithmetic of 40 digits."""
        getcontext().prec = 40
        values = [float((Decimal(-lag) / Decimal(9)).exp()) for lag in range(40)]
        lags = (torch.arange(40)[:, None] - torch.arange(40)[None, :]).abs()
        return torch.tensor(values, dtype=torch.float64)[lags]

    def test_the_margin_covers_the_log_determinant(self) -> None:
        """It is (n - 1) log(1 - r²): the inverse is tridiagonal."""
        answer = rmtaudit.logdet(Toeplitz(300, 9.0))
        truth = 299 * math.log(-math.expm1(-2 / 9))
        assert answer.margin.low <= truth <= answer.margin.high
        assert answer.margin.half_width < 1e-6

    def test_what_a_text_means(self) -> None:
        """Orders and lengths are positive."""
        assert ToeplitzOpener().open("toeplitz:5:2").shape == (5, 5)
        for wrong in ("toeplitz:", "toeplitz:0", "toeplitz:5:-1", "toeplitz:5:x", "toeplitz:5:.."):
            with pytest.raises(UsageError):
                ToeplitzOpener().open(wrong)
