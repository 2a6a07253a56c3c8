"""The files that samples are read from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmtaudit.checkpoints.files import read_small
from rmtaudit.engine.networks.network import Network
from rmtaudit.engine.sources.archives import read_npy, read_npz
from rmtaudit.engine.sources.words import printed
from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name

MASK = "attention_mask"
_MAIN = ("inputs", "x", "X", "images", "data", "input")
_LABELS = ("labels", "label", "y", "Y", "targets", "target")
_LARGEST = 1 << 30
"""Of a file of lines, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Sequences of token ids.

    Attributes
    ----------
    key
        Keyword under which they are passed.
    ids
        A sequence a sample.
    types
        ``token_type_ids`` of the same lengths, or ``None``.
    """

    key: str
    ids: tuple[tuple[int, ...], ...]
    types: tuple[tuple[int, ...], ...] | None = None

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each sample."""
        return [len(row) for row in self.ids]

    def reordered(self, indices: Sequence[int]) -> Tokens:
        """Return the sequences of some samples."""
        types = None if self.types is None else tuple(self.types[index] for index in indices)
        return Tokens(key=self.key, ids=tuple(self.ids[index] for index in indices), types=types)

    def padded(self, indices: Sequence[int], pad: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the inputs of some samples, filled up on the right, and which positions are real."""
        rows = [self.ids[index] for index in indices]
        width = max(len(row) for row in rows)
        mask = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
        inputs = {self.key: _filled(rows, width, pad)}
        if self.types is not None:
            inputs["token_type_ids"] = _filled([self.types[index] for index in indices], width, 0)
        return inputs, mask


def read_arrays(
    path: Path, network: Network
) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any] | None]:
    """Return the inputs of a numpy file by keyword, and its labels."""
    if path.suffix.lower() == ".npy":
        return {network.main_input: read_npy(path)}, None
    arrays = read_npz(path)
    labels = next((arrays.pop(name) for name in _LABELS if name in arrays and len(arrays) > 1), None)
    main = next((name for name in _MAIN if name in arrays and not _is_keyword(network, name)), None)
    if main is None and len(arrays) == 1 and not any(_is_keyword(network, name) for name in arrays):
        main = next(iter(arrays))
    inputs = {network.main_input if name == main else name: each for name, each in arrays.items()}
    unknown = [name for name in arrays if name != main and not network.accepts(name)]
    if unknown or not inputs:
        known = ", ".join(sorted(network.keywords or ()))
        raise UsageError(
            "RA-NW-033",
            f"The network has no input '{display_name(unknown[0])}'."
            if unknown
            else "None of the arrays is an input.",
            hint=f"Name the arrays inputs and labels, or as the network does: {display_name(known)}.",
            where=printed(path),
        )
    return inputs, labels


def read_lines(
    path: Path, network: Network, limit: int | None
) -> tuple[Tokens, np.ndarray[Any, Any] | None, int]:
    """Return the sequences of a file of JSON lines, their labels, and how many texts were cut."""
    where = printed(path)
    text = read_small(path, _LARGEST).decode("utf-8", "replace")
    rows = [
        _row(line, number, where) for number, line in enumerate(text.splitlines(), start=1) if line.strip()
    ][:limit]
    if not rows:
        raise InputError("RA-NW-030", "The file has no samples.", where=where)
    truncated = 0
    if all(isinstance(row.get("text"), str) and "input_ids" not in row for row in rows):
        if network.tokens is None or network.tokens.encode is None:
            raise UsageError(
                "RA-NW-033",
                "Text needs a tokenizer, and the network's folder has none.",
                hint='Give token ids: {"input_ids": [1, 2, 3]} a line.',
                where=where,
            )
        encoded, truncated = network.tokens.encode([row["text"] for row in rows])
        ids = [tuple(each) for each in encoded]
    else:
        ids = [_ids(row, "input_ids", number, where) for number, row in enumerate(rows, start=1)]
    types = None
    if all("token_type_ids" in row for row in rows) and network.accepts("token_type_ids"):
        types = tuple(_ids(row, "token_type_ids", number, where) for number, row in enumerate(rows, start=1))
        if [len(row) for row in types] != [len(row) for row in ids]:
            raise InputError(
                "RA-NW-031", "The fields token_type_ids and input_ids have different lengths.", where=where
            )
    if not all(ids):
        raise InputError("RA-NW-031", f"Sample {ids.index(()) + 1} has no tokens.", where=where)
    key = "input_ids" if network.keywords and "input_ids" in network.keywords else network.main_input
    return Tokens(key=key, ids=tuple(ids), types=types), _line_labels(rows, where), truncated


def _row(line: str, number: int, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError("RA-NW-031", f"Line {number} is not JSON.", where=where) from error
    if not isinstance(row, dict):
        raise InputError("RA-NW-031", f"Line {number} is not a JSON object.", where=where)
    return row


def _ids(row: dict[str, Any], key: str, number: int, where: str) -> tuple[int, ...]:
    """Return a list of whole numbers, without the positions that the sample's own mask leaves out."""
    values, mask = row.get(key), row.get(MASK)
    if not isinstance(values, list) or not all(type(each) is int for each in values):
        raise InputError(
            "RA-NW-031",
            f"Sample {number} has no list of integers '{key}'.",
            hint="Every line must be an object with input_ids, or every line one with text.",
            where=where,
        )
    if mask is None:
        return tuple(values)
    if not isinstance(mask, list) or len(mask) != len(values):
        raise InputError("RA-NW-031", f"The mask of sample {number} has a different length.", where=where)
    return tuple(value for value, kept in zip(values, mask, strict=True) if kept)


def _line_labels(rows: list[dict[str, Any]], where: str) -> np.ndarray[Any, Any] | None:
    name = next((name for name in _LABELS if name in rows[0]), None)
    if name is None:
        return None
    values = [row.get(name) for row in rows]
    if not all(type(value) in (int, float, bool) for value in values):
        raise InputError("RA-NW-031", f"Not every sample has a number '{name}'.", where=where)
    return np.asarray(values)


def _filled(rows: Sequence[Sequence[int]], width: int, pad: int) -> torch.Tensor:
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], dtype=torch.int64)


def _is_keyword(network: Network, name: str) -> bool:
    return network.keywords is not None and name in network.keywords
