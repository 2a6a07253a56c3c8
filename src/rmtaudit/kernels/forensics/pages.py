"""Pieces of a stored tensor that a corrupt transfer or disk has overwritten: by zeros, or by a copy.

Files are moved and stored in pages of 4 KiB and multiples of it. A page of trained weights never has one
value throughout and never occurs twice; what may look the same by design (rows of zeros, repeated rows,
pruned blocks, triangles) begins or ends where a row does, covers most of the tensor, or comes in many pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch

PAGE = 4096
"""Bytes of a page: that of file systems and of virtual memory on most machines."""

CHANCE = 1e-6
"""Expected number of pages of one value by chance, above which such pages say nothing."""

MOST_REGIONS = 16
"""Regions beyond this number are a pattern of the tensor (blocks, bands). A convention."""

LARGEST_SHARE = 0.5
"""Share of the one value, or of pages that are copies, above which they are a pattern. A convention."""

LONG_ROW = 512
"""Bytes of a row from which one end of a region at its boundary is no coincidence. A convention."""

SHORT_ROW = 16
"""Bytes of a row from which both ends at boundaries are taken for rows, and below which they are not."""

_WORD = 8
_PROBES = (0, 150, 301)  # words of a page that are compared first; 512 in all
_MOST_COMPARED = 4096  # pages that are compared in full: 16 MiB


class Fault(StrEnum):
    """What has happened to a region."""

    CONSTANT = "constant"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A range of bytes of a tensor that cannot be what was stored.

    Attributes
    ----------
    fault
        What it holds.
    start, stop
        The first byte and the last but one, from the beginning of the tensor's values.
    source
        For repeated bytes: the first byte of the range that holds the same.
    value
        For constant ones: the value.
    """

    fault: Fault
    start: int
    stop: int
    source: int | None = None
    value: float | None = None


