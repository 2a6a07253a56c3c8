"""Random numbers by counter: any column of a random matrix can be made again, alone and in any order.

A column is a stream of the Philox generator of its own, keyed by the seed and the column's number, so that
nothing depends on how many columns are made at once, on which thread, or on what was drawn before.
"""

from __future__ import annotations

import numpy as np
import torch

_STREAMS = 1 << 48


def stream(seed: int, purpose: int, column: int) -> np.random.Philox:
    """Return the bit stream of one column.

    Parameters
    ----------
    seed
        Any integer from 0 to 2^64 - 1.
    purpose
        A small number that keeps different uses of one seed apart, 0 to 65535.
    column
        Number of the column, 0 to 2^48 - 1.
    """
    if not (0 <= seed < 1 << 64 and 0 <= purpose < 1 << 16 and 0 <= column < _STREAMS):
        raise ValueError(f"no stream has seed {seed}, purpose {purpose} and column {column}")
    return np.random.Philox(key=np.array([seed, purpose * _STREAMS + column], dtype=np.uint64))


def signs(seed: int, purpose: int, columns: range, size: int) -> torch.Tensor:
    """Return random signs, shape ``(len(columns), size)``, float64, a row for each column of the matrix."""
    rows = torch.empty(len(columns), size, dtype=torch.float64)
    for row, column in zip(rows, columns, strict=True):
        words = stream(seed, purpose, column).random_raw(-(-size // 64))
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=size, bitorder="little")
        row.copy_(torch.from_numpy(bits))
    return rows.mul_(2).sub_(1)


def normals(seed: int, purpose: int, columns: range, size: int) -> torch.Tensor:
    """Return standard normal numbers, shape ``(len(columns), size)``, float64, a row for each column."""
    rows = [np.random.Generator(stream(seed, purpose, column)).standard_normal(size) for column in columns]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, size, dtype=torch.float64)


def seed_of(generator: torch.Generator) -> int:
    """Draw a seed for the streams from a torch generator."""
    return int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
