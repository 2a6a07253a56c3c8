"""The contract, and known answers."""

from __future__ import annotations

import torch
from top_share import Options, TopShare

from rmtaudit.plugins import AnalyzerContract, layer_input


class TestTopShare(AnalyzerContract):
    """What every analyzer must keep to, and what this one finds."""

    analyzer = TopShare()

    def test_known_shares(self) -> None:
        """The identity has equal shares; a dominated matrix is a finding."""
        assert self.run(layer_input(torch.eye(8))).values == {"top_share": 5 / 8}
        dominated = torch.diag(torch.tensor([100.0] + [1.0] * 15))
        found = TopShare(Options(top=1)).analyze(layer_input(dominated))
        assert [each.code for each in found.observations] == ["TS-001"]
