"""A kernel that is formed as far as it is read."""

from __future__ import annotations

import hashlib
import json

import torch

from rmtaudit.engine.kernel.run import Formation
from rmtaudit.engine.sources import SourceOptions, open_source
from rmtaudit.errors import UnreachableError
from rmtaudit.matrices.sources import Reach
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.symmetry import BY_CONSTRUCTION
from rmtaudit.matrices.sources.wrapper import Wrapper


class FormingMatrix(Wrapper):
    """The array of a kernel, whose blocks are formed when they are first read.

    It offers blocks alone: principal submatrices of samples anywhere would form rows out of turn.

    Parameters
    ----------
    formation
        Stays open when this is closed.
    """

    def __init__(self, formation: Formation) -> None:
        super().__init__(open_source(formation.array.folder, SourceOptions(symmetric=True)))
        self.name, self.semidefinite = self.base.name, True
        self._formation = formation
        self.reach = frozenset({Reach.BLOCK})
        self.take_symmetry(BY_CONSTRUCTION)

    def known(self) -> Known:
        """Return that the entries are exact: those that are stored."""
        return Known(rounding=0.0)

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Form the leading minor that a block lies in, and read the block."""
        self._formation.form(max(rows.stop, cols.stop))
        self.base.block_into(rows, cols, out)

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Refuse, as the other ways to reach it."""
        del indices
        raise UnreachableError("RA-MS-001", f"{self.name} offers blocks; principal was asked for.")

    def fingerprint(self) -> str:
        """Return the digest of what the kernel is of: reading samples would form it."""
        facts = json.dumps(self._formation.kernel.facts(), sort_keys=True)
        return f"sha256:{hashlib.sha256(facts.encode()).hexdigest()}"