def damaged_regions(values: torch.Tensor) -> tuple[Region, ...]:
    """Return the regions of a tensor that hold one value, or the bytes of another region, and no whole rows.

    Parameters
    ----------
    values
        Shape ``(d1, …, dn)``, any floating dtype as stored, contiguous, on the CPU.

    Returns
    -------
    tuple[Region, ...]
        In the order of their positions; each has at least one whole page (aligned to the tensor's beginning).
    """
    count = values.numel() * values.element_size() // PAGE
    if count < 4 or values.element_size() > _WORD:
        return ()
    flat = values.reshape(-1)
    if flat.data_ptr() % _WORD:
        flat = flat.clone()
    words = flat[: count * PAGE // flat.element_size()].view(torch.int64).reshape(count, PAGE // _WORD)
    constant = _constant_pages(words, flat)
    found = [*_constant_regions(values, flat, constant), *_repeated_regions(values, flat, words, constant)]
    return tuple(sorted(found, key=lambda region: region.start))


def _constant_pages(words: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """Return the positions of the pages whose elements are all equal."""
    first, *others = (words[:, probe] for probe in _PROBES)
    candidates = ((first == others[0]) & (first == others[1])).nonzero().reshape(-1)[:_MOST_COMPARED]
    elements = flat.view(_INTEGERS[flat.element_size()])
    pages = elements[: words.numel() * _WORD // flat.element_size()].reshape(len(words), -1)[candidates]
    return candidates[(pages == pages[:, :1]).all(1)]


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _constant_regions(values: torch.Tensor, flat: torch.Tensor, pages: torch.Tensor) -> list[Region]:
    if not len(pages):
        return []
    size = flat.element_size()
    bits = flat.view(_INTEGERS[size])
    per_page = PAGE // size
    regions = []
    for first, last in _runs(pages.tolist(), [int(bits[page * per_page]) for page in pages.tolist()]):
        value = int(bits[first * per_page])
        start, stop = first * per_page, (last + 1) * per_page
        low = max(0, start - per_page)
        before = (bits[low:start] != value).nonzero()
        after = (bits[stop : stop + per_page] != value).nonzero()
        start = low + int(before[-1]) + 1 if len(before) else low
        stop = stop + int(after[0]) if len(after) else min(len(bits), stop + per_page)
        regions.append((start, stop, value))
    if len(regions) > MOST_REGIONS:
        return []
    outside = len(bits) - sum(stop - start for start, stop, _ in regions)
    suspects = []
    for start, stop, value in regions:
        equal = int((bits == value).sum()) - sum(e - s for s, e, v in regions if v == value)
        share = equal / max(outside, 1)
        expected = len(bits) / per_page * share**per_page
        by_design = share > LARGEST_SHARE or expected > CHANCE or not outside
        content = float(flat[start])
        if not by_design and math.isfinite(content) and not _is_rows(values, start * size, stop * size):
            region = Region(fault=Fault.CONSTANT, start=start * size, stop=stop * size, value=content)
            suspects.append(region)
    return suspects


def _repeated_regions(
    values: torch.Tensor, flat: torch.Tensor, words: torch.Tensor, constant: torch.Tensor
) -> list[Region]:
    keys = words[:, _PROBES[0]] * 0x9E3779B1 + words[:, _PROBES[1]] * 0x85EBCA6B + words[:, _PROBES[2]]
    _, inverse, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    suspicious = counts[inverse] > 1
    suspicious[constant] = False
    pages = suspicious.nonzero().reshape(-1)
    copied = len(pages) - int((counts > 1).sum())
    if not len(pages) or copied > LARGEST_SHARE * len(words) or len(pages) > _MOST_COMPARED:
        return []
    order = torch.argsort(inverse[pages], stable=True)  # the pages of a key, in their order
    group = inverse[pages][order]
    starts = torch.cat([torch.ones(1, dtype=torch.bool), group[1:] != group[:-1]])
    original = pages[order][starts][torch.cumsum(starts, 0) - 1]
    copies, original = pages[order][~starts], original[~starts]
    same = (words[copies] == words[original]).all(1)
    pairs = sorted(zip(copies[same].tolist(), original[same].tolist(), strict=True))
    runs = list(_runs([copy for copy, _ in pairs], [copy - source for copy, source in pairs]))
    if len(runs) > MOST_REGIONS:
        return []
    sources = dict(pairs)
    bits = flat.view(torch.uint8)
    regions = []
    for first, last in runs:
        shift = (first - sources[first]) * PAGE
        start = _extended(bits, first * PAGE, shift, -1)
        stop = _extended(bits, (last + 1) * PAGE, shift, 1)
        if not _is_rows(values, start, stop, shift):
            regions.append(Region(fault=Fault.REPEATED, start=start, stop=stop, source=start - shift))
    return regions


def _extended(bits: torch.Tensor, end: int, shift: int, way: int) -> int:
    """Return where bytes cease to equal those ``shift`` before them, from ``end`` on, at most a page away."""
    length = min(PAGE, len(bits) - end) if way > 0 else min(PAGE, end - shift)
    low = end if way > 0 else end - length
    other = (bits[low : low + length] != bits[low - shift : low - shift + length]).nonzero()
    if not len(other):
        return end + way * length
    return low + int(other[0]) if way > 0 else low + int(other[-1]) + 1


def _is_rows(values: torch.Tensor, start: int, stop: int, shift: int = 0) -> bool:
    """Whether a region begins or ends as rows of the tensor do, at any of its sides.

    The tensor's own ends are no evidence alone: a file that was cut and filled up ends within a row. Up to
    two elements next to a region may be equal by chance and belong to it; for short rows that is ignored.
    """
    size = values.numel() * values.element_size()
    row = values.element_size()
    for side in reversed(values.shape[1:]):
        row *= side
        if row < SHORT_ROW or shift % row:
            continue
        slack = 2 * values.element_size() if row >= LONG_ROW // 4 else 0
        begins, ends = -start % row <= slack, stop % row <= slack
        if begins and ends:
            return True
        if row >= LONG_ROW and ((begins and start > slack) or (ends and stop < size)):
            return True
    return False


def _runs(pages: list[int], marks: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of consecutive pages with equal marks."""
    first = 0
    for index in range(1, len(pages) + 1):
        ends = index == len(pages) or pages[index] != pages[index - 1] + 1 or marks[index] != marks[index - 1]
        if ends:
            yield pages[first], pages[index - 1]
            first = index
